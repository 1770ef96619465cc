package orbax_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/training"
)

// rising returns n different numbers.
func rising(n int, first float32) *array.Array {
	a := make([]float32, n)
	for i := range a {
		a[i] = first + float32(i)
	}
	return array.Of(a)
}

// A data file of a database that is not there, or ends before the values in it do, breaks
// the leaves that have them there, and no others.
func TestBrokenDataFile(t *testing.T) {
	replace := func(text string) func(file string) error {
		return func(file string) error { return os.WriteFile(file, []byte(text), 0o666) }
	}
	for name, c := range map[string]struct {
		options handler.StorageOptions
		damage  func(file string) error
		want    error
	}{
		"missing":         {damage: os.Remove, want: orbax.ErrCorrupt},
		"cut off":         {damage: func(file string) error { return os.Truncate(file, 11999) }, want: orbax.ErrCorrupt},
		"empty":           {damage: replace(""), want: orbax.ErrCorrupt},
		"not fetched":     {damage: replace("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8\n"), want: orbax.ErrIncomplete},
		"a directory":     {damage: func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o777)) }, want: orbax.ErrCorrupt},
		"zarr2":           {options: handler.StorageOptions{Zarr2: true}, damage: os.Remove, want: orbax.ErrCorrupt},
		"one of several":  {options: handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ChunkByteSize: 4000}, DataFileSize: 4000}, damage: os.Remove, want: orbax.ErrCorrupt},
		"several cut off": {options: handler.StorageOptions{DataFileSize: 1}, damage: func(file string) error { return os.Truncate(file, 1025) }, want: orbax.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ckpt")
			must(t, orbax.Save(t.Context(), path, map[string]any{
				"w": rising(3000, 1), "b": array.Of([]float32{4, 5}),
				"m": map[string]any{"x": array.Of([]int8{6}), "y": array.Of([]int8{7})}, "n": 8, "s": "text", "e": nil,
			}, orbax.Storage(c.options)))
			file, _ := largestFile(t, filepath.Join(path, "state", "d"))
			must(t, c.damage(file))
			checkBroken(t, path, []string{"w"}, c.want, true)
		})
	}
}

// Values before the end of a file that was cut off are there.
func TestDataFileCutBetweenLeaves(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, orbax.Save(ctx, path, map[string]any{"a": rising(2000, 1), "z": rising(2000, 5)}))
	file, _ := largestFile(t, filepath.Join(path, "state", "d"))
	must(t, os.Truncate(file, 8192+1))
	m, err := orbax.Metadata(ctx, path)
	must(t, err)
	if names := brokenNames(t, m.Err()); len(names) != 1 || !strings.Contains(m.Err().Error(), "d/"+filepath.Base(file)+" has 8193 bytes, ") {
		t.Errorf("%v", m.Err())
	}
	whole := map[string]string{"a": "z", "z": "a"}[brokenNames(t, m.Err())[0]]
	if _, err := orbax.Load(ctx, path, orbax.Select(whole)); err != nil {
		t.Error(err)
	}
}

// A file that a step shares with another is missing in that one alone.
func TestBrokenSharedDataFile(t *testing.T) {
	ctx := t.Context()
	c, err := training.New(ctx, filepath.Join(t.TempDir(), "run"), training.Options{})
	must(t, err)
	defer c.Close()
	for step := range 2 {
		if saved, err := c.Save(ctx, step, map[string]any{"same": rising(3000, 1), "other": rising(3000, float32(10+step))}); err != nil || !saved {
			t.Fatal(saved, err)
		}
	}
	shared := 0
	entries, err := os.ReadDir(filepath.Join(c.Path(0), "state", "d"))
	must(t, err)
	for _, e := range entries {
		if os.Remove(filepath.Join(c.Path(1), "state", "d", e.Name())) == nil {
			shared++
		}
	}
	if shared != 1 {
		t.Fatalf("%d files are shared", shared)
	}
	for step, broken := range []string{"", "same"} {
		m, err := orbax.Metadata(ctx, c.Path(step))
		must(t, err)
		if names := brokenNames(t, m.Err()); strings.Join(names, " ") != broken {
			t.Errorf("step %d: %v", step, m.Err())
		}
	}
}

