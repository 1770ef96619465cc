package sharding

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
)

// These are the names that Orbax writes; see orbax/checkpoint/_src/metadata/sharding.py.
const (
	singleDevice   = "SingleDeviceSharding"
	named          = "NamedSharding"
	axisTypePrefix = "AxisType."
)

// parse parses the JSON text that a _sharding document holds for one array; see
// ParseFile.
func parse(text string) (*Sharding, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		return nil, fmt.Errorf("%w: sharding: %v", fault.ErrCorrupt, err)
	}
	var kind string
	if err := member(members, "sharding_type", &kind); err != nil {
		return nil, err
	}
	s := &Sharding{Raw: text}
	var err error
	switch kind {
	case singleDevice:
		s.Raw = ""
		err = member(members, "device_str", &s.Device)
	case named:
		if knownAxisTypes(members) {
			s, err = parseNamed(members)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", fault.ErrCorrupt, kind, err)
	}
	return s, nil
}

// checkRaw refuses a Raw text that parse would not keep as Raw.
func checkRaw(text string) error {
	var members map[string]json.RawMessage
	var kind string
	if err := json.Unmarshal([]byte(text), &members); err != nil || !utf8.ValidString(text) {
		return fmt.Errorf("%w: the text of a sharding is not a JSON object", fault.ErrStructure)
	}
	if err := json.Unmarshal(members["sharding_type"], &kind); err != nil || members["sharding_type"][0] != '"' {
		return fmt.Errorf("%w: the text of a sharding has no string sharding_type", fault.ErrStructure)
	}
	if kind == singleDevice || kind == named && knownAxisTypes(members) {
		return fmt.Errorf("%w: a %s is set by its fields, not as a text", fault.ErrStructure, kind)
	}
	return nil
}

// member decodes the member called name, which must be present and not null.
func member(members map[string]json.RawMessage, name string, v any) error {
	raw, ok := members[name]
	if !ok || string(raw) == "null" {
		return fmt.Errorf("%w: sharding has no member %q", fault.ErrCorrupt, name)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%w: member %q of a sharding: %v", fault.ErrCorrupt, name, err)
	}
	return nil
}

// knownAxisTypes reports whether JAX's axis types are all known; those of another version
// of JAX may not be.
func knownAxisTypes(members map[string]json.RawMessage) bool {
	var types []string
	if json.Unmarshal(members["axis_types"], &types) != nil {
		return true // absent, or a fault that parseNamed reports
	}
	return !slices.ContainsFunc(types, func(t string) bool {
		name, ok := strings.CutPrefix(t, axisTypePrefix)
		return !ok || !knownAxisType(name)
	})
}

func parseNamed(members map[string]json.RawMessage) (*Sharding, error) {
	m := &Mesh{}
	if err := member(members, "shape", &m.Shape); err != nil {
		return nil, err
	}
	if err := member(members, "axis_names", &m.AxisNames); err != nil {
		return nil, err
	}
	if err := m.validate(); err != nil { // before appendIDs relies on the shape
		return nil, fmt.Errorf("%w: %s: %v", fault.ErrCorrupt, named, err)
	}
	if optional(members, "axis_types") {
		if err := member(members, "axis_types", &m.AxisTypes); err != nil {
			return nil, err
		}
		for i, t := range m.AxisTypes {
			m.AxisTypes[i] = strings.TrimPrefix(t, axisTypePrefix)
		}
	}
	var entries []json.RawMessage
	if err := member(members, "partition_spec", &entries); err != nil {
		return nil, err
	}
	spec := make(PartitionSpec, len(entries))
	for i, raw := range entries {
		var err error
		if spec[i], err = parseSpecEntry(raw); err != nil {
			return nil, fmt.Errorf("%w: entry %d of the partition spec: %v", fault.ErrCorrupt, i, err)
		}
	}
	if optional(members, "device_mesh") {
		var devices map[string]json.RawMessage
		if err := member(members, "device_mesh", &devices); err != nil {
			return nil, err
		}
		ids, err := appendIDs([]int{}, devices["mesh"], m.Shape)
		if err != nil {
			return nil, fmt.Errorf("%w: device mesh of shape %v: %v", fault.ErrCorrupt, m.Shape, err)
		}
		m.DeviceIDs = ids
	}
	return &Sharding{Mesh: m, Spec: spec}, nil
}

