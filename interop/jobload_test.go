package interop

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/zarr"
)

// partOf returns a tree of Go values in which every array with a sharding has the shards
// of one process.
func partOf(whole any, p sharding.Process) (any, error) {
	var failed error
	part := mapValues(whole, func(_ string, leaf any) any {
		a, ok := leaf.(*array.Array)
		if !ok || a.Sharding() == nil {
			return leaf
		}
		s, err := shardsOf(a, a.Sharding(), p)
		if err != nil {
			failed = err
		}
		return s
	})
	return part, failed
}

// saveShards saves a tree in n processes, each of which has its shards.
func saveShards(t *testing.T, n int, path string, tree *node, options ...orbax.SaveOption) {
	t.Helper()
	whole, err := tree.toGo()
	if err != nil {
		t.Fatal(err)
	}
	together(t, n, func(g *coord.Group) error {
		part, err := partOf(whole, sharding.Process{Rank: g.Rank(), Size: n, Owner: deviceOwner})
		if err != nil {
			return err
		}
		return orbax.Save(t.Context(), path, part, append(options, multihost.Together{Group: g, Owner: deviceOwner})...)
	})
}

// goTree is a tree that processes of Go save, and what a job, and one process of JAX,
// load it into.
type goTree struct {
	processes     int
	storage       handler.StorageOptions
	tree          *node
	target, alone *node
}

// drawGoTree draws a tree with arrays over meshes of Go's processes, and targets with
// arrays over meshes of those that load it.
func drawGoTree(g *treeGen) goTree {
	c := goTree{processes: rapid.SampledFrom([]int{2, 3, 4, 8}).Draw(g.t, "processes"), storage: drawStorage(g.t)}
	if c.storage.Compression == zarr.Auto() { // no process has the arrays whole
		c.storage.Compression = zarr.Zstd(2)
	}
	from := treeGen{t: g.t, files: c.storage.PlainFiles, goSide: true, job: c.processes}
	c.tree = dict("any", from.tree())
	for i := range 6 {
		c.tree.Keys = append(c.tree.Keys, fmt.Sprint("sharded", i))
		c.tree.Kids = append(c.tree.Kids, from.sharded())
	}
	c.tree.Keys, c.tree.Kids = append(c.tree.Keys, "key"), append(c.tree.Kids, from.key())
	c.target = g.target(c.tree)
	c.alone = (&treeGen{t: g.t}).target(c.tree)
	return c
}

// target draws a tree to load a tree into: most arrays over meshes of JAX, the others as
// NumPy arrays.
func (g *treeGen) target(tree *node) *node {
	return tree.plain().inPython().mapLeaves(func(l *node) *node {
		if l.T != "key" && l.T != "array" {
			return l
		}
		l.Lib, l.Sharding, l.Go = "np", nil, nil
		if l.T == "key" || g.pick("jax", 4) > 0 {
			m := g.mesh()
			m.Spec = specOf(g.spec(m, len(l.Shape), func(axis, parts int) bool { return l.Shape[axis]%parts == 0 }))
			l.Lib, l.Sharding = "jax", m
		}
		return l
	})
}

// TestGoToJob saves random trees in processes of Go, with axes of any length. A job loads
// them over its own meshes. One process of Python loads them over its meshes, and as NumPy
// arrays.
func TestGoToJob(t *testing.T) {
	jobCases(t, drawGoTree, func(t *testing.T, n int, c goTree) {
		t.Logf("%d processes, %+v", c.processes, c.storage)
		path := filepath.Join(t.TempDir(), "checkpoint")
		saveShards(t, c.processes, path, c.tree, orbax.Storage(c.storage))
		want := c.tree.plain().inPython()
		mustEqual(t, "Python, into NumPy arrays", asNumPy(want), asNumPy(pyLoad(t, path, request{"kind": "np", "tree": asNumPy(want)})))
		mustEqual(t, "Python, over a mesh", c.alone, pyLoad(t, path, request{"kind": "tree", "tree": zeroed(c.alone)}))
		checkJobLoad(t, c.target, jobLoad(t, n, path, request{"kind": "tree", "tree": zeroed(c.target)}))
		checkGoSave(t, path, c.tree)
	})
}

// TestGoToSameJob saves random trees in as many processes of Go as the job has. The job
// loads them without a target: each process gets the shards that the process of Go had.
func TestGoToSameJob(t *testing.T) {
	jobCases(t, drawJobTree, func(t *testing.T, n int, c jobTree) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		saveShards(t, n, path, c.tree)
		checkJobLoad(t, c.tree.plain(), jobLoad(t, n, path, nil))
		checkJobLoad(t, c.tree.plain(), jobLoad(t, n, path, request{"kind": "metadata"}))
		checkJobSave(t, path, c.tree)
	})
}

