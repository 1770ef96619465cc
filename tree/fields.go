package tree

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// structInfo describes how a struct type appears in a tree.
type structInfo struct {
	seq    bool
	fields []field // sorted by name; of a sequence, in order
	err    error   // reason why the type cannot be in a tree
}

// field is one field of a struct, possibly inlined from an embedded one.
type field struct {
	key       Key
	index     []int // as for reflect.Value.FieldByIndex
	goName    string
	tagged    bool
	omitEmpty bool
}

// fieldTag is the parsed tag `orbax:"name,omitempty"`.
type fieldTag struct {
	name           string
	omitEmpty, seq bool
}

func parseTag(f reflect.StructField) (t fieldTag, skip bool, err error) {
	tag := f.Tag.Get("orbax")
	if tag == "-" {
		return t, true, nil
	}
	name, options, _ := strings.Cut(tag, ",")
	t.name = name
	for options != "" {
		var o string
		o, options, _ = strings.Cut(options, ",")
		switch o {
		case "omitempty":
			t.omitEmpty = true
		case "seq":
			t.seq = true
		case "":
		default:
			return t, false, fmt.Errorf("%w: field %s has the unknown tag option %q; there are omitempty and seq", fault.ErrLeafType, f.Name, o)
		}
	}
	if t.seq && f.Name != "_" {
		return t, false, fmt.Errorf("%w: field %s has the tag option seq, which belongs on a blank field of the struct that is the sequence: _ struct{} `orbax:\",seq\"`", fault.ErrLeafType, f.Name)
	}
	// The walk leaves such a field out, against the word of its tag.
	switch {
	case tag == "" || f.IsExported() || f.Anonymous && name == "":
	case f.Name == "_" && !t.seq:
		return t, false, fmt.Errorf("%w: a blank field has the tag %q; the one that makes a struct a sequence is `orbax:\",seq\"`", fault.ErrLeafType, tag)
	case f.Name != "_":
		return t, false, fmt.Errorf("%w: field %s has a tag and is not exported; export it, or leave it out with the tag `orbax:\"-\"`", fault.ErrLeafType, f.Name)
	}
	return t, false, nil
}

// structOf returns the description of t, from the cache of this call.
func (ts *types) structOf(t reflect.Type) *structInfo {
	if s, ok := ts.structs[t]; ok {
		return s
	}
	s := ts.inspect(t)
	ts.structs[t] = s
	return s
}

func (ts *types) inspect(t reflect.Type) *structInfo {
	s := &structInfo{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, err := parseTag(f)
		if err != nil {
			return &structInfo{err: err}
		}
		s.seq = s.seq || tag.seq
	}
	if s.seq {
		s.fields, s.err = seqFields(t)
	} else {
		s.fields, s.err = ts.dictFields(t)
	}
	return s
}

// seqFields lists the exported fields of t by position.
func seqFields(t reflect.Type) ([]field, error) {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, skip, err := parseTag(f)
		if err != nil {
			return nil, err
		}
		if skip || !f.IsExported() {
			continue
		}
		if tag.omitEmpty {
			return nil, fmt.Errorf("%w: field %s of the sequence %v has omitempty, which would move the fields after it", fault.ErrLeafType, f.Name, t)
		}
		fields = append(fields, field{key: seqKey(len(fields)), index: []int{i}, goName: f.Name})
	}
	if len(fields) == 0 && opaque(t) {
		return nil, errOpaque(t)
	}
	return fields, nil
}

