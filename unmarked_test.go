package orbax_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
	"github.com/go-orbax/orbax/view"
)

// unmarked are all functions that read a checkpoint at a path.
var unmarked = map[string]func(ctx context.Context, path string, in orbax.StoreOption) error{
	"Open": func(ctx context.Context, path string, in orbax.StoreOption) error {
		ck, err := orbax.Open(ctx, path, in)
		if err == nil {
			err = ck.Close()
		}
		return err
	},
	"Load": func(ctx context.Context, path string, in orbax.StoreOption) error {
		_, err := orbax.Load(ctx, path, in)
		return err
	},
	"LoadInto": func(ctx context.Context, path string, in orbax.StoreOption) error {
		var state any
		return orbax.LoadInto(ctx, path, &state, in)
	},
	"LoadAs": func(ctx context.Context, path string, in orbax.StoreOption) error {
		_, err := orbax.LoadAs[map[string]any](ctx, path, in)
		return err
	},
	"LoadCheckpointables": func(ctx context.Context, path string, in orbax.StoreOption) error {
		_, err := orbax.LoadCheckpointables(ctx, path, nil, in)
		return err
	},
	"Metadata": func(ctx context.Context, path string, in orbax.StoreOption) error {
		_, err := orbax.Metadata(ctx, path, in)
		return err
	},
	"CheckpointablesMetadata": func(ctx context.Context, path string, in orbax.StoreOption) error {
		_, err := orbax.CheckpointablesMetadata(ctx, path, in)
		return err
	},
	"Verify": func(ctx context.Context, path string, in orbax.StoreOption) error { return orbax.Verify(ctx, path, in) },
	"Hash": func(ctx context.Context, path string, in orbax.StoreOption) error {
		_, err := orbax.Hash(ctx, path, in)
		return err
	},
	"Diff": func(ctx context.Context, path string, in orbax.StoreOption) error {
		_, err := orbax.Diff(ctx, path, "sound", view.DiffOptions{}, in)
		return err
	},
	"Diff with it": func(ctx context.Context, path string, in orbax.StoreOption) error {
		_, err := orbax.Diff(ctx, "sound", path, view.DiffOptions{}, in)
		return err
	},
	"Repair": func(ctx context.Context, path string, in orbax.StoreOption) error {
		_, err := orbax.Repair(ctx, path, in)
		return err
	},
	"Delete of a part": func(ctx context.Context, path string, in orbax.StoreOption) error {
		return orbax.Delete(ctx, path, in, orbax.Name("other"))
	},
	"Save": func(ctx context.Context, path string, in orbax.StoreOption) error {
		return orbax.Save(ctx, path, map[string]any{"a": 1}, in)
	},
}

// In a store that cannot rename, a directory without the commit mark is no checkpoint for
// any function, whatever it lacks besides.
func TestUnmarked(t *testing.T) {
	t.Run("memory", func(t *testing.T) { testUnmarked(t, func() storage.Store { return failstore.NewMarked(mem.New()) }) })
	t.Run("objects", func(t *testing.T) {
		testUnmarked(t, func() storage.Store { return object.New(membucket.New(), object.Options{}) })
	})
}

