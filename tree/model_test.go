package tree_test

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
)

// loading draws targets for a saved tree, and says what a load makes of them.
type loading struct {
	*rapid.T
	o       tree.BindOptions
	exact   bool            // the target is for BindAbstract
	bad     bool            // the load must fail
	skipped map[string]bool // names of leaves that are not wanted
	given   []*array.Array  // that the target holds
	before  [][]byte        // their bytes
}

func (m *loading) choose(n int) int { return rapid.IntRange(0, n-1).Draw(m.T, "choice") }

// once in a while a target is drawn that cannot be loaded into.
func (m *loading) once() bool { return m.choose(40) == 0 }

// skip notes that nothing of what is saved at path is wanted.
func (m *loading) skip(path tree.Path, saved any) {
	leaves, err := tree.Flatten(saved)
	if err != nil {
		m.Fatal(err)
	}
	for _, l := range leaves {
		m.skipped[slices.Concat(path, l.Path).String()] = true
	}
}

// target returns what to load the saved value into, and what that becomes.
func (m *loading) target(path tree.Path, saved any) (target, want any) {
	switch {
	case m.choose(8) == 0:
		m.skip(path, saved)
		return tree.Placeholder, tree.Placeholder
	case m.once():
		m.bad = m.bad || m.exact && saved != nil
		return nil, saved
	}
	under := func(k tree.Key) tree.Path { return append(slices.Clone(path), k) }
	switch saved := saved.(type) {
	case nil:
		if m.choose(2) == 0 {
			return array.ShapeDtypeStruct{DType: array.Int8}, nil
		}
		return nil, nil
	case map[string]any:
		t, w := map[string]any{}, map[string]any{}
		var dropped []string
		for _, k := range slices.Sorted(maps.Keys(saved)) {
			if m.o.Partial && m.choose(4) == 0 || m.once() {
				dropped = append(dropped, k)
				continue
			}
			t[k], w[k] = m.target(under(tree.Key{Name: k}), saved[k])
		}
		if m.choose(4) == 0 {
			t["new"], w["new"] = tree.Placeholder, tree.Placeholder
		} else if m.once() {
			t["new"] = 1
			m.bad = true
		}
		if len(t) == 0 && !m.exact {
			return t, saved // an empty map takes everything
		}
		m.bad = m.bad || len(dropped) > 0 && !m.o.Partial
		for _, k := range dropped {
			m.skip(under(tree.Key{Name: k}), saved[k])
		}
		return t, w
	case []any:
		t, w := make([]any, len(saved)), make([]any, len(saved))
		for i := range saved {
			t[i], w[i] = m.target(under(tree.Key{Name: fmt.Sprint(i), Seq: true}), saved[i])
		}
		if m.once() && len(t) > 0 {
			m.bad = true
			return append(t, nil), nil
		}
		return t, w
	case tree.Tuple, string:
		return saved, saved
	case []byte:
		if m.choose(2) == 0 {
			return []byte{}, saved
		}
		return m.array(array.Of(saved))
	case *array.Array:
		return m.array(saved)
	}
	return m.scalar(saved)
}

// scalar draws a number or bool for the saved one.
func (m *loading) scalar(saved any) (target, want any) {
	if m.once() {
		m.bad = true
		return "", nil
	}
	if !m.o.Cast {
		return saved, saved
	}
	types := []any{false, int8(0), 0, uint16(0), float32(0), 0.0, complex64(0), array.ShapeDtypeStruct{DType: array.BFloat16}}
	target = types[m.choose(len(types))]
	d := array.BFloat16
	if s, ok := target.(array.ShapeDtypeStruct); !ok {
		d = array.ElementDType(reflect.TypeOf(target))
	} else if s.DType != d {
		m.Fatal(s)
	}
	a, err := array.ScalarOf(saved).Cast(d)
	if err != nil {
		m.Fatal(err)
	}
	if v, ok := a.Item(); ok {
		return target, reflect.ValueOf(v).Convert(reflect.TypeOf(target)).Interface()
	}
	return target, a
}