// TestGoWholeLeavesToJob saves leaves that processes of JAX can only load as a whole: a key
// without a sharding, and an array whose axis does not split evenly. A job loads them without
// a target, on all its devices.
func TestGoWholeLeavesToJob(t *testing.T) {
	eachJob(t, func(t *testing.T, n int) {
		all := jobDevices(n)
		on := func(spec ...any) *mesh {
			return &mesh{Mesh: []int{len(all)}, Axes: []string{"x"}, Spec: append([]any{}, spec...), Devices: all}
		}
		data := make([]byte, 4*len(all)*7)
		for i := range data {
			data[i] = byte(i)
		}
		whole := len(all) - 1
		tree := dict(
			"key", &node{T: "key", Impl: "threefry2x32", Shape: []int{3}, Data: data[:24]},
			"odd", &node{T: "array", Lib: "jax", DType: "int32", Shape: []int{whole, 7}, Data: data[:4*whole*7], Sharding: on("x")},
			"even", &node{T: "array", Lib: "jax", DType: "int32", Shape: []int{len(all), 7}, Data: data, Sharding: on("x")},
		)
		path := filepath.Join(t.TempDir(), "checkpoint")
		saveShards(t, n, path, tree)
		want := tree.plain()
		want.Kids[0].Sharding, want.Kids[1].Sharding = on(), on()
		checkJobLoad(t, want, jobLoad(t, n, path, nil))
		mustEqual(t, "Go", want, goLoad(t, path))
	})
}

// TestGoDTypesToJob saves all dtypes in processes of Go, and what else a job can save.
func TestGoDTypesToJob(t *testing.T) {
	eachJob(t, func(t *testing.T, n int) {
		for _, zarr2 := range []bool{false, true} {
			tree := exampleOfJob(n)
			path := filepath.Join(t.TempDir(), "checkpoint")
			storage := handler.StorageOptions{Zarr2: zarr2}
			storage.Compression = zarr.Huffman()
			saveShards(t, n, path, tree, orbax.Storage(storage))
			checkJobLoad(t, tree.plain(), jobLoad(t, n, path, nil))
			checkJobSave(t, path, tree)
		}
	})
}

// TestGoToBroadcastingJob has one process of a job read what Go has saved, and broadcast it
// to the others.
func TestGoToBroadcastingJob(t *testing.T) {
	eachJob(t, func(t *testing.T, n int) {
		load := func(tree *node) (target *node, loaded []*node) {
			path := filepath.Join(t.TempDir(), "checkpoint")
			saveShards(t, n, path, tree)
			target = tree.mapLeaves(func(l *node) *node {
				l.Sharding = &mesh{Mesh: []int{n, localDevices}, Axes: []string{"replica", "x"}, Spec: []any{"x"}, Devices: jobDevices(n)}
				return l
			})
			answers, err := callJob[struct{ Tree *node }](t.Context(), n, "load", request{
				"path": path, "abstract": request{"kind": "tree", "tree": zeroed(target)}, "options": request{"use_load_and_broadcast": true},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range answers {
				loaded = append(loaded, a.Tree)
			}
			return target, loaded
		}
		leaf := func(a *array.Array) *node {
			l := arrayNode("jax", a)
			l.Sharding = &mesh{Mesh: []int{n}, Axes: []string{"x"}, Spec: []any{"x"}, Devices: jobDevices(n)[:n]}
			return l
		}
		target, loaded := load(dict("floats", leaf(array.Of([]float32{1.5, -2, 0, 7}, 4, 1)), "ints", leaf(array.Of([]int64{1, 2, 3, -4}))))
		checkJobLoad(t, target, loaded)

		// Orbax broadcasts by a sum of the replicas, of which the others are zero.
		_, loaded = load(dict("zero", leaf(array.Of([]float32{float32(math.Copysign(0, -1)), 0, 0, 0})), "bytes", leaf(array.Of([]uint8{200, 1, 2, 3}))))
		zero, bytes := loaded[0].Kids[slices.Index(loaded[0].Keys, "zero")], loaded[0].Kids[slices.Index(loaded[0].Keys, "bytes")]
		if got := zero.Shards[0].Data[3]; got != 0 {
			t.Errorf("-0 is loaded with the sign %x: Orbax has become exact", got)
		}
		if bytes.DType != "uint64" {
			t.Errorf("uint8 is loaded as %s: Orbax has become exact", bytes.DType)
		}
	})
}

// TestLargeGoToJob saves arrays of which a process writes several chunks.
func TestLargeGoToJob(t *testing.T) {
	testenv.NeedLong(t, "it moves many megabytes through JSON")
	eachJob(t, func(t *testing.T, n int) {
		ids := jobDevices(4)
		tree, target := dict(), dict()
		for name, spec := range map[string][]any{"replicas": {}, "rows": {"x"}, "columns": {nil, []any{"y", "x"}}} {
			values := make([]float32, 2<<20)
			for i := range values {
				values[i] = float32(i + len(tree.Kids))
			}
			l := arrayNode("jax", array.Of(values, 1024, 2048))
			l.Sharding = &mesh{Mesh: []int{2, 4}, Axes: []string{"x", "y"}, Spec: spec, Devices: ids}
			into := *l
			into.Sharding = &mesh{Mesh: []int{localDevices, n}, Axes: []string{"x", "y"}, Spec: []any{"y", "x"}, Devices: jobDevices(n)}
			tree.Keys, tree.Kids = append(tree.Keys, name), append(tree.Kids, l)
			target.Keys, target.Kids = append(target.Keys, name), append(target.Kids, &into)
		}
		path := filepath.Join(t.TempDir(), "checkpoint")
		saveShards(t, 4, path, tree, orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(1)}}))
		checkJobLoad(t, target, jobLoad(t, n, path, request{"kind": "tree", "tree": zeroed(target)}))
		checkGoSave(t, path, tree)
	})
}

