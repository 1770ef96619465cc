package orbax_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
	"github.com/go-orbax/orbax/view"
)

// inStores runs a test with a store in memory, and with ones that cannot rename.
func inStores(t *testing.T, test func(t *testing.T, store storage.Store)) {
	t.Run("renames", func(t *testing.T) { test(t, slow(mem.New())) })
	t.Run("needs markers", func(t *testing.T) { test(t, slow(failstore.NewMarked(mem.New()))) })
	t.Run("objects", func(t *testing.T) { test(t, object.New(membucket.New(), object.Options{})) })
}

// slow returns a store that is slow. It is not registered.
func slow(store storage.Store) storage.Store {
	before := func(string, string) error {
		time.Sleep(200 * time.Microsecond)
		return nil
	}
	return failstore.New(failstore.NewReads(store, before), before)
}

// Every function that takes a path takes a store, in which the path is a name.
func TestIn(t *testing.T) { inStores(t, testIn) }

func testIn(t *testing.T, store storage.Store) {
	ctx, in := t.Context(), orbax.In(store)
	t.Chdir(t.TempDir())
	state := map[string]any{"w": []float32{1, 2, 3}, "step": 7}
	must(t, orbax.Save(ctx, "run/a", state, in))
	if r, err := orbax.SaveAsync(ctx, "run/b", state, in); err != nil || r.Result(ctx) != nil {
		t.Fatal(err)
	}
	must(t, orbax.SaveCheckpointables(ctx, "run/c", map[string]any{"state": state, "other": state}, in))
	must(t, orbax.Save(ctx, "run/a", state, in, orbax.Overwrite()))
	must(t, orbax.Save(ctx, "run/marked", state, in, orbax.Atomicity(orbax.CommitFile)))
	if err := orbax.Save(ctx, "run/a", state, in); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("saved again: %v, want ErrExist", err)
	}
	type target struct {
		W    []float32 `orbax:"w"`
		Step int       `orbax:"step"`
	}
	for _, path := range []string{"run/a", "run/b", "run/c", "run/marked"} {
		got, err := orbax.LoadAs[target](ctx, path, in)
		if want := (target{[]float32{1, 2, 3}, 7}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v; want %v", path, got, err, want)
		}
		must(t, orbax.Verify(ctx, path, in))
		if is, err := orbax.IsCheckpoint(ctx, path, in); !is || err != nil {
			t.Errorf("%s is a checkpoint: %v, %v", path, is, err)
		}
		if _, err := orbax.Metadata(ctx, path, in); err != nil {
			t.Error(err)
		}
		if _, err := orbax.Repair(ctx, path, in); err != nil {
			t.Error(err)
		}
	}
	if _, err := orbax.LoadCheckpointables(ctx, "run/c", nil, in); err != nil {
		t.Error(err)
	}
	a, errA := orbax.Hash(ctx, "run/a", in)
	b, errB := orbax.Hash(ctx, "run/b", in)
	if a != b || errA != nil || errB != nil {
		t.Errorf("hashes %v, %v and %v, %v", a, errA, b, errB)
	}
	if d, err := orbax.Diff(ctx, "run/a", "run/b", view.DiffOptions{}, in); err != nil || !d.Equal() {
		t.Errorf("the difference is %v, %v", d, err)
	}
	ck, err := orbax.Open(ctx, "run/a", in)
	must(t, err)
	_, err = ck.Load(ctx, in)
	must(t, err)
	must(t, ck.Close())
	must(t, orbax.Delete(ctx, "run/c", in, orbax.Name("other")))
	for _, path := range []string{"run/a", "run/b", "run/c", "run/marked"} {
		must(t, orbax.Delete(ctx, path, in))
		_, err := orbax.Load(ctx, path, in)
		var named *orbax.Error
		if !errors.Is(err, orbax.ErrNotExist) || !errors.As(err, &named) || named.Path != path {
			t.Errorf("%s is deleted: %v", path, err)
		}
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("the disk has %v, %v", entries, err)
	}
}

// A store that is given to a method is the one of Open, and none makes a path what it was.
func TestInRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	in := orbax.In(mem.New())
	must(t, orbax.Save(t.Context(), path, map[string]any{"a": 1}, orbax.In(nil)))
	ck, err := orbax.Open(t.Context(), path)
	must(t, err)
	defer ck.Close()
	if _, err := ck.Load(t.Context(), in); !errors.Is(err, orbax.ErrUsage) {
		t.Errorf("Load: %v, want ErrUsage", err)
	}
	if err := ck.Verify(t.Context(), in); !errors.Is(err, orbax.ErrUsage) {
		t.Errorf("Verify: %v, want ErrUsage", err)
	}
	inStore, err := orbax.Open(t.Context(), "ck", orbax.In(storeWith(t, "ck")))
	must(t, err)
	defer inStore.Close()
	if _, err := inStore.Load(t.Context(), in); !errors.Is(err, orbax.ErrUsage) {
		t.Errorf("Load from another store: %v, want ErrUsage", err)
	}
	if _, err := inStore.CheckpointablesMetadata(t.Context(), in); !errors.Is(err, orbax.ErrUsage) {
		t.Errorf("metadata from another store: %v, want ErrUsage", err)
	}
	if _, err := orbax.Load(t.Context(), "", in); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("an empty path: %v, want ErrInvalid", err)
	}
}

// storeWith returns a store in memory with a checkpoint.
func storeWith(t *testing.T, path string) storage.Store {
	t.Helper()
	store := mem.New()
	must(t, orbax.Save(t.Context(), path, map[string]any{"a": 1}, orbax.In(store)))
	return store
}

