package orbax_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/training"
	"github.com/go-orbax/orbax/zarr"
)

// randomArrays returns arrays of n random numbers.
func randomArrays(seed uint64, arrays, n int) map[string][]float32 {
	r := rand.New(rand.NewPCG(seed, seed))
	state := map[string][]float32{}
	for i := range arrays {
		a := make([]float32, n)
		for j := range a {
			a[j] = r.Float32()
		}
		state[fmt.Sprint("a", i)] = a
	}
	return state
}

// dataFiles returns the sizes of the files of values of a checkpoint's pytree; the file
// of nodes is smaller than any.
func dataFiles(t *testing.T, path string) (sizes []int64) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(path, "state", "d"))
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if info.Size() > 64<<10 {
			sizes = append(sizes, info.Size())
		}
	}
	return sizes
}

// A data file ends with the chunk that makes it as large as it is to be.
func TestDataFileSize(t *testing.T) {
	const chunk, arrays = 256 << 10, 7 // each array is three chunks
	state := randomArrays(1, arrays, 3*chunk/4)
	for _, tc := range []struct {
		size  int64
		files int
	}{{0, 1}, {1, 21}, {chunk, 21}, {chunk + 1, 21}, {2 * chunk, 11}, {8 * chunk, 3}, {1 << 40, 1}} {
		for name, o := range map[string]handler.ArrayOptions{
			"raw": {ChunkByteSize: chunk}, "zstd": {ChunkByteSize: chunk, Compression: zarr.Zstd(1)},
		} {
			t.Run(fmt.Sprint(tc.size, name), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "ck")
				must(t, orbax.Save(t.Context(), path, state, orbax.Storage(handler.StorageOptions{ArrayOptions: o, DataFileSize: tc.size})))
				got := dataFiles(t, path)
				// A chunk's checksum, and what compression may add, count as well.
				if len(got) > tc.files || len(got) < tc.files-2 || (len(got) == 1) != (tc.files == 1) {
					t.Errorf("%d files, want about %d: %d", len(got), tc.files, got)
				}
				for _, n := range got {
					if tc.size < 1<<40 && tc.files > 1 && n > tc.size+chunk+8<<10 {
						t.Errorf("a file of %d bytes", n)
					}
				}
				loaded, err := orbax.LoadAs[map[string][]float32](t.Context(), path)
				must(t, err)
				if !reflect.DeepEqual(loaded, state) {
					t.Error("loaded other values")
				}
				must(t, orbax.Verify(t.Context(), path))
			})
		}
	}
}

// Steps share single files of several, and parts of them come together.
func TestDataFileSizeShared(t *testing.T) {
	small := orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ChunkByteSize: 256 << 10}, DataFileSize: 1 << 20})
	root := t.TempDir()
	c, err := training.New(t.Context(), root, training.Options{
		SaveOptions:  []orbax.SaveCheckpointablesOption{small},
		Preservation: training.LatestN{N: 1},
	})
	must(t, err)
	state := randomArrays(1, 16, 64<<10)
	for step := range 4 {
		state["a3"][step]++
		var s orbax.Stats
		_, err := c.Save(t.Context(), step, state, orbax.Report(&s))
		must(t, err)
		if step > 0 && s.Shared < 15*256<<10 {
			t.Errorf("step %d shares %d bytes", step, s.Shared)
		}
	}
	must(t, c.Close())
	path := filepath.Join(root, "3")
	loaded, err := orbax.LoadAs[map[string][]float32](t.Context(), path)
	must(t, err)
	if !reflect.DeepEqual(loaded, state) {
		t.Error("loaded other values")
	}
	must(t, orbax.Verify(t.Context(), path))
	if n := len(dataFiles(t, path)); n < 4 {
		t.Errorf("%d files", n)
	}

	path = filepath.Join(t.TempDir(), "ck")
	for _, name := range []string{"a0", "a1"} {
		must(t, partial.Save(t.Context(), path, map[string][]float32{name: state[name], name + "b": state["a5"]}, small))
	}
	must(t, partial.Finalize(t.Context(), path))
	must(t, orbax.Verify(t.Context(), path))
	loaded, err = orbax.LoadAs[map[string][]float32](t.Context(), path)
	must(t, err)
	if !reflect.DeepEqual(loaded, map[string][]float32{"a0": state["a0"], "a1": state["a1"], "a0b": state["a5"], "a1b": state["a5"]}) {
		t.Error("loaded other values")
	}
}

func TestDataFileSizeRefused(t *testing.T) {
	for _, s := range []handler.StorageOptions{{DataFileSize: -1}, {DataFileSize: 1, PlainFiles: true}} {
		path := filepath.Join(t.TempDir(), "ck")
		if err := orbax.Save(t.Context(), path, map[string]any{"a": 1}, orbax.Storage(s)); !errors.Is(err, orbax.ErrUsage) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}
