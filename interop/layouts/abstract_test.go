package layouts

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// checkAbstract asks for the tree as it is, by its metadata and by what that
// describes, and without every other leaf.
func checkAbstract(t *testing.T, s *stored) {
	meta := s.metadata(t)
	abstract, err := meta.Abstract()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []any{&orbax.CheckpointMetadata{Tree: meta}, meta, abstract} {
		v, err := orbax.LoadAbstract(t.Context(), s.path, a, s.options()...)
		if err != nil {
			t.Fatal(err)
		}
		diffLeaves(t, leavesOf(t, v), s.Leaves)
		for _, m := range meta.Leaves {
			if got, ok := at(v, m.Path).(*array.Array); ok && !reflect.DeepEqual(got.Sharding(), placed(m)) {
				t.Errorf("%v is on %v, want %v", m.Path, got.Sharding(), m.Sharding)
			}
		}
	}
	s.checkPlaceholders(t, abstract, meta)
}

func (s *stored) checkPlaceholders(t *testing.T, abstract any, meta *view.TreeMetadata) {
	var some []tree.Leaf
	for i, m := range meta.Leaves {
		some = append(some, tree.Leaf{Path: m.Path, Value: at(abstract, m.Path)})
		if i%2 == 0 {
			some[i].Value = tree.Placeholder
		} else if m.Kind == tree.KindEmpty {
			some[i].Value = m.Empty
		}
	}
	v, err := orbax.LoadAbstract(t.Context(), s.path, build(t, some), s.options()...)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range s.Leaves {
		got := at(v, l.Path)
		switch {
		case i%2 == 0 && got != any(tree.Placeholder):
			t.Errorf("%v is %v, want the placeholder", l.Path, got)
		case i%2 != 0 && l.Kind != "empty":
			diffLeaves(t, []leaf{leafOfValue(t, l.Path, got)}, []leaf{l})
		}
	}
}

// at returns what is at a path of a tree as tree.Build makes it.
func at(v any, path tree.Path) any {
	for _, k := range path {
		switch c := v.(type) {
		case map[string]any:
			v = c[k.Name]
		case []any:
			i, _ := strconv.Atoi(k.Name)
			v = c[i]
		case tree.Tuple:
			i, _ := strconv.Atoi(k.Name)
			v = c[i]
		}
	}
	return v
}

// key tells paths apart that have the same name.
func key(p tree.Path) string {
	var names []string
	for _, k := range p {
		names = append(names, strconv.Quote(k.Name))
	}
	return strings.Join(names, ".")
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// checkCast asks for all arrays and numbers with other dtypes.
func checkCast(t *testing.T, s *stored) {
	for _, to := range []map[array.DType]array.DType{otherDTypes(array.BFloat16, array.Int16, array.Complex128), otherDTypes(array.Float64, array.Uint32, array.Complex64)} {
		s.checkWanted(t, func(a *array.Array) (array.DType, []int) {
			if d, ok := to[a.DType()]; ok {
				return d, a.Shape()
			}
			return a.DType(), a.Shape()
		}, orbax.ErrDType, orbax.Cast())
	}
}

// otherDTypes returns what arrays are to be converted to, by their dtype.
func otherDTypes(float, integer, imaginary array.DType) map[array.DType]array.DType {
	to := map[array.DType]array.DType{array.Bool: array.Uint8, array.Complex64: imaginary, array.Complex128: imaginary}
	for d := array.Int2; d <= array.Uint64; d++ {
		to[d] = integer
	}
	to[integer] = array.Int32 // where an array is of that dtype already
	for d := array.Float4E2M1FN; d <= array.Float64; d++ {
		to[d] = float
	}
	return to
}

// checkPad asks for all arrays with other shapes, and other dtypes too.
func checkPad(t *testing.T, s *stored) {
	float := otherDTypes(array.Float32, array.Int64, array.Complex128)
	n := 0
	odd := func(a *array.Array) (array.DType, []int) {
		shape := a.Shape()
		for i := range shape {
			if n++; n%2 == 0 {
				shape[i] += 3
			} else {
				shape[i] = max(0, shape[i]-2)
			}
		}
		return a.DType(), shape
	}
	s.checkWanted(t, odd, orbax.ErrShape, orbax.PadOrTruncate())
	s.checkWanted(t, func(a *array.Array) (array.DType, []int) {
		_, shape := odd(a)
		if d, ok := float[a.DType()]; ok {
			return d, shape
		}
		return a.DType(), shape
	}, nil, orbax.PadOrTruncate(), orbax.Cast())
}

// checkWanted asks for other arrays than those that are stored. Without the
// options that is refused.
func (s *stored) checkWanted(t *testing.T, other func(*array.Array) (array.DType, []int), refusal error, options ...orbax.LoadOption) {
	t.Helper()
	var asked, want []tree.Leaf
	differs := false
	for _, l := range s.values(t) {
		ask := l.Value
		if a := elements(l.Value); a != nil && a.PRNGImpl() == "" {
			d, shape := other(a)
			differs = differs || d != a.DType() || !slices.Equal(shape, a.Shape())
			ask = array.ShapeDtypeStruct{DType: d, Shape: shape}
			fitted := fit(t, a, d, shape)
			_, isArray := l.Value.(*array.Array)
			l.Value = fitted
			if number, ok := fitted.Item(); ok && !isArray {
				ask, l.Value = number, number
			}
		}
		asked, want = append(asked, tree.Leaf{Path: l.Path, Value: ask}), append(want, l)
	}
	abstract := build(t, asked)
	if differs && refusal != nil {
		_, err := orbax.LoadAbstract(t.Context(), s.path, abstract, s.options()...)
		refused(t, err, refusal)
	}
	v, err := orbax.LoadAbstract(t.Context(), s.path, abstract, s.options(options...)...)
	if err != nil {
		t.Fatal(err)
	}
	var wanted []leaf
	for _, l := range want {
		wanted = append(wanted, leafOfValue(t, l.Path, l.Value))
	}
	diffLeaves(t, leavesOf(t, v), wanted)
}

// fit returns a with another dtype and shape: axis by axis cut off, or continued
// with zeros.
func fit(t *testing.T, a *array.Array, d array.DType, shape []int) *array.Array {
	t.Helper()
	cast, err := a.Cast(d)
	if err != nil {
		t.Fatal(err)
	}
	fitted, err := array.New(d, shape, nil)
	if err != nil {
		t.Fatal(err)
	}
	size := make([]int, len(shape))
	for i := range size {
		size[i] = min(shape[i], a.Shape()[i])
	}
	origin := make([]int, len(shape))
	if err := array.CopyRegion(fitted.Bytes(), shape, origin, cast.Bytes(), a.Shape(), origin, size, d.Size()); err != nil {
		t.Fatal(err)
	}
	return fitted
}