// A run lives in a store of the program's.
func TestRunInStore(t *testing.T) { inStores(t, testRunInStore) }

func testRunInStore(t *testing.T, store storage.Store) {
	ctx := t.Context()
	t.Chdir(t.TempDir())
	options := training.Options{Store: store, Preservation: training.LatestN{N: 2}, CustomMetadata: map[string]any{"run": 1}}
	ckpts, err := training.New(ctx, "runs/one", options)
	must(t, err)
	for step := range 4 {
		if _, err := ckpts.Save(ctx, step, map[string]any{"w": make([]float32, 100_000), "step": step}); err != nil {
			t.Fatal(err)
		}
	}
	must(t, ckpts.Wait(ctx))
	must(t, ckpts.Delete(ctx, 2))
	if _, err := ckpts.Save(ctx, 9, map[string]any{"a": 1}, orbax.In(store)); !errors.Is(err, orbax.ErrUsage) {
		t.Errorf("a store for one step: %v, want ErrUsage", err)
	}
	must(t, ckpts.Close())
	again, err := training.New(ctx, "runs/one", options)
	must(t, err)
	defer again.Close()
	var state any
	if step, err := again.Resume(ctx, &state); step != 3 || err != nil || state.(map[string]any)["step"] != 3 {
		t.Errorf("resumed at %d, %v; want 3", step, err)
	}
	latest, err := training.Latest(ctx, "runs/one", training.ReadOptions{Store: store})
	if err != nil || latest.Step != 3 || latest.Path != "runs/one/3" {
		t.Errorf("the latest step is %+v, %v", latest, err)
	}
	m, err := training.Metadata(ctx, "runs/one", training.ReadOptions{Store: store})
	if err != nil || m.Custom["run"] != 1 {
		t.Errorf("the metadata are %v, %v", m, err)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("the disk has %v, %v", entries, err)
	}
}

// A session lives in a store of the program's.
func TestSessionInStore(t *testing.T) { inStores(t, testSessionInStore) }

func testSessionInStore(t *testing.T, store storage.Store) {
	ctx, in := t.Context(), orbax.In(store)
	t.Chdir(t.TempDir())
	must(t, partial.Save(ctx, "run/ck", map[string]any{"a": []float32{1, 2}}, in))
	r, err := partial.SaveAsync(ctx, "run/ck", map[string]any{"b": 2}, in)
	must(t, err)
	must(t, r.Result(ctx))
	if s, err := partial.Open(ctx, "run/ck", in); err != nil || len(s.Parts) != 2 {
		t.Errorf("the session is %+v, %v", s, err)
	}
	if s, err := partial.Sessions(ctx, "run", in); err != nil || len(s) != 1 {
		t.Errorf("the sessions are %v, %v", s, err)
	}
	must(t, partial.Finalize(ctx, "run/ck", in))
	must(t, orbax.Verify(ctx, "run/ck", in))
	must(t, partial.Save(ctx, "run/other", map[string]any{"a": 1}, in))
	must(t, partial.Abort(ctx, "run/other", in))
	if err := partial.Abort(ctx, "run/other", in); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("aborted twice: %v, want ErrNotExist", err)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("the disk has %v, %v", entries, err)
	}
}

// Whichever operation of a store fails, a save leaves the old checkpoint or the new one,
// and its error is that of the store.
func TestFailuresInStore(t *testing.T) {
	ctx, boom := t.Context(), errors.New("boom")
	for at, failed := int64(1), true; failed; at++ {
		var n atomic.Int64
		armed := false
		fail := func(op, name string) error {
			if armed && n.Add(1) == at {
				return boom
			}
			return nil
		}
		store := failstore.New(failstore.NewReads(mem.New(), fail), fail)
		in := orbax.In(store)
		must(t, orbax.Save(ctx, "ck", map[string]any{"v": 1}, in))
		armed = true
		err := orbax.Save(ctx, "ck", map[string]any{"v": 2}, in, orbax.Overwrite())
		armed = false
		failed = n.Load() >= at
		got, lerr := orbax.Load(context.Background(), "ck", in)
		if lerr != nil {
			t.Fatalf("operation %d fails: %v", at, lerr)
		}
		v := got.(map[string]any)["v"]
		if v != 1 && v != 2 || v == 1 && err == nil || err != nil && !errors.Is(err, boom) {
			t.Errorf("operation %d fails: %v; version %v is left", at, err, v)
		}
		infos, err := store.List(ctx, ".")
		if err != nil || len(infos) != 1 && v == 1 {
			t.Errorf("operation %d fails: %v, %v are left", at, infos, err)
		}
	}
}

// A URL is no name in a store: the program that gives both means one of them.
func TestURLInStore(t *testing.T) {
	ctx, store := t.Context(), mem.New()
	in := orbax.In(store)
	const secret = "s3://bucket/run/1?sig=secret"
	_, nerr := training.New(ctx, secret, training.Options{Store: store})
	_, lerr := orbax.Load(ctx, secret, in)
	_, terr := training.Latest(ctx, secret, training.ReadOptions{Store: store})
	for what, err := range map[string]error{
		"Save": orbax.Save(ctx, secret, map[string]any{"v": 1}, in), "Load": lerr, "Delete": orbax.Delete(ctx, secret, in),
		"partial.Save": partial.Save(ctx, secret, map[string]any{"v": 1}, in), "New": nerr, "Latest": terr,
	} {
		if !errors.Is(err, orbax.ErrUsage) || !strings.Contains(err.Error(), "s3://bucket/run/1?sig=xxxxx is a URL") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if infos, err := store.List(ctx, "."); err != nil || len(infos) > 0 {
		t.Errorf("the store has %v, %v", infos, err)
	}
}