// zeroed returns the tree with zeros as data.
func zeroed(tree *node) *node {
	return tree.mapLeaves(func(l *node) *node {
		l.Data = make([]byte, len(l.Data))
		return l
	})
}

// checkGoSave checks that Go loads and verifies what it has saved.
func checkGoSave(t *testing.T, path string, tree *node) {
	t.Helper()
	recorded := tree.plain().mapLeaves(func(l *node) *node {
		if l.Sharding != nil {
			if _, err := l.Sharding.toGo().ShardShape(l.Shape); err != nil {
				whole := *l.Sharding // JAX could not load it so
				whole.Spec = []any{}
				l.Sharding = &whole
			}
		}
		return l
	})
	mustEqual(t, "Go", recorded, goLoad(t, path))
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
}

// checkJobLoad checks what the processes of a job have loaded.
func checkJobLoad(t *testing.T, want *node, got []*node) {
	t.Helper()
	for rank, tree := range got {
		checkShards(t, rank, want, tree)
		if d := diff(want, tree); d != "" {
			t.Errorf("process %d:\n%s", rank, d)
		}
	}
}

// checkShards checks the shards of a tree that the process with a rank has loaded: they
// are on its devices, and are the parts that these have. Then it puts the data of want
// in their place.
func checkShards(t *testing.T, rank int, want, got *node) {
	t.Helper()
	if len(want.Kids) == len(got.Kids) {
		for i, kid := range want.Kids {
			at := i
			if len(want.Keys) > 0 {
				if at = slices.Index(got.Keys, want.Keys[i]); at < 0 {
					continue // diff reports it
				}
			}
			checkShards(t, rank, kid, got.Kids[at])
		}
	}
	if len(got.Shards) == 0 || want.Sharding == nil {
		return
	}
	whole, err := want.array()
	if err != nil {
		t.Fatal(err)
	}
	a := whole.(*array.Array)
	pieces, err := want.Sharding.toGo().Pieces(a.Shape())
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for place := range pieces.Places() {
		id := pieces.Device(place)
		if deviceOwner(id) != rank {
			continue
		}
		b := pieces.Box(place)
		i := slices.IndexFunc(got.Shards, func(s shard) bool { return s.Device == id })
		if i < 0 {
			t.Errorf("process %d has no shard of device %d: %v", rank, id, want)
			continue
		}
		found++
		if s := got.Shards[i]; !slices.Equal(s.Offset, b.Offset) || !slices.Equal(s.Shape, b.Size) || !bytes.Equal(s.Data, box(a, b.Offset, b.Size)) {
			t.Errorf("process %d: device %d has %v at %v, %x; want %v at %v of %v", rank, id, s.Shape, s.Offset, s.Data, b.Size, b.Offset, want)
		}
	}
	if found != len(got.Shards) {
		t.Errorf("process %d has %d shards, want %d: %v", rank, len(got.Shards), found, want)
	}
	got.Data = want.Data
}
