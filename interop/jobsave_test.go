package interop

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/testenv"
)

var (
	jobTrees = flag.Int("jobs", testenv.Pick(30, 4), "number of random trees of each job of several processes of JAX")
	jobSeed  = flag.Int("jobseed", int(rand.Uint32()), "`seed` of the random trees of jobs")
)

// jobCases runs a test with random cases of each job. draw draws a case for n processes.
func jobCases[T any](t *testing.T, draw func(g *treeGen) T, test func(t *testing.T, n int, c T)) {
	eachJob(t, func(t *testing.T, n int) {
		for i := range *jobTrees {
			seed := *jobSeed + i
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				c := drawn(seed, n, draw)
				defer func() {
					if t.Failed() {
						t.Logf("to run it again: -run %s -jobs=1 -jobseed=%d", strings.ReplaceAll(t.Name(), " ", "_"), seed)
					}
				}()
				test(t, n, c)
			})
		}
	})
}

// drawn draws a value for n processes with a seed.
func drawn[T any](seed, n int, draw func(g *treeGen) T) T {
	return rapid.Custom(func(t *rapid.T) T { return draw(&treeGen{t: t, job: n}) }).Example(seed)
}

// jobTree is a tree that a job saves, and the options of the save.
type jobTree struct {
	tree    *node
	options request
	seed    int // of what it is loaded into
}

// drawJobTree draws a tree with arrays over several meshes.
func drawJobTree(g *treeGen) jobTree {
	c := jobTree{options: request{}, seed: int(rapid.Uint32().Draw(g.t, "seed"))}
	for _, name := range []string{"use_ocdbt", "use_zarr3", "use_compression", "use_replica_parallel"} {
		if g.pick(name, 3) == 0 {
			c.options[name] = false
		}
	}
	if g.pick("separate folder", 4) == 0 {
		c.options["enable_replica_parallel_separate_folder"] = true
	}
	switch g.pick("replicas", 4) {
	case 0:
		c.options["max_replicas_for_replica_parallel"] = 2
	case 1:
		c.options["min_slice_bytes_for_replica_parallel"] = 20
	}
	if size := rapid.SampledFrom([]int{0, 0, 64, 1000}).Draw(g.t, "chunk bytes"); size > 0 {
		c.options["chunk_byte_size"] = size
	}
	if len(c.options) == 0 && g.pick("data files", 2) == 0 {
		c.options["ocdbt_target_data_file_size"] = 500
	}
	g.files = c.options["use_ocdbt"] == false
	c.tree = dict("any", g.tree())
	for i := range 6 {
		c.tree.Keys = append(c.tree.Keys, fmt.Sprint("sharded", i))
		c.tree.Kids = append(c.tree.Kids, g.sharded())
	}
	c.tree.Keys, c.tree.Kids = append(c.tree.Keys, "key"), append(c.tree.Kids, g.key())
	return c
}

// TestJobToGo saves random trees with a job. Go loads, verifies and describes them, and
// loads their shards in several processes over other meshes.
func TestJobToGo(t *testing.T) {
	jobCases(t, drawJobTree, func(t *testing.T, n int, c jobTree) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		jobSave(t, n, path, c.tree, c.options)
		t.Logf("options %v", c.options)
		checkJobSave(t, path, c.tree)
		for i, processes := range []int{1, 2, 3, 4, 8} {
			loadShards(t, path, processes, c.seed+i)
		}
	})
}

// TestJobDTypes saves all dtypes with a job, and what else it can save.
func TestJobDTypes(t *testing.T) {
	eachJob(t, func(t *testing.T, n int) {
		for _, zarr3 := range []bool{true, false} {
			tree := exampleOfJob(n)
			path := filepath.Join(t.TempDir(), "checkpoint")
			jobSave(t, n, path, tree, request{"use_zarr3": zarr3})
			checkJobSave(t, path, tree)
			loadShards(t, path, 3, 1)
		}
	})
}

// TestOldJobToGo saves random trees with a job and the v0 API: into a flat checkpoint, and
// as the step of a run.
func TestOldJobToGo(t *testing.T) {
	jobCases(t, drawJobTree, func(t *testing.T, n int, c jobTree) {
		c.tree.Keys, c.tree.Kids = c.tree.Keys[1:], c.tree.Kids[1:] // without what is not in shards
		req := request{"tree": c.tree, "use_zarr3": c.options["use_zarr3"] == nil, "use_ocdbt": c.options["use_ocdbt"] == nil}
		path := filepath.Join(t.TempDir(), "checkpoint")
		saved := path
		if c.seed%2 == 0 {
			req["step"], saved = 3, filepath.Join(path, "3")
		}
		req["path"] = path
		if _, err := callJob[struct{}](t.Context(), n, "v0_save", req); err != nil {
			t.Fatal(err)
		}
		checkJobSave(t, saved, c.tree)
		loadShards(t, saved, 3, c.seed)
	})
}