// array draws a target for an array.
func (m *loading) array(saved *array.Array) (target, want any) {
	d, shape := saved.DType(), saved.Shape()
	if m.o.Cast && m.choose(2) == 0 || m.once() {
		d = array.DType(1 + m.choose(int(array.Complex128)))
	}
	if m.o.PadOrTruncate && m.choose(2) == 0 || m.once() {
		for i := range shape {
			shape[i] = m.choose(5)
		}
	}
	if m.once() {
		shape = append(shape, 1)
	}
	rank := saved.Rank()
	m.bad = m.bad || d != saved.DType() && !m.o.Cast ||
		!slices.Equal(shape, saved.Shape()) && !(m.o.PadOrTruncate && len(shape) == rank)
	a, err := array.New(d, shape, nil)
	if err != nil {
		m.Fatal(err)
	}
	if len(shape) == rank {
		if err := fit(a, saved); err != nil {
			m.Fatal(err)
		}
	}
	switch m.choose(4) {
	case 0:
		return array.ShapeDtypeStruct{Shape: shape, DType: d}, a
	case 1:
		return &array.ShapeDtypeStruct{Shape: shape, DType: d}, a
	case 2:
		if d == array.Float32 && len(shape) == 1 && shape[0] > 0 {
			values, err := array.Values[float32](a)
			if err != nil {
				m.Fatal(err)
			}
			if m.exact {
				return make([]float32, shape[0]), a
			}
			return make([]float32, shape[0]), values
		}
	}
	given := a.Clone()
	for i := range given.Bytes() {
		given.Bytes()[i] = 1
	}
	m.given, m.before = append(m.given, given), append(m.before, bytes.Clone(given.Bytes()))
	return given, a
}

// same compares values, where arrays of rank 0 may have shapes that are nil.
func same(a, b any) bool {
	switch a := a.(type) {
	case *array.Array:
		b, ok := b.(*array.Array)
		return ok && a.Equal(b)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, same)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	case float32, float64, complex64, complex128:
		return fmt.Sprintf("%T%v", a, a) == fmt.Sprintf("%T%v", b, b) // NaN
	case []float32:
		return fmt.Sprintf("%T%v", a, a) == fmt.Sprintf("%T%v", b, b)
	}
	return reflect.DeepEqual(a, b)
}

func TestBindModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		saved := value(t, 3)
		leaves, err := tree.Flatten(saved)
		if err != nil {
			t.Fatal(err)
		}
		m := &loading{
			T:       t,
			o:       tree.BindOptions{Cast: rapid.Bool().Draw(t, "cast"), PadOrTruncate: rapid.Bool().Draw(t, "pad"), Partial: rapid.Bool().Draw(t, "partial")},
			exact:   rapid.Bool().Draw(t, "abstract"),
			skipped: map[string]bool{},
		}
		target, want := m.target(nil, saved)
		got := target
		if m.exact {
			got, err = loadAbstract(target, leaves, m.o)
			for i, a := range m.given {
				if !bytes.Equal(a.Bytes(), m.before[i]) {
					t.Fatal("BindAbstract wrote to an array")
				}
			}
		} else {
			err = loadWith(&got, leaves, m.o)
		}
		if (err != nil) != m.bad {
			t.Fatalf("error %v; must fail: %v\ntarget %#v", err, m.bad, target)
		}
		if err != nil {
			return
		}
		if !same(got, want) {
			t.Fatalf("got  %#v\nwant %#v", got, want)
		}
		var slots []tree.Slot
		if m.exact {
			slots, _, err = tree.BindAbstract(target, specsOf(leaves), m.o)
		} else {
			slots, _, err = tree.Bind(&target, specsOf(leaves), m.o)
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range leaves {
			if s := slots[i]; s.Skip != m.skipped[l.Path.String()] || s.Skip && s.Set != nil {
				t.Fatalf("%v: skip is %v", l.Path, s.Skip)
			}
		}
	})
}
