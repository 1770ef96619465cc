package orbax_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
)

// A sharding that JAX could not apply is refused when it is saved.
func TestShardingThatDoesNotFit(t *testing.T) {
	mesh := sharding.Mesh{Shape: []int{2, 4}, AxisNames: []string{"x", "y"}}
	for name, s := range map[string]*sharding.Sharding{
		"indivisible":           sharding.Named(mesh, sharding.PartitionSpec{{"x"}}),
		"more axes than it has": sharding.Named(mesh, sharding.PartitionSpec{nil, {"x"}}),
	} {
		path := filepath.Join(t.TempDir(), "ckpt")
		err := orbax.Save(t.Context(), path, map[string]any{"a": array.Of([]float32{1, 2, 3}).WithSharding(s)})
		var e *orbax.Error
		if !errors.As(err, &e) || e.Leaf != "a" || !errors.Is(err, orbax.ErrShape) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Memory that is filled in place does not change what the numbers are.
func TestKeyIsNoOrdinaryArray(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	key, err := array.PRNGKey("threefry2x32", array.Of([]uint32{1, 2}))
	if err != nil {
		t.Fatal(err)
	}
	plain := array.Of([]uint32{3, 4})
	if err := orbax.Save(ctx, path, map[string]any{"key": key, "plain": plain}); err != nil {
		t.Fatal(err)
	}
	err = orbax.LoadInto(ctx, path, map[string]any{"key": plain.Clone(), "plain": key.Clone()})
	var e *orbax.Error
	if !errors.As(err, &e) || len(e.Leaves()) != 2 || !errors.Is(err, orbax.ErrDType) {
		t.Errorf("key and array exchanged: %v", err)
	}
	into := map[string]any{"key": key.Clone(), "plain": plain.Clone()}
	if err := orbax.LoadInto(ctx, path, into); err != nil {
		t.Fatal(err)
	}
	if got := into["key"].(*array.Array); !got.Equal(key) || got.PRNGImpl() == "" {
		t.Errorf("the key came back as %v", got)
	}
}

// The storage dtype leaves arrays of another class alone.
func TestStorageDTypeKeepsIntegers(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	state := map[string]any{"w": []float32{1.5}, "ids": []int32{70001}, "mask": []bool{true}}
	err := orbax.Save(ctx, path, state, orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{DType: array.BFloat16}}))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := orbax.Metadata(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []array.DType{array.Int32, array.Bool, array.BFloat16} {
		if l := meta.Tree.Leaves[i]; l.DType != want {
			t.Errorf("%s is stored as %v, want %v", l.Path, l.DType, want)
		}
	}
}

// A file that has grown to any size is damage, and not memory.
func TestGrownFiles(t *testing.T) {
	grow := func(t *testing.T, pattern string) string {
		path := filepath.Join(t.TempDir(), "ckpt")
		if err := orbax.Save(t.Context(), path, map[string]any{"a": make([]int64, 1000)}); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(path, "state", pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err != nil || pattern == "d/*" && info.Size()%4096 != 0 {
				continue // the nodes, which Verify reads to the end
			}
			if err := os.Truncate(f, 1<<40); err != nil {
				t.Skip(err) // no sparse files here
			}
		}
		return path
	}
	if err := orbax.Verify(t.Context(), grow(t, "d/*")); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("Verify, with grown data: %v", err)
	}
	if _, err := orbax.Load(t.Context(), grow(t, "_METADATA")); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("Load, with a grown document: %v", err)
	}
}