// The databases of a session's parts, and the checkpoint that is made of them.
func TestBrokenDataFileOfParts(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, partial.Save(ctx, path, map[string]any{"a": rising(3000, 1)}))
	must(t, partial.Save(ctx, path, map[string]any{"b": rising(3000, 2)}))
	copied := filepath.Join(t.TempDir(), "ckpt")
	must(t, os.CopyFS(copied+".partial_save", os.DirFS(path+".partial_save")))
	lost, _ := largestFile(t, copied+".partial_save")
	must(t, os.Remove(lost))
	if err := partial.Finalize(ctx, copied); !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), filepath.Base(lost)) {
		t.Errorf("Finalize: %v", err)
	}
	must(t, partial.Finalize(ctx, path))
	m, err := orbax.Metadata(ctx, path)
	must(t, errors.Join(err, m.Err()))
	file, _ := largestFile(t, path)
	must(t, os.Truncate(file, 100))
	if m, err = orbax.Metadata(ctx, path); err != nil || len(brokenNames(t, m.Err())) != 1 {
		t.Errorf("%v, %v", err, m.Err())
	}
}

// Each data file is looked at once, however many leaves it has; a look that fails breaks
// them, and is no damage.
func TestLooksAtDataFiles(t *testing.T) {
	dir := t.TempDir()
	state := map[string]any{}
	for i := range 300 {
		state[fmt.Sprintf("layer%d", i)] = rising(500, float32(i))
	}
	must(t, orbax.Save(t.Context(), dir+"/one", state))
	must(t, orbax.Save(t.Context(), dir+"/three", state, orbax.Storage(handler.StorageOptions{DataFileSize: 250_000})))
	var looks atomic.Int64
	var failure error
	store := failstore.NewReads(storage.Local(), func(op, name string) error {
		if op == "stat" && filepath.Base(filepath.Dir(name)) == "d" {
			looks.Add(1)
			return failure
		}
		return nil
	})
	for name, want := range map[string]int64{"one": 1, "three": 3} {
		looks.Store(0)
		m, err := orbax.Metadata(t.Context(), filepath.ToSlash(dir)+"/"+name, orbax.In(store))
		must(t, errors.Join(err, m.Err()))
		if n := looks.Load(); n != want {
			t.Errorf("%s: %d looks, want %d", name, n, want)
		}
	}
	failure = errors.New("no answer")
	m, err := orbax.Metadata(t.Context(), filepath.ToSlash(dir)+"/one", orbax.In(store))
	must(t, err)
	if err := m.Err(); !errors.Is(err, failure) || errors.Is(err, orbax.ErrCorrupt) || len(brokenNames(t, err)) != 300 {
		t.Errorf("a look that fails: %v", err)
	}
}

// A pytree that Orbax finalized from partial saves is recorded as a stateful object. It is
// known by its databases when its metadata is lost.
func TestLostTreeOfSession(t *testing.T) {
	all := unzip(t, "v1_partial")
	name := "ckpt/state/_METADATA"
	if all[name] == nil {
		t.Fatal("no " + name)
	}
	delete(all, name)
	ck, err := orbax.Open(t.Context(), "ckpt", orbax.In(storage.FS(all)))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	_, loadErr := ck.LoadCheckpointables(t.Context(), nil)
	_, metadataErr := ck.CheckpointablesMetadata(t.Context())
	for what, err := range map[string]error{"Verify": ck.Verify(t.Context()), "LoadCheckpointables": loadErr, "Metadata": metadataErr} {
		if !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), "state/_METADATA") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
