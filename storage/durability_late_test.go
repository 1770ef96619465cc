package storage_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// Other programs put files into a checkpoint while it is deleted or replaced. The files
// stay, whenever they come: through the path, or through the open directory, whatever its
// name is by then. So does a file that takes the place of one that is gone already.
func TestWhatComesLateStays(t *testing.T) {
	const late = "late-notes.txt"
	save := func(store storage.Store) error {
		return orbax.Save(t.Context(), "run/step", sample(2), orbax.Overwrite(), orbax.In(store))
	}
	for name, run := range map[string]func(store storage.Store) error{
		"delete": func(store storage.Store) error { return orbax.Delete(t.Context(), "run/step", orbax.In(store)) },
		"part": func(store storage.Store) error {
			return orbax.Delete(t.Context(), "run/step", orbax.Name("opt"), orbax.In(store))
		},
		"overwrite": save,
		"fallback":  save,
		"in place":  func(store storage.Store) error { return orbax.Delete(t.Context(), "run/step", orbax.In(store)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(scratch(t))
			kept := 0
			for i, more := 0, true; more; i++ {
				must(t, os.RemoveAll("run"))
				saveParts(t, "run/step")
				d, err := os.OpenRoot("run/step") // stays with the directory when that is renamed
				must(t, err)
				n, put := 0, false
				r := deleter(name == "in place", func(op storage.Op) error {
					if n++; n-1 == i {
						f, err := d.Create(filepath.Join([]string{"", "opt"}[i%2], late))
						if put = err == nil; put {
							f.Close()
						}
					}
					return nil
				})
				r.NoExchange = name == "fallback"
				err = run(r.Store())
				more = n > i
				d.Close()
				there := false
				must(t, filepath.WalkDir("run", func(file string, e fs.DirEntry, err error) error {
					there = there || e != nil && e.Name() == late
					return err
				}))
				if put && !there {
					t.Errorf("before operation %d of %d: it is lost: %v", i, n, err)
				}
				if put && err == nil && name != "part" {
					t.Errorf("before operation %d of %d: no error", i, n)
				}
				if put && err != nil && !errors.Is(err, orbax.ErrInvalidCheckpoint) || err != nil && !strings.Contains(err.Error(), late) {
					t.Errorf("before operation %d of %d: %v", i, n, err)
				}
				if there {
					kept++
				}
			}
			if kept == 0 {
				t.Error("it was never there")
			}
		})
	}
}
