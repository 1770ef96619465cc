package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// savedFiles returns the files of a checkpoint of checkpointables.
func savedFiles(t *testing.T, values map[string]any) files {
	t.Helper()
	at := filepath.Join(t.TempDir(), "ckpt")
	if err := orbax.SaveCheckpointables(t.Context(), at, values); err != nil {
		t.Fatal(err)
	}
	return readFiles(t, at)
}

// contents returns a loaded tree as text, elements included.
func contents(v any) string {
	switch v := v.(type) {
	case map[string]any:
		s := "{"
		for _, k := range slices.Sorted(maps.Keys(v)) {
			s += k + ": " + contents(v[k]) + " "
		}
		return s + "}"
	case *array.Array:
		return fmt.Sprintf("%v %x", v, v.Bytes())
	}
	return fmt.Sprint(v)
}

// withoutPlaces returns a checkpoint as versions wrote it that had no record of places: no
// seal says which save an array belongs to.
func withoutPlaces(t *testing.T, f files) files {
	t.Helper()
	d, err := layout.ParseDigests(f[layout.DigestFile])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range f.names() {
		if path.Base(name) == layout.PlacesFile {
			f = f.with(name, nil)
			d.Forget(name)
		}
	}
	return f.with(layout.DigestFile, d.Document())
}

// A checkpoint is overwritten at each access of a load in turn, by a save whose documents are
// mostly the same. What is loaded is of one save, though no checksum can tell the two apart.
func TestOneSaveIsLoaded(t *testing.T) {
	ctx := t.Context()
	two := func(x float32) map[string]any {
		return map[string]any{"a": map[string]any{"w": []float32{x}}, "b": map[string]any{"w": []float32{x}}}
	}
	one := func(w any, text string) map[string]any {
		return map[string]any{"state": map[string]any{"w": w, "text": text}}
	}
	square, err := array.New(array.Float32, []int{2, 2}, make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	floats := savedFiles(t, one(make([]float32, 4), "1"))
	for name, c := range map[string]struct{ old, new files }{
		"values":         {savedFiles(t, two(1)), savedFiles(t, two(2))},
		"without places": {withoutPlaces(t, savedFiles(t, two(1))), withoutPlaces(t, savedFiles(t, two(2)))},
		"another dtype":  {floats, savedFiles(t, one(make([]int32, 4), "2"))},
		"another shape":  {floats, savedFiles(t, one(square, "2"))},
	} {
		t.Run(name, func(t *testing.T) {
			load := func(s storage.Store) (string, error) {
				v, err := orbax.LoadCheckpointables(ctx, "ckpt", nil, orbax.In(s))
				if err != nil {
					return "", err
				}
				return contents(map[string]any(v)), nil
			}
			before, err1 := load(c.old.store())
			after, err2 := load(c.new.store())
			if err := errors.Join(err1, err2); err != nil || before == after {
				t.Fatalf("%s, %s, %v", before, after, err)
			}
			for range testenv.Pick(20, 3) { // several checkpointables are loaded at the same time
				for at := 1; ; at++ {
					s := &swapStore{old: c.old.store(), new: c.new.store(), at: at}
					got, err := load(s)
					if s.n < at {
						break
					}
					if err != nil && !errors.Is(err, orbax.ErrBusy) {
						t.Errorf("overwritten at access %d: %v", at, err)
					}
					if err == nil && got != before && got != after {
						t.Errorf("overwritten at access %d: got %s, want %s or %s", at, got, before, after)
					}
				}
			}
		})
	}
}

// beforeMetadata is a store that calls f before it opens the metadata of a checkpoint for the
// first time.
type beforeMetadata struct {
	storage.Store
	once *sync.Once
	f    func()
}

func (s beforeMetadata) Open(ctx context.Context, name string) (storage.Reader, error) {
	if path.Base(name) == layout.CheckpointFile {
		s.once.Do(s.f)
	}
	return s.Store.Open(ctx, name)
}

// A checkpoint that is overwritten between the listing and the documents is open as the new
// one, and stays readable.
func TestOverwrittenWhileOpened(t *testing.T) {
	ctx, s := t.Context(), mem.New()
	save := func(x float32) {
		if err := orbax.Save(ctx, "ck", map[string]any{"w": []float32{x}}, orbax.In(s), orbax.Overwrite()); err != nil {
			t.Fatal(err)
		}
	}
	save(1)
	ck, err := orbax.Open(ctx, "ck", orbax.In(beforeMetadata{s, new(sync.Once), func() { save(2) }}))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	_, lerr := ck.Load(ctx)
	_, merr := ck.Metadata(ctx)
	if err := errors.Join(lerr, merr, ck.Verify(ctx)); err != nil {
		t.Errorf("of a checkpoint that has not changed since it was opened: %v", err)
	}
	save(3)
	if _, err := ck.Metadata(ctx); !errors.Is(err, orbax.ErrBusy) {
		t.Errorf("overwritten: got %v, want ErrBusy", err)
	}
}

// The files of a checkpointable fail as the checkpoint does once it is closed or replaced.
func TestFilesOfAChangedCheckpoint(t *testing.T) {
	ctx, s := t.Context(), mem.New()
	save := func(key string) {
		if err := orbax.Save(ctx, "ck", map[string]any{key: []float32{1}}, orbax.In(s), orbax.Overwrite()); err != nil {
			t.Fatal(err)
		}
	}
	save("a")
	ck, err := orbax.Open(ctx, "ck", orbax.In(s))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := ck.Files("state")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.ReadFile(ctx, layout.TreeFile); err != nil {
		t.Error(err)
	}
	save("b")
	_, rerr := dir.ReadFile(ctx, layout.TreeFile)
	_, lerr := dir.List(ctx, ".")
	if !errors.Is(rerr, orbax.ErrBusy) || errors.Is(rerr, orbax.ErrCorrupt) || !errors.Is(lerr, orbax.ErrBusy) {
		t.Errorf("overwritten: ReadFile %v, List %v; want ErrBusy", rerr, lerr)
	}
	ck.Close()
	_, rerr = dir.ReadFile(ctx, layout.TreeFile)
	_, lerr = dir.List(ctx, ".")
	if want := ck.Verify(ctx); !errors.Is(want, rerr) || !errors.Is(want, lerr) {
		t.Errorf("closed: ReadFile %v, List %v; want %v", rerr, lerr, want)
	}
}