// TestJobHostLeaves saves leaves that differ in the processes of a job: those of process 0
// are in the checkpoint.
func TestJobHostLeaves(t *testing.T) {
	eachJob(t, func(t *testing.T, n int) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		tree := func(rank int) *node {
			return dict("a", arrayNode("np", array.Of([]int64{int64(rank), 7})), "n", integer(int64(rank)), "s", text(fmt.Sprint(rank)))
		}
		var each []request
		for rank := range n {
			each = append(each, request{"path": path, "tree": tree(rank)})
		}
		if _, err := callJob[struct{}](t.Context(), n, "save", each...); err != nil {
			t.Fatal(err)
		}
		checkJobSave(t, path, tree(0))
	})
}

// TestJobRefusals saves with a job what Orbax refuses, so that Go meets none of it.
func TestJobRefusals(t *testing.T) {
	eachJob(t, func(t *testing.T, n int) {
		all, first := jobDevices(n), jobDevices(1)
		for what, leaf := range map[string]*node{
			"zero size":               {T: "array", Lib: "jax", DType: "int8", Shape: []int{0, len(all)}, Sharding: &mesh{Mesh: []int{len(all)}, Axes: []string{"x"}, Spec: []any{nil, "x"}, Devices: all}},
			"host local":              {T: "array", Lib: "jax", DType: "int8", Shape: []int{2}, Data: []byte{1, 2}, Sharding: &mesh{Mesh: []int{2}, Axes: []string{"x"}, Spec: []any{"x"}, Devices: first}},
			"evenly divide the shape": {T: "array", Lib: "jax", DType: "int8", Shape: []int{1}, Data: []byte{1}, Sharding: &mesh{Mesh: []int{len(all)}, Axes: []string{"x"}, Spec: []any{"x"}, Devices: all}},
		} {
			_, err := callJob[struct{}](t.Context(), n, "save", request{"path": filepath.Join(t.TempDir(), "checkpoint"), "tree": dict("a", leaf)})
			if !pyRaises(err) || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// exampleOfJob has a leaf of every kind that a job of n processes saves. Arrays of JAX
// are split among all devices, and among one device of each process, and replicated.
func exampleOfJob(n int) *node {
	all := jobDevices(n)
	var first []int
	for i := 0; i < len(all); i += localDevices {
		first = append(first, all[i])
	}
	replicas := &mesh{Mesh: []int{len(all)}, Axes: []string{"x"}, Spec: []any{}, Devices: all}
	tree := dict()
	add := func(name string, leaf node, on *mesh) {
		leaf.Sharding = on
		tree.Keys, tree.Kids = append(tree.Keys, name), append(tree.Kids, &leaf)
	}
	for name, leaf := range exampleLeaves() {
		switch {
		case leaf.Sharding != nil: // 48 elements
			leaf.Shape, leaf.Data = []int{8, 4}, leaf.Data[:len(leaf.Data)/48*32]
			add(name, *leaf, &mesh{Mesh: []int{2, n}, Axes: []string{"x", "y"}, Spec: []any{[]any{"y", "x"}}, Devices: all})
			add(name+", one device of each process", *leaf, &mesh{Mesh: []int{n}, Axes: []string{"x"}, Spec: []any{nil, "x"}, Devices: first})
		case leaf.T == "key" || leaf.Lib == "jax":
			add(name, *leaf, replicas)
		default:
			add(name, *leaf, nil)
		}
	}
	return tree
}

// checkJobSave checks that a job has saved a tree: that Go loads it, with the shardings
// of the job, verifies it, and describes its shardings.
func checkJobSave(t *testing.T, path string, tree *node) {
	t.Helper()
	mustEqual(t, "Go", tree.plain(), goLoad(t, path))
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
	m, err := orbax.Metadata(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Err(); err != nil {
		t.Error(err)
	}
	sharded := 0
	for _, leaf := range m.Tree.Leaves {
		if meshOf(leaf.Sharding) != nil {
			sharded++
		}
	}
	if want := tree.count(func(n *node) bool { return n.Sharding != nil }); sharded != want {
		t.Errorf("metadata has %d leaves with a mesh, want %d", sharded, want)
	}
}
