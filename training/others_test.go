package training_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/training"
)

// A policy decides on the step that it was asked about, not on what has come to its
// place, and not if the newer step is gone by then.
func TestRetentionSparesWhatChanged(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(ctx context.Context, root string) error{
		"it was replaced": func(ctx context.Context, root string) error {
			return orbax.Save(ctx, filepath.Join(root, "1"), stateOf(100), orbax.Overwrite())
		},
		"it was deleted and saved again": func(ctx context.Context, root string) error {
			return errors.Join(
				orbax.Delete(ctx, filepath.Join(root, "1")),
				orbax.Save(ctx, filepath.Join(root, "1"), stateOf(100)))
		},
		"it was damaged": func(ctx context.Context, root string) error {
			return os.WriteFile(filepath.Join(root, "1", "_CHECKPOINT_METADATA"), []byte("{"), 0o644)
		},
		"the newer step was deleted": func(ctx context.Context, root string) error {
			return orbax.Delete(ctx, filepath.Join(root, "2"))
		},
		"the newer step was damaged": func(ctx context.Context, root string) error {
			return os.WriteFile(filepath.Join(root, "2", "_CHECKPOINT_METADATA"), []byte("{"), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if err := orbax.Save(t.Context(), filepath.Join(root, "1"), stateOf(1)); err != nil {
				t.Fatal(err)
			}
			var h hooks
			c := openRun(t, filepath.ToSlash(root), training.Options{Store: h.store(), Preservation: training.LatestN{N: 1}})
			done := false
			h.edit = func(dir string) {
				if done || filepath.Base(dir) != "1" {
					return
				}
				done = true
				if err := meanwhile(t.Context(), root); err != nil {
					t.Error(err)
				}
			}
			mustSave(t, c, 2)
			if err := c.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if !done {
				t.Error("step 1 was not to be removed")
			}
			if _, err := os.Stat(filepath.Join(root, "1")); err != nil {
				t.Error(err)
			}
		})
	}
}

// succeed saves the step after the newest of a root, and removes that.
func succeed(t *testing.T, root string) {
	t.Helper()
	entries, err := os.ReadDir(root)
	newest := -1
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			newest = max(newest, n)
		}
	}
	if err == nil {
		err = orbax.Save(context.Background(), filepath.Join(root, strconv.Itoa(newest+1)), stateOf(newest+1))
	}
	if err == nil {
		err = orbax.Delete(context.Background(), filepath.Join(root, strconv.Itoa(newest)))
	}
	if err != nil {
		t.Error(err)
	}
}

// askNewest are the ways to ask for the newest step of a root, in a store or on the local
// disk, which check its state where they read it.
var askNewest = map[string]func(ctx context.Context, store storage.Store, root string) (step int, err error){
	"Latest": func(ctx context.Context, store storage.Store, root string) (int, error) {
		ck, err := training.Latest(ctx, root, training.ReadOptions{Store: store})
		return ck.Step, err
	},
	"Resume": func(ctx context.Context, store storage.Store, root string) (int, error) {
		return withRun(ctx, store, root, func(c *training.Checkpointer) (int, error) {
			var s runState
			step, err := c.Resume(ctx, &s)
			if err == nil {
				err = s.check(step)
			}
			return step, err
		})
	},
	"Load": func(ctx context.Context, store storage.Store, root string) (int, error) {
		return withRun(ctx, store, root, func(c *training.Checkpointer) (int, error) {
			var s runState
			err := c.LoadInto(ctx, training.LatestStep, &s)
			return s.Step, err
		})
	},
	"Open": func(ctx context.Context, store storage.Store, root string) (int, error) {
		return withRun(ctx, store, root, func(c *training.Checkpointer) (int, error) {
			ck, err := c.Open(ctx, training.LatestStep)
			if err != nil {
				return -1, err
			}
			defer ck.Close()
			var s runState
			err = ck.LoadInto(ctx, &s)
			return s.Step, err
		})
	},
	"Metadata": func(ctx context.Context, store storage.Store, root string) (int, error) {
		return withRun(ctx, store, root, func(c *training.Checkpointer) (int, error) {
			m, err := c.Metadata(ctx, training.LatestStep)
			if err != nil {
				return -1, err
			}
			return m.Step, nil
		})
	},
}

func withRun(ctx context.Context, store storage.Store, root string, do func(*training.Checkpointer) (int, error)) (int, error) {
	c, err := training.New(ctx, root, training.Options{Store: store})
	if err != nil {
		return -1, err
	}
	defer c.Close()
	return do(c)
}

