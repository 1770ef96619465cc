package array

import (
	"fmt"

	"github.com/go-orbax/orbax/sharding"
)

// ShapeDtypeStruct describes an array without its elements; the name is JAX's. In the
// target of a load it asks for a new array of that shape and dtype.
type ShapeDtypeStruct struct {
	Shape    []int
	DType    DType
	Sharding *sharding.Sharding // sharding of the new array; nil: as stored
}

// Abstract returns the shape, dtype and sharding of r, without its elements.
func Abstract(r Reader) ShapeDtypeStruct {
	s := ShapeDtypeStruct{Shape: r.Shape(), DType: r.DType()}
	if r, ok := r.(interface{ Sharding() *sharding.Sharding }); ok {
		s.Sharding = r.Sharding()
	}
	return s
}

// String returns the dtype and shape in the format of [Array.String], such as float32[2
// 3].
func (s ShapeDtypeStruct) String() string { return s.DType.String() + fmt.Sprint(s.Shape) }

// Validate returns nil if an array of this dtype, shape and sharding can exist. The error
// matches orbax.ErrDType or orbax.ErrShape, or is the error of the sharding if the
// sharding does not fit the shape.
func (s ShapeDtypeStruct) Validate() error {
	if _, err := byteSize(s.DType, s.Shape); err != nil {
		return err
	}
	switch {
	case s.Sharding == nil:
		return nil
	case s.Sharding.Raw != "":
		return s.Sharding.Validate()
	}
	if _, err := s.Sharding.ShardShape(s.Shape); err != nil {
		return fmt.Errorf("sharding of %v: %w", s, err)
	}
	return nil
}
