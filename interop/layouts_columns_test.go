package interop

import (
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
)

// columns are the ways to read that every layout must allow. A check is given
// a checkpoint's path and what one pytree in it holds.
var columns = []struct {
	name  string
	check func(t *testing.T, path string, want *pytree)
}{
	{"Metadata", checkMetadata},
	{"Load", checkLoad},
	{"LoadInto", checkLoadInto},
	{"Verify", checkVerify},
	{"SaveAgain", checkSaveAgain},
}

// metadata describes the pytree: its Tree is not nil.
func metadata(t *testing.T, path string, want *pytree) *orbax.CheckpointMetadata {
	t.Helper()
	meta, err := orbax.Metadata(t.Context(), path, want.options()...)
	if err != nil {
		t.Fatal(err)
	}
	if meta.Tree == nil {
		t.Fatal("there is no metadata of the pytree")
	}
	return meta
}

func checkMetadata(t *testing.T, path string, want *pytree) {
	var got []leaf
	for _, m := range metadata(t, path, want).Tree.Leaves {
		got = append(got, leafOfSpec(m.Spec(), m.PRNGImpl))
	}
	diffLeaves(t, got, want.withoutData())
}

func checkLoad(t *testing.T, path string, want *pytree) {
	v, err := orbax.Load(t.Context(), path, want.options()...)
	if err != nil {
		t.Fatal(err)
	}
	diffLeaves(t, leavesOf(t, v), want.Leaves)
}

// checkLoadInto fills arrays that the caller has allocated.
func checkLoadInto(t *testing.T, path string, want *pytree) {
	var targets []tree.Leaf
	for _, m := range metadata(t, path, want).Tree.Leaves {
		targets = append(targets, tree.Leaf{Path: m.Path, Value: allocate(t, m.Spec(), m.PRNGImpl)})
	}
	target, err := tree.Build(targets)
	if err != nil {
		t.Fatal(err)
	}
	if err := orbax.LoadInto(t.Context(), path, &target, want.options()...); err != nil {
		t.Fatal(err)
	}
	loaded := leavesOf(t, target)
	diffLeaves(t, loaded, want.Leaves)
	for i, l := range targets {
		if a, ok := l.Value.(*array.Array); ok {
			diffLeaves(t, []leaf{leafOfValue(t, l.Path, a)}, loaded[i:i+1]) // in place
		}
	}
}

// allocate returns a value to load into, which differs from what a reader that
// writes nothing would leave.
func allocate(t *testing.T, s tree.Spec, impl string) any {
	t.Helper()
	switch s.Kind {
	case tree.KindString:
		return "to be replaced"
	case tree.KindEmpty:
		return s.Empty
	}
	a, err := array.New(s.DType, s.Shape, nil)
	if err == nil && impl != "" {
		a, err = array.PRNGKey(impl, a)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Bytes() {
		a.Bytes()[i] = 1
	}
	if v, ok := a.Item(); ok && s.Kind == tree.KindScalar {
		return v
	}
	return a
}

func checkVerify(t *testing.T, path string, _ *pytree) {
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
}

func checkSaveAgain(t *testing.T, path string, want *pytree) {
	v, err := orbax.Load(t.Context(), path, want.options()...)
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	if err := orbax.Save(t.Context(), again, v); err != nil {
		t.Fatal(err)
	}
	same := &pytree{Leaves: want.Leaves}
	checkLoad(t, again, same)
	checkVerify(t, again, same)
}
