package training_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// flipBit changes a bit in the middle of a file, or of the largest file of a
// directory. It puts a copy in its place, as other steps may share it.
func flipBit(t *testing.T, path string) {
	t.Helper()
	largest := int64(-1)
	var file string
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > largest {
			file, largest = p, info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err == nil {
		data[len(data)/2] ^= 16
		err = os.Remove(file)
	}
	if err == nil {
		err = os.WriteFile(file, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamagedLatest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file string }{
		{"documents", "_CHECKPOINT_METADATA"},
		{"tree", "state/_METADATA"},
		{"array", "state/d"},
		{"manifest", "state/manifest.ocdbt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			first := openRun(t, root, training.Options{Sharing: training.Sharing{Off: true}})
			mustSave(t, first, 1, 2, 3, 4)
			flipBit(t, filepath.Join(root, "4", filepath.FromSlash(c.file)))
			flipBit(t, filepath.Join(root, "3", "state", "d"))
			for name, c := range map[string]*training.Checkpointer{
				"that saved": first,
				"another":    openRun(t, root, training.Options{Preservation: training.LatestN{N: 2}}),
			} {
				for _, n := range []int{4, training.LatestStep} {
					if _, err := c.Load(t.Context(), n); !errors.Is(err, orbax.ErrCorrupt) {
						t.Errorf("%s: load of %d: %v", name, n, err)
					}
				}
				// A state that is not what is loaded is no reason to fall back.
				wrong := struct{ Other int }{}
				if n, err := c.Resume(t.Context(), &wrong); !errors.Is(err, orbax.ErrStructure) {
					t.Errorf("%s: a wrong target resumes %d, %v", name, n, err)
				}
				var s runState
				n, err := c.Resume(t.Context(), &s)
				if err == nil {
					err = s.check(2)
				}
				if err != nil || n != 2 {
					t.Fatalf("%s: resumed %d, %v", name, n, err)
				}
				for _, ck := range c.Checkpoints() {
					if (ck.Err != nil) != (ck.Step > 2) {
						t.Errorf("%s: %+v", name, ck)
					}
				}
				if err := c.Wait(t.Context()); err != nil {
					t.Error(err)
				}
			}
			// The run goes on where it resumed.
			second := openRun(t, root, training.Options{Preservation: training.LatestN{N: 3}})
			if n, err := second.Resume(t.Context(), new(runState)); n != 2 || err != nil {
				t.Fatalf("resumed %d, %v", n, err)
			}
			mustSave(t, second, 3, 4, 5)
			if err := second.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			wantSteps(t, second, 3, 4, 5)
			for _, ck := range second.Checkpoints() {
				if ck.Err != nil {
					t.Errorf("%+v", ck)
				}
			}
		})
	}
}

// Where every step is damaged nothing is loaded, and nothing is called a new run.
func TestAllDamaged(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c := openRun(t, root, training.Options{Sharing: training.Sharing{Off: true}})
	if n, err := c.Resume(t.Context(), new(runState)); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("an empty root resumes %d, %v", n, err)
	}
	mustSave(t, c, 1, 2)
	for _, n := range []string{"1", "2"} {
		flipBit(t, filepath.Join(root, n, "state", "d"))
	}
	n, err := c.Resume(t.Context(), new(runState))
	if !errors.Is(err, orbax.ErrCorrupt) || errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("resumed %d, %v", n, err)
	}
	if got := listed(c); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("steps %v", got)
	}
}

// Bytes that are damaged where two steps share them: Resume goes back past both,
// and what is saved then shares with neither.
func TestSharedDamage(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mustSave(t, openRun(t, root, training.Options{Sharing: training.Sharing{Off: true}}), 1)
	mustSave(t, openRun(t, root, training.Options{}), 2, 3, 4)
	damaged := 0
	for _, file := range dataFiles(t, filepath.Join(root, "2")) {
		if !slices.ContainsFunc(dataFiles(t, filepath.Join(root, "4")), func(other string) bool { return sameFile(t, file, other) }) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// Frozen is one of the two arrays in it. Both have a copy of every number.
		for at := 1 << 12; at < len(data); at += 1 << 16 {
			data[at] ^= 1
		}
		if err := os.WriteFile(file, data, 0o644); err != nil { // in place
			t.Fatal(err)
		}
		damaged++
	}
	if damaged == 0 {
		t.Fatal("the steps share nothing")
	}
	c := openRun(t, root, training.Options{})
	var s runState
	n, err := c.Resume(t.Context(), &s)
	if err == nil {
		err = s.check(1)
	}
	if err != nil || n != 1 {
		t.Fatalf("resumed %d, %v", n, err)
	}
	mustSave(t, c, 2, 3, 4, 5)
	wantSteps(t, c, 1, 2, 3, 4, 5)
}

func dataFiles(t *testing.T, ck string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(ck, "state", "d", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}

// A step that is damaged is in the list and is not removed, and the policy keeps as
// many good ones as if it were not there.
func TestRetentionBesideDamage(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c := openRun(t, root, training.Options{})
	mustSave(t, c, 1, 2, 3)
	flipBit(t, filepath.Join(root, "3", "_CHECKPOINT_METADATA"))
	c = openRun(t, root, training.Options{Preservation: training.LatestN{N: 2}})
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	mustSave(t, c, 4)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if got := listed(c); !slices.Equal(got, []int{2, 3, 4}) {
		t.Errorf("steps %v", got)
	}
	for _, n := range []int{2, 4} {
		if err := checkStep(c, n); err != nil {
			t.Error(err)
		}
	}
	for _, ck := range c.Checkpoints() {
		if (ck.Err != nil) != (ck.Step == 3) {
			t.Errorf("%+v", ck)
		}
	}
	if err := c.Delete(t.Context(), 3); err != nil {
		t.Error(err)
	}
	wantSteps(t, c, 2, 4)
}
