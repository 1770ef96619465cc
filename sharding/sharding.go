// Package sharding describes how an array lies over devices, in the terms of JAX. It
// reads and writes the _sharding document of a checkpoint, which holds one such
// description for each jax.Array.
//
// Most programs need one call of it, which marks a host array as a jax.Array, so that JAX
// loads it on its first device:
//
//	a = a.WithSharding(sharding.Host())
package sharding

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
)

// Sharding is the layout of one array over devices. Exactly one of Device, Mesh and Raw
// is set; Spec belongs to Mesh. Many arrays and goroutines may share a Sharding, so it
// must not change once it is in use.
type Sharding struct {
	// Device names the device that holds the whole array, such as "cpu:0" or
	// "TPU_0(process=0,(0,0,0,0))". It is the text that str(device) returns in JAX.
	Device string
	// Mesh is the mesh of devices of a JAX NamedSharding.
	Mesh *Mesh
	// Spec says which mesh axes split each axis of the array.
	Spec PartitionSpec
	// Raw is the JSON text of a layout that this package does not interpret. A save
	// writes it unchanged.
	Raw string
}

// Mesh is a grid of devices with named axes, like jax.sharding.Mesh.
type Mesh struct {
	Shape     []int    // number of devices along each axis, all positive
	AxisNames []string // one for each axis, all different
	// AxisTypes holds [Auto], [Explicit] or [Manual] for each axis. If it is nil, JAX
	// chooses.
	AxisTypes []string
	// DeviceIDs holds the id of the device at each place of the mesh, row-major. If it is
	// nil, the mesh has all devices of the program that loads the array, in their own
	// order.
	DeviceIDs []int
}

// maxAxes is NumPy's limit on axes: a mesh of JAX is a NumPy array.
const maxAxes = 64

// These are the axis types of a mesh. They say which part of a JAX program decides how
// values lie along the axis: the compiler, the types, or the author's code.
const (
	Auto     = "Auto"
	Explicit = "Explicit"
	Manual   = "Manual"
)

// PartitionSpec lists, for each axis of an array, the mesh axes that split it, outermost
// first. An axis with a nil or empty entry, or without an entry, is not split: each
// device along the unused mesh axes holds a replica.
type PartitionSpec [][]string

// SingleDevice returns the layout of an array that lies on one device, such as "cpu:0".
func SingleDevice(device string) *Sharding { return &Sharding{Device: device} }

// Host returns the layout of an array in the memory of a host. It is a mesh of the device
// with id 0, which every host of JAX has. JAX finds the device of a [SingleDevice] by its
// name, such as cpu:0 or cuda:0, and loads the array only if a device has that name.
func Host() *Sharding {
	return Named(Mesh{Shape: []int{1}, AxisNames: []string{"device"}, DeviceIDs: []int{0}}, PartitionSpec{})
}

// Named returns the layout of an array over mesh that spec describes. [Sharding.Validate]
// reports whether mesh and spec fit together.
func Named(mesh Mesh, spec PartitionSpec) *Sharding { return &Sharding{Mesh: &mesh, Spec: spec} }

// Validate returns nil if s is a layout that JAX can build. It checks that exactly one
// kind is set, that the members of the mesh have equal lengths, that the device ids fill
// the mesh's shape, that names are UTF-8, that the partition spec uses axes of the mesh,
// each at most once, and that this package does not know the kind of a Raw layout. The
// error matches orbax.ErrShape for sizes that do not fit, and orbax.ErrStructure for
// everything else.
func (s *Sharding) Validate() error {
	if s == nil {
		return fmt.Errorf("%w: nil sharding", fault.ErrStructure)
	}
	kinds := 0
	for _, set := range []bool{s.Device != "", s.Mesh != nil, s.Raw != ""} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return fmt.Errorf("%w: a sharding sets one of Device, Mesh and Raw, this one %d", fault.ErrStructure, kinds)
	}
	if !utf8.ValidString(s.Device) {
		return fmt.Errorf("%w: the device %q is not UTF-8", fault.ErrStructure, s.Device)
	}
	if s.Raw != "" {
		if err := checkRaw(s.Raw); err != nil {
			return err
		}
	}
	if s.Mesh == nil {
		if s.Spec != nil {
			return fmt.Errorf("%w: a partition spec needs a mesh", fault.ErrStructure)
		}
		return nil
	}
	if err := s.Mesh.validate(); err != nil {
		return err
	}
	return s.Spec.validate(s.Mesh)
}