// A root that always has a step is never without one, however often what was listed
// is replaced by another before it is looked at.
func TestThereIsAlwaysAStep(t *testing.T) {
	t.Parallel()
	for name, ask := range askNewest {
		for _, times := range []int{1, 2, 5} {
			t.Run(name+strconv.Itoa(times), func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				if err := orbax.Save(t.Context(), filepath.Join(root, "1"), stateOf(1)); err != nil {
					t.Fatal(err)
				}
				var h hooks
				left := times
				h.listed = func(dir string) {
					if dir == filepath.ToSlash(root) && left > 0 {
						left--
						succeed(t, root)
					}
				}
				if step, err := ask(t.Context(), h.store(), filepath.ToSlash(root)); err != nil || step != 1+times {
					t.Errorf("step %d, %v", step, err)
				}
			})
		}
	}
}

// The newest step is replaced by another after it was found, while it is read.
func TestNewestRemovedWhileRead(t *testing.T) {
	t.Parallel()
	for name, ask := range askNewest {
		if name == "Open" {
			continue // what is opened is the program's own to load
		}
		for _, file := range []string{"_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"} {
			for skip := range 3 { // reads of that file that nothing happens at
				t.Run(name+file+strconv.Itoa(skip), func(t *testing.T) {
					t.Parallel()
					root := t.TempDir()
					if err := orbax.Save(t.Context(), filepath.Join(root, "1"), stateOf(1)); err != nil {
						t.Fatal(err)
					}
					var h hooks
					left, want := skip+1, 1
					h.open = func(name string) {
						if filepath.Base(name) != file || left == 0 {
							return
						}
						if left--; left == 0 {
							succeed(t, root)
							want = 2
						}
					}
					step, err := ask(t.Context(), h.store(), filepath.ToSlash(root))
					if err != nil || step < 1 || step > want {
						t.Errorf("step %d, %v; there is step %d", step, err, want)
					}
				})
			}
		}
	}
}

// What is to be overwritten is removed meanwhile: that is no reason not to save.
func TestOverwriteWhatIsRemoved(t *testing.T) {
	t.Parallel()
	for at := range 3 { // reads of its documents that nothing happens at
		root := t.TempDir()
		if err := orbax.Save(t.Context(), filepath.Join(root, "1"), stateOf(1)); err != nil {
			t.Fatal(err)
		}
		var h hooks
		left := at + 1
		h.open = func(name string) {
			if strings.HasPrefix(filepath.ToSlash(name), filepath.ToSlash(root)+"/1/") && left > 0 {
				if left--; left == 0 {
					if err := os.RemoveAll(filepath.Join(root, "1")); err != nil {
						t.Error(err)
					}
				}
			}
		}
		path, in := filepath.ToSlash(filepath.Join(root, "1")), orbax.In(h.store())
		if err := orbax.Save(t.Context(), path, stateOf(2), orbax.Overwrite(), in); err != nil {
			t.Errorf("removed at read %d: %v", at, err)
			continue
		}
		var s runState
		if err := orbax.LoadInto(t.Context(), path, &s, in); err != nil || s.check(2) != nil || left > 0 {
			t.Error(err, s.check(2), left)
		}
	}
}

// What may be a step and cannot be read is not taken for a new run, and what is
// certainly none is.
func TestUnreadableIsNotNone(t *testing.T) {
	t.Parallel()
	save := func(name string) func(root string) error { // even under a name that no save takes
		return func(root string) error {
			return errors.Join(
				orbax.Save(context.Background(), filepath.Join(root, "new"), stateOf(1)),
				os.Rename(filepath.Join(root, "new"), filepath.Join(root, name)))
		}
	}
	file := func(name, text string) func(root string) error {
		return func(root string) error {
			name := filepath.Join(root, name)
			return errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644))
		}
	}
	for _, test := range []struct {
		name string
		make func(root string) error
		none bool
	}{
		{"nothing", func(string) error { return nil }, true},
		{"an empty directory", func(root string) error { return os.Mkdir(filepath.Join(root, "5"), 0o755) }, true},
		{"a file", file("5", "x"), true},
		{"notes", file("notes", "x"), true},
		{"data of other kinds", file("data-2/notes", "x"), true},
		{"an unfinished save", save("5.orbax-checkpoint-tmp-0123456789abcdef"), true},
		{"a checkpoint beside the steps", save("pretrained"), true},
		{"files of some kind", file("5/checkpoint", "x"), false},
		{"damaged documents", file("5/_CHECKPOINT_METADATA", "{"), false},
		{"a step of another format", save("ck_5"), false},
		{"a padded step", save("00000005"), false},
		{"a damaged step of another format", file("ck_5/_CHECKPOINT_METADATA", "{"), false},
		{"a step that was about to be replaced", save("5.orbax-checkpoint-tmp-0123456789ab-old"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if err := test.make(root); err != nil {
				t.Fatal(err)
			}
			for name, ask := range askNewest {
				_, err := ask(t.Context(), nil, root)
				if err == nil || errors.Is(err, orbax.ErrNotExist) != test.none || errors.Is(err, fs.ErrNotExist) != test.none {
					t.Errorf("%s: %v", name, err)
				}
				if err != nil && !strings.Contains(err.Error(), root) {
					t.Errorf("%s does not name the root: %v", name, err)
				}
			}
		})
	}
}
