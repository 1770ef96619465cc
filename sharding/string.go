package sharding

import (
	"strconv"
	"strings"
)

// String returns the text that JAX prints for the sharding, without the kind of memory:
//
//	SingleDeviceSharding(device=cpu:0)
//	NamedSharding(mesh=Mesh('x': 2, 'y': 4, axis_types=(Auto, Auto)), spec=P('x', None))
//
// For a layout of another kind it returns the JSON.
func (s *Sharding) String() string {
	switch {
	case s == nil:
		return "none"
	case s.Mesh != nil:
		return "NamedSharding(mesh=" + s.Mesh.String() + ", spec=" + s.Spec.String() + ")"
	case s.Raw != "":
		return s.Raw
	}
	return "SingleDeviceSharding(device=" + s.Device + ")"
}

// String returns the text that JAX prints, such as Mesh('x': 2, 'y': 4).
func (m *Mesh) String() string {
	var parts []string
	for i, name := range m.AxisNames {
		size := "?"
		if i < len(m.Shape) {
			size = strconv.Itoa(m.Shape[i])
		}
		parts = append(parts, quote(name)+": "+size)
	}
	axes := strings.Join(parts, ", ")
	if m.AxisTypes == nil {
		return "Mesh(" + axes + ")"
	}
	return "Mesh(" + axes + ", axis_types=" + tuple(m.AxisTypes) + ")"
}

// String returns the text that JAX prints, such as P('x', None, ('y', 'z')).
func (p PartitionSpec) String() string {
	parts := make([]string, len(p))
	for i, axes := range p {
		switch len(axes) {
		case 0:
			parts[i] = "None"
		case 1:
			parts[i] = quote(axes[0])
		default:
			quoted := make([]string, len(axes))
			for j, name := range axes {
				quoted[j] = quote(name)
			}
			parts[i] = tuple(quoted)
		}
	}
	return "P" + tuple(parts)
}

// tuple joins parts as Python prints a tuple, with a comma after a single part.
func tuple(parts []string) string {
	if len(parts) == 1 {
		return "(" + parts[0] + ",)"
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// quote puts a name in single quotes. Names that need escapes are rare and get Go's
// escapes.
func quote(name string) string {
	q := strconv.Quote(name)
	if strings.ContainsAny(name, `'"\`) {
		return q
	}
	return "'" + q[1:len(q)-1] + "'"
}