func (m *Mesh) validate() error {
	if len(m.Shape) > maxAxes {
		return fmt.Errorf("%w: a mesh of %d axes, at most %d are possible", fault.ErrShape, len(m.Shape), maxAxes)
	}
	if len(m.AxisNames) != len(m.Shape) {
		return fmt.Errorf("%w: mesh shape %v has %d axes, axis names %q are %d", fault.ErrShape, m.Shape, len(m.Shape), m.AxisNames, len(m.AxisNames))
	}
	if m.AxisTypes != nil && len(m.AxisTypes) != len(m.Shape) {
		return fmt.Errorf("%w: mesh shape %v has %d axes, axis types %q are %d", fault.ErrShape, m.Shape, len(m.Shape), m.AxisTypes, len(m.AxisTypes))
	}
	for i, t := range m.AxisTypes {
		if !knownAxisType(t) {
			return fmt.Errorf("%w: mesh axis %q has type %q, want %s, %s or %s", fault.ErrStructure, m.AxisNames[i], t, Auto, Explicit, Manual)
		}
	}
	seen := make(map[string]bool, len(m.AxisNames))
	for _, name := range m.AxisNames {
		if !utf8.ValidString(name) {
			return fmt.Errorf("%w: mesh axis %q is not UTF-8", fault.ErrStructure, name)
		}
		if seen[name] {
			return fmt.Errorf("%w: mesh axis %q appears twice", fault.ErrStructure, name)
		}
		seen[name] = true
	}
	n, err := m.numDevices()
	if err != nil {
		return err
	}
	if m.DeviceIDs != nil && len(m.DeviceIDs) != n {
		return fmt.Errorf("%w: mesh shape %v takes %d devices, have %d ids", fault.ErrShape, m.Shape, n, len(m.DeviceIDs))
	}
	return nil
}

func knownAxisType(t string) bool { return t == Auto || t == Explicit || t == Manual }

// numDevices returns the product of the mesh's shape.
func (m *Mesh) numDevices() (int, error) {
	n := 1
	for _, d := range m.Shape {
		if d < 1 {
			return 0, fmt.Errorf("%w: mesh shape %v has an axis without devices", fault.ErrShape, m.Shape)
		}
		if n > math.MaxInt/d {
			return 0, fmt.Errorf("%w: mesh shape %v has too many devices", fault.ErrShape, m.Shape)
		}
		n *= d
	}
	return n, nil
}

func (p PartitionSpec) validate(m *Mesh) error {
	known := make(map[string]bool, len(m.AxisNames))
	for _, name := range m.AxisNames {
		known[name] = true
	}
	used := make(map[string]bool)
	for i, axes := range p {
		for _, name := range axes {
			if !known[name] {
				return fmt.Errorf("%w: entry %d of the partition spec names %q, the mesh has axes %q", fault.ErrStructure, i, name, m.AxisNames)
			}
			if used[name] {
				return fmt.Errorf("%w: the partition spec uses mesh axis %q twice", fault.ErrStructure, name)
			}
			used[name] = true
		}
	}
	return nil
}

// ShardShape returns the shape of the piece that one device holds of an array of the
// given shape. As in JAX, each axis must be a multiple of the number of pieces it is
// split into, and the spec must not have more entries than the array has axes; otherwise
// the error matches orbax.ErrShape. The shards of a Raw layout are unknown; the error
// matches orbax.ErrUnsupported.
func (s *Sharding) ShardShape(shape []int) ([]int, error) {
	p, err := s.Pieces(shape)
	if err != nil {
		return nil, err
	}
	shard := slices.Clone(shape)
	for i, axis := range p.axes {
		if shape[i]%axis.parts != 0 {
			return nil, fmt.Errorf("%w: axis %d of an array of shape %v does not split into %d equal parts, as %s asks", fault.ErrShape, i, shape, axis.parts, s)
		}
		shard[i] = shape[i] / axis.parts
	}
	return shard, nil
}
