package layouts

import (
	"archive/zip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// columns are the ways to read that every layout must allow.
var columns = []struct {
	name  string
	check func(t *testing.T, s *stored)
}{
	{"Metadata", checkMetadata},
	{"Load", checkLoad},
	{"LoadInto", checkLoadInto},
	{"Async", checkAsync},
	{"FS", checkFS},
	{"Verify", checkVerify},
	{"Leaves", checkLeaves},
	{"Regions", checkRegions},
	{"Select", checkSelect},
	{"Partial", checkPartial},
	{"Abstract", checkAbstract},
	{"Shards", checkShards},
	{"Cast", checkCast},
	{"Pad", checkPad},
	{"Hash", checkHash},
	{"Diff", checkDiff},
	{"SaveAgain", checkSaveAgain},
	{"SaveLazily", checkSaveLazily},
}

// stored is a pytree in a checkpoint.
type stored struct {
	pytree
	path    string // of the checkpoint
	archive string // that it came in, as layout.Open
	layout  *layout
	loaded  []tree.Leaf // by values
}

// options adds those that every load of the pytree needs.
func (s *stored) options(more ...orbax.LoadOption) []orbax.LoadOption {
	if s.Name != "" {
		more = append(more, orbax.Name(s.Name))
	}
	return more
}

// open opens the pytree.
func (s *stored) open(t *testing.T, more ...orbax.LoadOption) *view.Tree {
	t.Helper()
	ck, err := orbax.Open(t.Context(), s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	v, err := ck.Tree(t.Context(), s.options(more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// load loads the pytree.
func (s *stored) load(t *testing.T, more ...orbax.LoadOption) any {
	t.Helper()
	v, err := orbax.Load(t.Context(), s.path, s.options(more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// values are the leaves as Load gives them, which checkLoad compares with what is
// expected. They must not be changed.
func (s *stored) values(t *testing.T) []tree.Leaf {
	t.Helper()
	if s.loaded == nil {
		var err error
		if s.loaded, err = tree.Flatten(s.load(t)); err != nil {
			t.Fatal(err)
		}
	}
	return s.loaded
}

// metadata describes the pytree.
func (s *stored) metadata(t *testing.T) *view.TreeMetadata {
	t.Helper()
	meta, err := orbax.Metadata(t.Context(), s.path, s.options()...)
	if err != nil {
		t.Fatal(err)
	}
	if meta.Tree == nil {
		t.Fatal("there is no metadata of the pytree")
	}
	return meta.Tree
}

func checkMetadata(t *testing.T, s *stored) {
	meta := s.metadata(t)
	diffLeaves(t, describe(meta), s.withoutData())
	if opened := s.open(t).Metadata(); !reflect.DeepEqual(opened, meta) {
		t.Errorf("the tree says %+v of itself, Metadata %+v", opened, meta)
	}
}

// describe returns the leaves without their contents.
func describe(meta *view.TreeMetadata) (leaves []leaf) {
	for _, m := range meta.Leaves {
		leaves = append(leaves, leafOfSpec(m.Spec(), m.PRNGImpl))
	}
	return leaves
}

func checkLoad(t *testing.T, s *stored) {
	diffLeaves(t, leavesOf(t, s.load(t)), s.Leaves)
}

// checkLoadInto fills arrays that the caller has allocated.
func checkLoadInto(t *testing.T, s *stored) {
	target, arrays := s.allocate(t)
	if err := orbax.LoadInto(t.Context(), s.path, &target, s.options()...); err != nil {
		t.Fatal(err)
	}
	s.checkFilled(t, target, arrays)
}

// allocate returns a tree to load into and its leaves, which differ from what a
// reader that writes nothing would leave.
func (s *stored) allocate(t *testing.T) (any, []tree.Leaf) {
	t.Helper()
	var leaves []tree.Leaf
	for _, m := range s.metadata(t).Leaves {
		leaves = append(leaves, tree.Leaf{Path: m.Path, Value: allocate(t, m.Spec(), m.PRNGImpl)})
	}
	return build(t, leaves), leaves
}

// checkFilled wants in target what is expected, and the arrays in place.
func (s *stored) checkFilled(t *testing.T, target any, arrays []tree.Leaf) {
	t.Helper()
	loaded := leavesOf(t, target)
	diffLeaves(t, loaded, s.Leaves)
	for i, l := range arrays {
		if a, ok := l.Value.(*array.Array); ok {
			diffLeaves(t, []leaf{leafOfValue(t, l.Path, a)}, loaded[i:i+1])
		}
	}
}

func build(t *testing.T, leaves []tree.Leaf) any {
	t.Helper()
	v, err := tree.Build(leaves)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

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

// checkAsync loads the same twice at a time.
func checkAsync(t *testing.T, s *stored) {
	target, arrays := s.allocate(t)
	into := make(chan error, 1)
	go func() { into <- orbax.LoadInto(t.Context(), s.path, &target, s.options()...) }()
	v, err := orbax.Load(t.Context(), s.path, s.options()...)
	if err := errors.Join(err, <-into); err != nil {
		t.Fatal(err)
	}
	diffLeaves(t, leavesOf(t, v), s.Leaves)
	s.checkFilled(t, target, arrays)
}

// checkFS reads a directory as a file system, and the archive as it is.
func checkFS(t *testing.T, s *stored) {
	archive, err := zip.OpenReader(s.archive)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, f := range []struct {
		fs.FS
		name string
	}{
		{os.DirFS(filepath.Dir(s.path)), filepath.Base(s.path)},
		{archive, s.layout.Open},
	} {
		ck, err := orbax.Open(t.Context(), f.name, orbax.In(storage.FS(f.FS)))
		if err != nil {
			t.Fatal(err)
		}
		defer ck.Close()
		v, err := ck.Load(t.Context(), s.options()...)
		if err != nil {
			t.Fatal(err)
		}
		diffLeaves(t, leavesOf(t, v), s.Leaves)
	}
}

// checkVerify wants nothing to be wrong.
func checkVerify(t *testing.T, s *stored) {
	if err := orbax.Verify(t.Context(), s.path); err != nil {
		t.Error(err)
	}
}

// checkLeaves reads leaf by leaf.
func checkLeaves(t *testing.T, s *stored) {
	opened := s.open(t)
	want := s.values(t)
	if opened.Len() != len(want) {
		t.Errorf("Len is %d, want %d", opened.Len(), len(want))
	}
	meta := opened.Metadata()
	var got []leaf
	for name, l := range opened.Leaves() {
		m := l.Metadata()
		if name != m.Path.String() || !reflect.DeepEqual(*m, meta.Leaves[len(got)]) {
			t.Errorf("leaf %q is %+v, in the tree's metadata it is %+v", name, m, meta.Leaves[len(got)])
		}
		if same, err := opened.Leaf(name); err != nil || same != l {
			t.Errorf("Leaf(%q) gives another leaf, or the error %v", name, err)
		}
		v, err := l.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, leafOfValue(t, m.Path, v))
	}
	diffLeaves(t, got, s.Leaves)
}

func checkSaveAgain(t *testing.T, s *stored) {
	again := filepath.Join(t.TempDir(), "again")
	if err := orbax.Save(t.Context(), again, s.load(t)); err != nil {
		t.Fatal(err)
	}
	s.checkSaved(t, again)
}

// checkSaved wants the same tree at another path, of which the metadata tells the
// same.
func (s *stored) checkSaved(t *testing.T, path string) {
	t.Helper()
	again := &stored{pytree: pytree{Leaves: s.Leaves}, path: path, layout: &layout{}}
	checkLoad(t, again)
	checkVerify(t, again)
	if got, want := again.hash(t), s.hash(t); got != want {
		t.Errorf("the digest is %v now, it was %v", got, want)
	}
	meta := again.metadata(t)
	for i, m := range s.metadata(t).Leaves {
		if g := meta.Leaves[i]; g.ValueType != m.ValueType || !reflect.DeepEqual(g.Sharding, placed(m)) {
			t.Errorf("%v is %s on %v now, it was %s on %v", m.Path, g.ValueType, g.Sharding, m.ValueType, m.Sharding)
		}
	}
}

// placed returns the sharding that a leaf has once it is loaded: that of the host for a
// jax.Array of which none is recorded.
func placed(m view.LeafMetadata) *sharding.Sharding {
	if m.Sharding == nil && m.ValueType == "jax.Array" {
		return sharding.Host()
	}
	return m.Sharding
}