func optional(members map[string]json.RawMessage, name string) bool {
	raw, ok := members[name]
	return ok && string(raw) != "null"
}

// parseSpecEntry reads null, a name, or a list of names.
func parseSpecEntry(raw json.RawMessage) ([]string, error) {
	var axes []string
	if len(raw) > 0 && raw[0] == '"' {
		axes = make([]string, 1)
		return axes, json.Unmarshal(raw, &axes[0])
	}
	err := json.Unmarshal(raw, &axes)
	return axes, err
}

// appendIDs reads the nested lists of {"id": n} that have the mesh's shape. It allocates
// in proportion to the text and not to the shape, which may be wrong.
func appendIDs(ids []int, raw json.RawMessage, shape []int) ([]int, error) {
	if len(shape) == 0 {
		var device map[string]json.RawMessage
		if err := json.Unmarshal(raw, &device); err != nil {
			return nil, err
		}
		var id *int
		if err := json.Unmarshal(device["id"], &id); err != nil || id == nil {
			return nil, fmt.Errorf("a device has no integer id: %s", raw)
		}
		return append(ids, *id), nil
	}
	var rows []json.RawMessage
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, err
	}
	if len(rows) != shape[0] {
		return nil, fmt.Errorf("a list of %d entries where the shape has %d", len(rows), shape[0])
	}
	var err error
	for _, row := range rows {
		if ids, err = appendIDs(ids, row, shape[1:]); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// Marshal returns the JSON text of the sharding. It equals the text that Orbax writes
// byte for byte. Marshal fails if s is not valid.
func (s *Sharding) Marshal() (string, error) {
	if err := s.Validate(); err != nil {
		return "", err
	}
	if s.Raw != "" {
		return s.Raw, nil
	}
	var b []byte
	if s.Mesh == nil {
		b = append(b, `{"sharding_type": "SingleDeviceSharding", "device_str": `...)
		return string(append(appendString(b, s.Device), '}')), nil
	}
	m := s.Mesh
	b = append(b, `{"sharding_type": "NamedSharding", "shape": `...)
	b = appendList(b, m.Shape, appendInt)
	b = append(b, `, "axis_names": `...)
	b = appendList(b, m.AxisNames, appendString)
	if m.AxisTypes != nil {
		b = append(b, `, "axis_types": `...)
		b = appendList(b, m.AxisTypes, func(b []byte, t string) []byte { return appendString(b, axisTypePrefix+t) })
	}
	b = append(b, `, "partition_spec": `...)
	b = appendList(b, s.Spec, appendSpecEntry)
	if m.DeviceIDs != nil {
		b = append(b, `, "device_mesh": {"mesh": `...)
		b = append(appendDevices(b, m.DeviceIDs, m.Shape), '}')
	}
	return string(append(b, '}')), nil
}

func appendSpecEntry(b []byte, axes []string) []byte {
	switch len(axes) {
	case 0:
		return append(b, "null"...)
	case 1:
		return appendString(b, axes[0])
	}
	return appendList(b, axes, appendString)
}

func appendDevices(b []byte, ids []int, shape []int) []byte {
	if len(shape) == 0 {
		b = append(b, `{"id": `...)
		return append(appendInt(b, ids[0]), '}')
	}
	rows := slices.Collect(slices.Chunk(ids, len(ids)/shape[0]))
	return appendList(b, rows, func(b []byte, row []int) []byte { return appendDevices(b, row, shape[1:]) })
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

// appendList writes a list as Python's json.dumps does, with a space after each comma.
func appendList[T any](b []byte, list []T, item func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = item(b, v)
	}
	return append(b, ']')
}

// appendString writes a string as Python's json.dumps does, in ASCII.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case ' ' <= r && r <= '~':
			b = append(b, byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, hi, lo)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