func testUnmarked(t *testing.T, newStore func() storage.Store) {
	ctx := t.Context()
	for kind, lost := range map[string][]string{
		"complete":       nil,
		"no indicator":   {"orbax.checkpoint"}, // as Orbax's Checkpointer writes it
		"no item marks":  {"state/commit_success.txt", "other/commit_success.txt"},
		"no documents":   {"_CHECKPOINT_METADATA", "digests.sha256"},
		"no document":    {"_CHECKPOINT_METADATA"},
		"only the items": {"_CHECKPOINT_METADATA", "digests.sha256", "orbax.checkpoint"},
		"only a tree":    {"_CHECKPOINT_METADATA", "digests.sha256", "orbax.checkpoint", "other/_METADATA", "other/commit_success.txt"},
	} {
		t.Run(kind, func(t *testing.T) {
			store := newStore()
			in := orbax.In(store)
			parts := map[string]any{"state": map[string]any{"w": make([]float32, 100)}, "other": map[string]any{"q": "x"}, "cfg": handler.JSON{Value: 1}}
			for _, path := range []string{"ck", "sound"} {
				must(t, orbax.SaveCheckpointables(ctx, path, parts, in, orbax.Atomicity(orbax.CommitFile)))
			}
			for name, read := range unmarked {
				if err := read(ctx, "sound", in); (err != nil) != (name == "Save") {
					t.Fatalf("%s of a complete one: %v", name, err)
				}
				must(t, remakeOther(ctx, in, parts))
			}
			dropFiles(t, store, "ck", append(lost, "commit_success.txt")...)
			for name, read := range unmarked {
				if err := read(ctx, "ck", in); !errors.Is(err, orbax.ErrIncomplete) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if is, err := orbax.IsCheckpoint(ctx, "ck", in); is || err != nil {
				t.Errorf("IsCheckpoint: %v, %v", is, err)
			}
			if kind != "only the items" && kind != "only a tree" { // else nothing shows that it is in a checkpoint
				if _, err := orbax.Load(ctx, "ck/state", in); !errors.Is(err, orbax.ErrIncomplete) {
					t.Errorf("an item: %v", err)
				}
			}
			must(t, orbax.Save(ctx, "ck", map[string]any{"a": 2}, in, orbax.Overwrite()))
			if got, err := orbax.LoadAs[map[string]int](ctx, "ck", in); err != nil || got["a"] != 2 {
				t.Errorf("saved over it: %v, %v", got, err)
			}
			dropFiles(t, store, "ck", "commit_success.txt")
			must(t, orbax.Delete(ctx, "ck", in))
			if infos, err := store.List(ctx, "."); err != nil || len(infos) != 1 {
				t.Errorf("left %v, %v", infos, err)
			}
		})
	}
}

// remakeOther saves the checkpoint "sound" anew.
func remakeOther(ctx context.Context, in orbax.StoreOption, parts map[string]any) error {
	return errors.Join(orbax.Delete(ctx, "sound", in.(orbax.DeleteOption)), orbax.SaveCheckpointables(ctx, "sound", parts, in.(orbax.SaveCheckpointablesOption)))
}

// dropFiles removes files of a directory of a store; one that is missing does no harm.
func dropFiles(t *testing.T, store storage.Store, dir string, files ...string) {
	t.Helper()
	edit, err := store.Edit(t.Context(), dir)
	must(t, err)
	defer edit.Close()
	for _, file := range files {
		must(t, edit.Remove(t.Context(), file, nil))
	}
}

// A deletion that dies leaves what no function takes for a checkpoint, whenever it dies.
func TestKilledDeletionUnmarked(t *testing.T) {
	ctx := t.Context()
	dead := errors.New("dead")
	disk := mem.New()
	base := failstore.NewMarked(disk)
	marks := 0
	killed := failstore.NewMarked(failstore.New(disk, func(op, name string) error {
		if op != "remove" {
			return nil
		}
		if name == "commit_success.txt" {
			marks++
			return nil
		}
		return dead
	}))
	must(t, orbax.Save(ctx, "ck", map[string]any{"a": 1}, orbax.In(base)))
	if err := orbax.Delete(ctx, "ck", orbax.In(killed)); !errors.Is(err, dead) || marks != 1 {
		t.Fatalf("%v, %d marks", err, marks)
	}
	if _, err := orbax.Load(ctx, "ck", orbax.In(base)); !errors.Is(err, orbax.ErrIncomplete) {
		t.Error(err)
	}
	must(t, orbax.Delete(ctx, "ck", orbax.In(base)))
	if infos, err := base.List(ctx, "."); err != nil || len(infos) > 0 {
		t.Errorf("left %v, %v", infos, err)
	}
}

// What is complete on the local disk without a mark is not complete in a store that needs
// one; and files of safetensors, which no save of a checkpoint writes, need none.
func TestUnmarkedLayouts(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), []byte("\x08\x00\x00\x00\x00\x00\x00\x00{}      "), 0o666))
	if _, err := orbax.Load(ctx, filepath.ToSlash(dir), orbax.In(failstore.NewMarked(storage.Local()))); err != nil {
		t.Errorf("safetensors: %v", err)
	}
	in := orbax.In(failstore.NewMarked(storage.Local()))
	for name, lost := range map[string][]string{
		"checkpoint": {"commit_success.txt"},
		"items":      {"commit_success.txt", "_CHECKPOINT_METADATA", "digests.sha256", "orbax.checkpoint"},
		"tree":       {"commit_success.txt", "_CHECKPOINT_METADATA", "digests.sha256", "orbax.checkpoint"},
		"arrays":     {"commit_success.txt", "_CHECKPOINT_METADATA", "digests.sha256", "orbax.checkpoint", "state/_METADATA", "state/_sharding", "state/_strings.json", "state/array_metadatas"},
	} {
		ck := filepath.ToSlash(filepath.Join(t.TempDir(), "ck"))
		must(t, orbax.Save(ctx, ck, map[string]any{"a": 1, "w": make([]float32, 10)}))
		for _, file := range lost {
			must(t, os.RemoveAll(filepath.Join(ck, file)))
		}
		if name == "tree" || name == "arrays" {
			ck += "/state"
		}
		if _, err := orbax.Load(ctx, ck); err != nil {
			t.Errorf("%s on the disk: %v", name, err)
		}
		if _, err := orbax.Load(ctx, ck, in); !errors.Is(err, orbax.ErrIncomplete) {
			t.Errorf("%s where it needs a mark: %v", name, err)
		}
		must(t, os.WriteFile(ck+"/commit_success.txt", nil, 0o666))
		if _, err := orbax.Load(ctx, ck, in); err != nil && (name == "checkpoint" || name == "tree") {
			t.Errorf("%s with its mark: %v", name, err)
		}
	}
}