// dictFields lists the fields of t by name. It inlines an embedded struct without a name
// of its own, level by level: the shallowest of the fields with one name counts, and
// among several at that level the only tagged one. It refuses a type with fields that are
// still ambiguous, where encoding/json would drop them.
func (ts *types) dictFields(t reflect.Type) ([]field, error) {
	type embedded struct {
		typ   reflect.Type
		index []int
		name  string // of the embedded fields that lead to it, with a dot after each
	}
	level := []embedded{{typ: t}}
	seen := map[reflect.Type]bool{}
	hidden := false // there are unexported fields
	byName := map[string]field{}
	for len(level) > 0 {
		var next []embedded
		found := map[string][]field{}
		for _, e := range level {
			if seen[e.typ] {
				continue
			}
			for i := range e.typ.NumField() {
				f := e.typ.Field(i)
				tag, skip, err := parseTag(f)
				if err != nil {
					return nil, err
				}
				if skip || f.Name == "_" {
					continue
				}
				index := append(slices.Clone(e.index), i)
				if f.Anonymous && tag.name == "" {
					ft := f.Type
					if ft.Kind() == reflect.Pointer && ft.Name() == "" {
						ft = ft.Elem()
					}
					if ft.Kind() == reflect.Struct && !ts.isLeafOrNode(ft) {
						if f.IsExported() && opaque(ft) {
							return nil, fmt.Errorf("embedded field %s: %w", f.Name, errOpaque(ft))
						}
						next = append(next, embedded{ft, index, e.name + f.Name + "."})
						continue
					}
				}
				if !f.IsExported() {
					hidden = true
					continue
				}
				name := tag.name
				if name == "" {
					name = f.Name
				}
				found[name] = append(found[name], field{Key{Name: name}, index, e.name + f.Name, tag.name != "", tag.omitEmpty})
			}
		}
		for _, e := range level {
			seen[e.typ] = true
		}
		for name, fs := range found {
			if _, hidden := byName[name]; hidden {
				continue
			}
			f, ok := dominant(fs)
			if !ok {
				return nil, fmt.Errorf("%w: %v has %d fields named %q (%s and %s)", fault.ErrKeyCollision, t, len(fs), name, fs[0].goName, fs[1].goName)
			}
			byName[name] = f
		}
		level = next
	}
	if len(byName) == 0 && hidden {
		return nil, errOpaque(t)
	}
	fields := make([]field, 0, len(byName))
	for _, f := range byName {
		fields = append(fields, f)
	}
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.key.Name, b.key.Name) })
	return fields, nil
}

// dominant returns the field that counts among fields with one name and depth.
func dominant(fs []field) (field, bool) {
	if len(fs) == 1 {
		return fs[0], true
	}
	var tagged []field
	for _, f := range fs {
		if f.tagged {
			tagged = append(tagged, f)
		}
	}
	if len(tagged) == 1 {
		return tagged[0], true
	}
	return field{}, false
}

// opaque reports whether t has fields, all of them unexported. The value of such a type
// is out of reach, and saving it as an empty dict would lose it.
func opaque(t reflect.Type) bool {
	hidden := false
	for i := range t.NumField() {
		f := t.Field(i)
		if _, skip, _ := parseTag(f); skip || f.Name == "_" {
			continue
		}
		if f.IsExported() || f.Anonymous {
			return false
		}
		hidden = true
	}
	return hidden
}

func errOpaque(t reflect.Type) error {
	return fmt.Errorf("%w: %v has only unexported fields; implement tree.Node, pass an adapter, or leave it out with the tag `orbax:\"-\"`", fault.ErrLeafType, t)
}

// errByValue refuses a struct of package array that is a leaf only as a pointer.
func errByValue(t reflect.Type) error {
	return fmt.Errorf("%w: %v by value; use *%v", fault.ErrLeafType, t, t)
}

func seqKey(i int) Key { return Key{Name: strconv.Itoa(i), Seq: true} }

// isEmpty reports whether omitempty leaves v out, by the rules of encoding/json.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	case reflect.Float32, reflect.Float64: // -0 is not empty: it would come back as 0
		return math.Float64bits(v.Float()) == 0
	case reflect.Complex64, reflect.Complex128:
		c := v.Complex()
		return math.Float64bits(real(c))|math.Float64bits(imag(c)) == 0
	}
	return v.IsZero()
}

// fieldOf returns the field of v, or false if the field is inside an embedded nil
// pointer.
func fieldOf(v reflect.Value, index []int) (reflect.Value, bool) {
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}, false
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v, true
}
