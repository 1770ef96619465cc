// Package sharding says how an array lies over devices, in the words of JAX,
// and reads and writes the _sharding document of a checkpoint, which holds one
// such description for each jax.Array.
//
// Most programs meet it in one call, to mark a host array as one that JAX
// shall load on a device:
//
//	a = a.WithSharding(sharding.SingleDevice("cpu:0"))
package sharding

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
)

// Sharding is the layout of one array over devices. Exactly one of Device,
// Mesh and Raw is set; Spec belongs to Mesh. A Sharding may be shared by many
// arrays and goroutines, so it must not change once it is in use.
type Sharding struct {
	// Device names the device that holds the whole array, such as "cpu:0" or
	// "TPU_0(process=0,(0,0,0,0))": what str(device) prints in JAX.
	Device string
	// Mesh is the mesh of devices of a JAX NamedSharding.
	Mesh *Mesh
	// Spec says which mesh axes split each axis of the array.
	Spec PartitionSpec
	// Raw is the JSON of a layout that this package does not interpret. It is
	// written back as it was read.
	Raw string
}

// Mesh is a grid of devices with named axes, as jax.sharding.Mesh.
type Mesh struct {
	Shape     []int    // devices along each axis, all positive
	AxisNames []string // one for each axis, all different
	// AxisTypes holds one of Auto, Explicit and Manual for each axis. nil
	// leaves the choice to JAX.
	AxisTypes []string
	// DeviceIDs holds the device at each place of the mesh, row-major. nil
	// stands for all devices of the loading program, in their own order.
	DeviceIDs []int
}

// maxAxes is the limit of NumPy, whose arrays JAX's meshes are.
const maxAxes = 64

// The axis types of a mesh. They say who decides how values are laid out along
// the axis in a JAX program: its compiler, its types, or its author.
const (
	Auto     = "Auto"
	Explicit = "Explicit"
	Manual   = "Manual"
)

// PartitionSpec lists, for each axis of an array, the mesh axes that split it,
// outermost first. A nil or empty entry, and an axis without an entry, is not
// split: each device along the unused mesh axes holds a replica.
type PartitionSpec [][]string

// SingleDevice returns the layout of an array that lies whole on one device,
// such as "cpu:0".
func SingleDevice(device string) *Sharding { return &Sharding{Device: device} }

// Host returns the layout of an array in the memory of a host: a mesh of the device with
// id 0, which every host of JAX has. A SingleDevice is looked for by its name, such as
// cpu:0 or cuda:0, and loads only where a device is called so.
func Host() *Sharding {
	return Named(Mesh{Shape: []int{1}, AxisNames: []string{"device"}, DeviceIDs: []int{0}}, PartitionSpec{})
}

// Named returns the layout of an array over mesh as spec says. Validate tells
// whether the two fit together.
func Named(mesh Mesh, spec PartitionSpec) *Sharding { return &Sharding{Mesh: &mesh, Spec: spec} }

// Validate reports whether s is a layout that JAX can build: one kind is set,
// the members of the mesh have equal lengths, its device ids fill its shape,
// names are UTF-8, the partition spec uses axes of the mesh, each at most once, and
// Raw is of a kind that is not known. Sizes that do not fit match ErrShape, the rest
// ErrStructure.
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

// ShardShape returns the shape of the part that one device holds of an array
// of the given shape. As in JAX, each axis must be a multiple of the number of
// parts it is split into, and the spec may have fewer entries than the array
// has axes, not more; otherwise the error matches ErrShape. A layout that is
// kept as Raw has no known shards, an error that matches ErrUnsupported.
func (s *Sharding) ShardShape(shape []int) ([]int, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if s.Raw != "" {
		return nil, fmt.Errorf("%w: sharding %s", fault.ErrUnsupported, s)
	}
	for _, d := range shape {
		if d < 0 {
			return nil, fmt.Errorf("%w: negative dimension in %v", fault.ErrShape, shape)
		}
	}
	if len(s.Spec) > len(shape) {
		return nil, fmt.Errorf("%w: partition spec %v has %d entries, an array of shape %v has %d axes", fault.ErrShape, s.Spec, len(s.Spec), shape, len(shape))
	}
	shard := slices.Clone(shape)
	for i, axes := range s.Spec {
		parts := 1
		for _, name := range axes {
			// The product divides that of the mesh, which Validate bounded.
			parts *= s.Mesh.Shape[slices.Index(s.Mesh.AxisNames, name)]
		}
		if shape[i]%parts != 0 {
			return nil, fmt.Errorf("%w: axis %d of an array of shape %v does not split into %d equal parts, as %s asks", fault.ErrShape, i, shape, parts, s)
		}
		shard[i] = shape[i] / parts
	}
	return shard, nil
}
