package interop

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/training"
	"github.com/go-orbax/orbax/zarr"
)

// shareFiles reports whether two checkpoints have a file in common.
func shareFiles(t *testing.T, a, b string) bool {
	t.Helper()
	files := func(dir string) (infos []fs.FileInfo) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := os.Stat(path)
			infos = append(infos, info)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return infos
	}
	others := files(b)
	return slices.ContainsFunc(files(a), func(x fs.FileInfo) bool {
		return slices.ContainsFunc(others, func(y fs.FileInfo) bool { return os.SameFile(x, y) })
	})
}

// sharedRun is a run whose steps each change one array of several, and the digests
// of what each step holds.
type sharedRun struct {
	t      *testing.T
	root   string
	o      training.Options
	random *rand.Rand
	layers map[string]*array.Array
	steps  map[int]map[string]string
	next   int
}

const (
	sharedLayers = 6
	sharedRows   = 5
	sharedRow    = 1 << 16 // float32s; a layer is 1.25 MiB
)

func newSharedRun(t *testing.T, o training.Options, seed uint64) *sharedRun {
	r := &sharedRun{
		t: t, root: t.TempDir(), o: o, random: rand.New(rand.NewPCG(seed, 6)),
		layers: map[string]*array.Array{}, steps: map[int]map[string]string{},
	}
	for i := range sharedLayers {
		r.layers[fmt.Sprintf("layer%d", i)] = r.layer(1)
	}
	r.layers["bias"] = array.Of(make([]float32, 100), 100)
	return r
}

// layer is an array that compresses somewhat.
func (r *sharedRun) layer(rows int) *array.Array {
	v := make([]float32, sharedRows*sharedRow)
	for i := range v {
		v[i] = float32(r.random.IntN(64 * rows))
	}
	return array.Of(v, sharedRows, sharedRow)
}

// save changes a layer and saves.
func (r *sharedRun) save(c *training.Checkpointer) {
	r.t.Helper()
	r.layers[fmt.Sprintf("layer%d", r.random.IntN(sharedLayers))] = r.layer(2)
	r.layers["bias"] = array.Of(slices.Repeat([]float32{float32(r.next)}, 100), 100)
	state := map[string]any{}
	for name, a := range r.layers {
		state[name] = a
	}
	if saved, err := c.Save(r.t.Context(), r.next, state, training.Force()); err != nil || !saved {
		r.t.Fatalf("step %d: saved %t, %v", r.next, saved, err)
	}
	r.steps[r.next] = digestsOf(r.layers)
	r.next++
}

// digestsOf describes arrays as testdata/runs.py does.
func digestsOf(arrays map[string]*array.Array) map[string]string {
	out := map[string]string{}
	for name, a := range arrays {
		shape := ""
		for i, n := range a.Shape() {
			if i > 0 {
				shape += ", "
			}
			shape += fmt.Sprint(n)
		}
		out[name] = fmt.Sprintf("%v[%s] %x", a.DType(), shape, sha256.Sum256(a.Bytes()))
	}
	return out
}

// turn opens the run, does f, and checks what is there afterwards.
func (r *sharedRun) turn(f func(c *training.Checkpointer)) {
	r.t.Helper()
	c, err := training.New(r.t.Context(), r.root, r.o)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	f(c)
	if err := c.Wait(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	var listed []int
	for _, ck := range c.Checkpoints() {
		listed = append(listed, ck.Step)
	}
	if want := slices.Sorted(maps.Keys(r.steps)); !slices.Equal(listed, want) {
		r.t.Fatalf("Go lists %v, want %v", listed, want)
	}
	for step, want := range r.steps {
		if err := orbax.Verify(r.t.Context(), c.Path(step)); err != nil {
			r.t.Errorf("step %d: %v", step, err)
		}
		loaded := map[string]*array.Array{}
		if err := c.LoadInto(r.t.Context(), step, &loaded); err != nil {
			r.t.Error(err)
		} else if got := digestsOf(loaded); !maps.Equal(got, want) {
			r.t.Errorf("Go: step %d is\n%v, want\n%v", step, got, want)
		}
	}
}

// python checks that Python finds the same.
func (r *sharedRun) python() {
	r.t.Helper()
	var loads []request
	for _, step := range slices.Sorted(maps.Keys(r.steps)) {
		loads = append(loads, request{"act": "digests", "step": step})
	}
	var answer turn
	mustCall(r.t, "run_turn", request{"root": r.root, "do": loads}, &answer)
	if len(answer.Steps) != len(loads) {
		r.t.Errorf("Python lists %v", answer.Steps)
	}
	for i, got := range answer.Results {
		step := loads[i]["step"].(int)
		if want := r.steps[step]; !maps.Equal(got.Digests, want) {
			r.t.Errorf("Python: step %d is\n%v, want\n%v", step, got.Digests, want)
		}
	}
}

// TestTrainingDeletion removes steps that share bytes with others, at random, by
// Delete and by what is to be kept: all that remain must be whole.
func TestTrainingDeletion(t *testing.T) {
	needPython(t)
	var zstd, plain handler.StorageOptions
	zstd.Compression = zarr.Zstd(1)
	plain.ChunkByteSize = 1 << 18
	for i, c := range []struct {
		name string
		o    training.Options
	}{
		{"raw", training.Options{}},
		{"zstd", training.Options{SaveOptions: []orbax.SaveCheckpointablesOption{orbax.Storage(zstd)}}},
		{"small chunks", training.Options{SaveOptions: []orbax.SaveCheckpointablesOption{orbax.Storage(plain)}}},
		{"fresh", training.Options{Sharing: training.Sharing{FreshEvery: 3, MaxDead: 0.2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newSharedRun(t, c.o, uint64(i))
			sharing := 0
			r.turn(func(ck *training.Checkpointer) {
				for range 6 {
					r.save(ck)
					if r.next > 1 && shareFiles(t, ck.Path(r.next-2), ck.Path(r.next-1)) {
						sharing++
					}
				}
			})
			if sharing < 3 {
				t.Errorf("%d of 5 steps share bytes", sharing)
			}
			for range 2 {
				r.turn(func(ck *training.Checkpointer) {
					for range 2 {
						at := slices.Sorted(maps.Keys(r.steps))
						step := at[r.random.IntN(len(at)-1)] // but the last
						if err := ck.Delete(t.Context(), step); err != nil {
							t.Fatal(err)
						}
						delete(r.steps, step)
						r.save(ck)
					}
				})
			}
			r.python()
			r.o.Preservation = training.EveryNSteps{Interval: 2}
			r.turn(func(ck *training.Checkpointer) {
				r.save(ck)
				r.save(ck)
				latest := r.next - 1
				maps.DeleteFunc(r.steps, func(step int, _ map[string]string) bool { return step%2 != 0 && step != latest })
			})
			r.python()
		})
	}
}
