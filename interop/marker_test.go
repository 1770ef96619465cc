package interop

import (
	"archive/zip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/training"
)

// diskOp is an operation of a recorded save; see testdata/marker.py.
type diskOp []string

// markerSave is a save by Orbax that is committed by marker: what it does to the disk.
type markerSave struct {
	name string
	ops  []diskOp
	// path is the checkpoint's, marker that of the operation that makes it complete.
	path   string
	marker int
}

func markerSaves(t *testing.T) []markerSave {
	t.Helper()
	z, err := zip.OpenReader(filepath.Join("testdata", "marker.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var saves []markerSave
	for _, f := range z.File {
		s := markerSave{name: strings.TrimSuffix(f.Name, ".json")}
		s.path = s.name
		if s.name == "training" || s.name == "manager" {
			s.path += "/1"
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(json.NewDecoder(r).Decode(&s.ops), r.Close()); err != nil {
			t.Fatal(f.Name, err)
		}
		s.marker = slices.IndexFunc(s.ops, func(op diskOp) bool {
			return op[0] == "create" && op[1] == s.path+"/commit_success.txt"
		})
		saves = append(saves, s)
	}
	return saves
}

// do carries out an operation below root.
func (op diskOp) do(root string) error {
	name := filepath.Join(root, op[1])
	switch op[0] {
	case "mkdir":
		return os.Mkdir(name, 0o777)
	case "create":
		flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
		if len(op) > 2 {
			flags &^= os.O_TRUNC
		}
		f, err := os.OpenFile(name, flags, 0o666)
		if err != nil {
			return err
		}
		return f.Close()
	case "write":
		data, err := base64.StdEncoding.DecodeString(op[2])
		if err != nil {
			return err
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	case "rename":
		return os.Rename(name, filepath.Join(root, op[2]))
	case "unlink", "rmdir":
		return os.Remove(name)
	}
	return fmt.Errorf("unknown operation %q", op)
}

// isWhole reports whether all that there is to load is there, and the document of the
// checkpoint, in which the rest of the save is, does not say that it is unfinished: it
// is empty, as old releases left it, or has the time of the commit. Only the saves
// have such a moment whose checkpointables have no markers of their own.
func (s *markerSave) isWhole(done int) bool {
	document := s.path + "/_CHECKPOINT_METADATA"
	if s.name == "training" || s.name == "manager" || done >= s.marker+1 || s.ops[done-1][1] != document {
		return false
	}
	for _, op := range s.ops[done:s.marker] {
		if op[1] != document {
			return false
		}
	}
	return s.ops[done-1][0] == "create" || done == s.marker
}

// checkContents compares a checkpoint of a recorded save with what was saved.
func checkContents(t *testing.T, path string, open ...orbax.OpenOption) error {
	t.Helper()
	ck, err := orbax.Open(t.Context(), path, open...)
	if err != nil {
		return err
	}
	defer ck.Close()
	if err := ck.Verify(t.Context()); err != nil {
		return err
	}
	var options []orbax.LoadOption
	if slices.Contains(ck.Names(), "aux") {
		options = append(options, orbax.Name("model"))
	}
	v, err := ck.Load(t.Context(), options...)
	if err != nil {
		return err
	}
	got := v.(map[string]any)
	w, _ := got["w"].(*array.Array)
	j, err := array.Values[float32](got["j"].(*array.Array))
	if err != nil {
		return err
	}
	if w == nil || !w.Equal(array.Of([]float32{0, 1, 2, 3, 4, 5}, 2, 3)) ||
		!slices.Equal(j, []float32{0, 1, 2, 3}) || got["step"] != 7 {
		return fmt.Errorf("other values: %v", got)
	}
	return nil
}

// Whatever of a save by marker a kill has left: it is no checkpoint, and nothing takes
// it for one, until its marker is there.
func TestUnfinishedByMarker(t *testing.T) {
	t.Run("disk", func(t *testing.T) { testUnfinishedByMarker(t, storage.Local()) })
	t.Run("needs markers", func(t *testing.T) { testUnfinishedByMarker(t, failstore.NewMarked(storage.Local())) })
}

func testUnfinishedByMarker(t *testing.T, store storage.Store) {
	in, needed := orbax.In(store), !store.Properties().Rename
	for _, s := range markerSaves(t) {
		if s.name == "overwrite" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, s.path)
			incomplete := 0
			for i := -1; i < len(s.ops); i++ { // after how many
				if i >= 0 {
					if err := s.ops[i].do(root); err != nil {
						t.Fatal(i, s.ops[i], err)
					}
				}
				complete := i >= s.marker || i > 0 && !needed && s.isWhole(i+1)
				is, err := orbax.IsCheckpoint(t.Context(), path, in)
				if is != complete || err != nil {
					t.Fatalf("IsCheckpoint after %d operations, the last %q: %v, %v", i+1, s.ops[max(i, 0)][:2], is, err)
				}
				if complete {
					if err := checkContents(t, path, in); err != nil {
						t.Fatalf("after %d operations: %v", i+1, err)
					}
					continue
				}
				_, err = orbax.Load(t.Context(), path, in)
				verr := orbax.Verify(t.Context(), path, in)
				if errors.Is(err, orbax.ErrIncomplete) && hasFiles(t, path) && i%3 == 0 {
					replaceUnfinished(t, path, in)
				}
				for _, err := range []error{err, verr} {
					switch {
					case errors.Is(err, orbax.ErrIncomplete):
						incomplete++
					case errors.Is(err, orbax.ErrNotExist), errors.Is(err, orbax.ErrInvalidCheckpoint) && !hasFiles(t, path):
					default:
						t.Errorf("after %d operations, the last %q: %v", i+1, s.ops[max(i, 0)][:2], err)
					}
				}
			}
			if incomplete < s.marker { // two looks each
				t.Errorf("only %d of %d looks said that it is incomplete", incomplete, 2*s.marker)
			}
		})
	}
}

// replaceUnfinished saves over a copy of what is unfinished, and deletes another.
func replaceUnfinished(t *testing.T, path string, in orbax.StoreOption) {
	t.Helper()
	tmp := t.TempDir()
	replaced, deleted := filepath.Join(tmp, "replaced"), filepath.Join(tmp, "deleted")
	for _, to := range []string{replaced, deleted} {
		if err := os.CopyFS(to, os.DirFS(path)); err != nil {
			t.Fatal(err)
		}
	}
	state := map[string]any{"a": 1}
	if err := orbax.Save(t.Context(), replaced, state, in); !errors.Is(err, orbax.ErrExist) || !errors.Is(err, orbax.ErrIncomplete) {
		t.Errorf("saved without Overwrite: %v", err)
	}
	if err := orbax.Save(t.Context(), replaced, state, in, orbax.Overwrite()); err != nil {
		t.Errorf("overwriting: %v", err)
	}
	if v, err := orbax.Load(t.Context(), replaced, in); err != nil || v.(map[string]any)["a"] != 1 {
		t.Errorf("overwritten: %v, %v", v, err)
	}
	if err := orbax.Delete(t.Context(), deleted, in); err != nil {
		t.Errorf("deleting: %v", err)
	}
}

// hasFiles reports whether there is anything but directories below dir.
func hasFiles(t *testing.T, dir string) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		found = found || err == nil && !e.IsDir()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// An unfinished step is none: the step before it is the newest, and is resumed.
func TestUnfinishedStepByMarker(t *testing.T) {
	t.Run("disk", func(t *testing.T) { testUnfinishedStep(t, storage.Local()) })
	t.Run("needs markers", func(t *testing.T) { testUnfinishedStep(t, failstore.NewMarked(storage.Local())) })
}

func testUnfinishedStep(t *testing.T, store storage.Store) {
	for _, s := range markerSaves(t) {
		if s.path == s.name {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			root := t.TempDir()
			run := filepath.Join(root, s.name)
			item := map[string]string{"training": "state", "manager": "state"}[s.name]
			if err := orbax.Save(t.Context(), filepath.Join(run, "0"), map[string]any{"step": 0}, orbax.Name(item), orbax.In(store)); err != nil {
				t.Fatal(err)
			}
			for i, op := range s.ops[1:] { // the first makes the root
				if err := op.do(root); err != nil {
					t.Fatal(op, err)
				}
				want := 0
				if i+1 >= s.marker {
					want = 1
				}
				ck, err := training.Latest(t.Context(), run, training.ReadOptions{Store: store})
				if err != nil || ck.Step != want {
					t.Fatalf("after %q: Latest %d, %v", op[:2], ck.Step, err)
				}
				if i%5 > 0 && i+1 < s.marker {
					continue
				}
				c, err := training.New(t.Context(), run, training.Options{Store: store})
				if err != nil {
					t.Fatal(err)
				}
				var state struct {
					Step int `orbax:"step"`
				}
				step, err := c.Resume(t.Context(), &state, orbax.Partial())
				if err != nil || step != want || state.Step != 7*want {
					t.Errorf("after %q: resumed %d, %v", op[:2], step, err)
				}
				if steps := c.Checkpoints(); len(steps) != want+1 {
					t.Errorf("after %q: steps %v", op[:2], steps)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