// A run in a store that cannot rename does not see a step without its mark.
func TestRunUnmarked(t *testing.T) {
	ctx := t.Context()
	for name, store := range map[string]storage.Store{
		"memory": failstore.NewMarked(mem.New()), "disk": failstore.NewMarked(storage.Local()),
		"objects": object.New(membucket.New(), object.Options{}),
	} {
		t.Run(name, func(t *testing.T) {
			root := "run"
			if name == "disk" {
				root = filepath.ToSlash(t.TempDir()) + "/run"
			}
			o := training.Options{Store: store, Preservation: training.LatestN{N: 2}, CustomMetadata: map[string]any{"a": 1}}
			c, err := training.New(ctx, root, o)
			must(t, err)
			for step := range 4 {
				if _, err := c.Save(ctx, step, map[string]any{"step": step}); err != nil {
					t.Fatal(err)
				}
			}
			must(t, c.Wait(ctx))
			if _, err := c.Save(ctx, 3, map[string]any{"step": 9}, orbax.Overwrite()); err != nil {
				t.Errorf("overwritten: %v", err)
			}
			must(t, c.Wait(ctx))
			if got, err := orbax.LoadAs[map[string]int](ctx, root+"/3", orbax.In(store)); err != nil || got["step"] != 9 {
				t.Errorf("overwritten: %v, %v", got, err)
			}
			must(t, c.Close())
			dropFiles(t, store, root+"/3", "commit_success.txt")
			read := training.ReadOptions{Store: store}
			if latest, err := training.Latest(ctx, root, read); err != nil || latest.Step != 2 {
				t.Errorf("Latest: %v, %v", latest, err)
			}
			if steps, err := training.Steps(ctx, root, read); err != nil || len(steps) != 1 || steps[0].Step != 2 {
				t.Errorf("Steps: %v, %v", steps, err)
			}
			for step, err := range training.Watch(ctx, root, read) {
				if err != nil || step.Step != 2 {
					t.Errorf("Watch: %v, %v", step, err)
				}
				break
			}
			if m, err := training.Metadata(ctx, root, read); err != nil || m.Custom["a"] != 1 {
				t.Errorf("Metadata: %v, %v", m, err)
			}
			c, err = training.New(ctx, root, o)
			must(t, err)
			defer c.Close()
			if _, err := c.Load(ctx, 3); !errors.Is(err, orbax.ErrNotExist) {
				t.Errorf("Load: %v", err)
			}
			var state map[string]any
			if step, err := c.Resume(ctx, &state); err != nil || step != 2 || state["step"] != 2 {
				t.Errorf("Resume: %v, %v", step, err)
			}
			if saved, err := c.Save(ctx, 3, map[string]any{"step": 33}); err != nil || !saved {
				t.Errorf("saved anew: %v", err)
			}
			if got, err := orbax.LoadAs[map[string]int](ctx, root+"/3", orbax.In(store)); err != nil || got["step"] != 33 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
