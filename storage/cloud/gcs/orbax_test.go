package gcs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

// state returns a state with an array of several parts, small ones, and scalars.
func state(step int) map[string]any {
	w := make([]float32, 5<<20)
	for i := range w {
		w[i] = float32(i%1000003) + float32(step)
	}
	return map[string]any{
		"params": map[string]any{"w": array.Of(w, 5<<10, 1<<10), "b": array.Of([]int64{1, 2, int64(step)})},
		"step":   step, "name": "gs",
	}
}

// A checkpoint in a bucket is saved, loaded, verified, overwritten and deleted.
func TestCheckpoint(t *testing.T) {
	path := emulate(t) + "/run/step 1"
	ctx := t.Context()
	if err := orbax.Save(ctx, path, state(1)); err != nil {
		t.Fatal(err)
	}
	files := list(t, path, "")
	for _, want := range []string{"commit_success.txt", "_CHECKPOINT_METADATA", "state/_METADATA", "state/manifest.ocdbt"} {
		if !slices.Contains(files, want) {
			t.Errorf("there is no %s among %q", want, files)
		}
	}
	if slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, storage.TempMarker) }) {
		t.Errorf("temporary files are left: %q", files)
	}
	check := func(step int) {
		t.Helper()
		if err := orbax.Verify(ctx, path); err != nil {
			t.Error(err)
		}
		got, err := orbax.Load(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		if d := orbaxtest.Difference(got, state(step)); d != "" {
			t.Error(d)
		}
	}
	check(1)
	if err := orbax.Save(ctx, path, state(2)); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("another save: got the error %v, want %v", err, orbax.ErrExist)
	}
	check(1)
	if err := orbax.Save(ctx, path, state(3), orbax.Overwrite()); err != nil {
		t.Fatal(err)
	}
	check(3)
	if err := orbax.Delete(ctx, path); err != nil {
		t.Error(err)
	}
	if _, err := orbax.Load(ctx, path); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("after Delete: got the error %v, want %v", err, orbax.ErrNotExist)
	}
	if files := list(t, path[:strings.LastIndex(path, "/run")], ""); len(files) > 0 {
		t.Errorf("after Delete these are left: %q", files)
	}
}

// A byte of a checkpoint that changes in the bucket is found, in whichever object it is.
func TestDamagedObjects(t *testing.T) {
	b := newBucket(t, nil)
	in := orbax.In(object.New(b, object.Options{}))
	small := map[string]any{"w": array.Of([]float32{1, 2, 3}), "step": 7}
	if err := orbax.Save(t.Context(), "run/1", small, in); err != nil {
		t.Fatal(err)
	}
	if err := orbax.Verify(t.Context(), "run/1", in); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys(t, b) {
		text := get(t, b, key, 64<<10)
		every := testenv.Pick(1, max(1, len(text)/3))
		for at := 0; at < len(text); at += every {
			damaged := bytes.Clone(text)
			damaged[at] ^= 1
			if _, err := b.Put(t.Context(), key, [][]byte{damaged}, object.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := orbax.Verify(t.Context(), "run/1", in); err == nil {
				t.Errorf("byte %d of %s is changed, and Verify finds nothing", at, key)
			}
		}
		if _, err := b.Put(t.Context(), key, [][]byte{text}, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := orbax.Verify(t.Context(), "run/1", in); err != nil {
		t.Error(err)
	}
}

// The error for a bucket that does not exist names it, and what to do.
func TestMissingBucket(t *testing.T) {
	emulate(t)
	const path = "gs://no-such-bucket/run/1"
	for name, err := range map[string]error{
		"Save":   orbax.Save(t.Context(), path, state(1)),
		"Verify": orbax.Verify(t.Context(), path),
		"Delete": orbax.Delete(t.Context(), path),
	} {
		if err == nil || !strings.Contains(err.Error(), "there is no bucket no-such-bucket; make it with") {
			t.Errorf("%s: got the error %v", name, err)
		}
	}
}

// list returns the files below a path, recursively. There are none if it does not exist.
func list(t *testing.T, path, below string) (files []string) {
	t.Helper()
	at, err := storage.Resolve(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := at.Join(below).List(t.Context())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := strings.TrimPrefix(below+"/"+e.Name, "/")
		if e.Dir {
			files = append(files, list(t, path, name)...)
		} else {
			files = append(files, name)
		}
	}
	return files
}
