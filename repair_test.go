package orbax_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
)

// manyDatabases makes a checkpoint of three databases and the index that unites
// them, and returns what is in it.
func manyDatabases(t *testing.T) (path string, state any) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ck")
	for i := range 3 {
		w := make([]float32, 1000)
		for j := range w {
			w[j] = float32(i + j)
		}
		if err := partial.Save(t.Context(), path, map[string]any{fmt.Sprint("w", i): w, fmt.Sprint("n", i): i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := partial.Finalize(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	state, err := orbax.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return path, state
}

// wantRepaired fails the test unless the checkpoint is as it was.
func wantRepaired(t *testing.T, path string, state any) {
	t.Helper()
	report, err := orbax.Repair(t.Context(), path)
	if err != nil || len(report.Trees) != 1 || report.Trees[0].Damage != nil {
		t.Fatalf("after the repair: %v, %v", report, err)
	}
	got, err := orbax.Load(t.Context(), path)
	if err != nil || !reflect.DeepEqual(got, state) {
		t.Errorf("loaded %v, %v", got, err)
	}
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
}

func TestRepair(t *testing.T) {
	for name, damage := range map[string]func(manifest string) error{
		"missing":   os.Remove,
		"truncated": func(manifest string) error { return os.Truncate(manifest, 50) },
		"nodes are missing": func(manifest string) error {
			return os.RemoveAll(filepath.Join(filepath.Dir(manifest), "d"))
		},
		"nodes are damaged": func(manifest string) error {
			nodes, err := filepath.Glob(filepath.Join(filepath.Dir(manifest), "d", "*"))
			if err != nil || len(nodes) != 1 {
				return fmt.Errorf("%q, %v", nodes, err)
			}
			return os.Truncate(nodes[0], 50)
		},
		"replaced": func(manifest string) error { // by that of one of the databases
			others, err := filepath.Glob(filepath.Join(filepath.Dir(manifest), "ocdbt.process_*"))
			if err != nil {
				return err
			}
			for file, to := range map[string]string{"manifest.ocdbt": "manifest.ocdbt", "d": "d"} {
				from := filepath.Join(others[0], file)
				if info, err := os.Stat(from); err == nil && info.IsDir() {
					if err := os.CopyFS(filepath.Join(filepath.Dir(manifest), to), os.DirFS(from)); err != nil {
						return err
					}
					continue
				}
				b, err := os.ReadFile(from)
				if err != nil {
					return err
				}
				if err := errors.Join(os.Remove(manifest), os.WriteFile(manifest, b, 0o666)); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, state := manyDatabases(t)
			manifest := filepath.Join(path, "state", "manifest.ocdbt")
			if err := damage(manifest); err != nil {
				t.Fatal(err)
			}
			before := readFiles(t, path)
			report, err := orbax.Repair(t.Context(), path)
			if err != nil || report.Written || len(report.Trees) != 1 {
				t.Fatalf("%+v, %v", report, err)
			}
			tree := report.Trees[0]
			if tree.Name != "state" || tree.Damage == nil || tree.Obstacle != nil || len(tree.Databases) != 3 || tree.Keys != 12 {
				t.Errorf("the plan: %v, %+v; want damage of state, no obstacle, 3 databases and 12 keys", report, tree)
			}
			if !reflect.DeepEqual(readFiles(t, path), before) {
				t.Error("something was written")
			}
			if report, err = orbax.Repair(t.Context(), path, orbax.WriteRepairs()); err != nil || !report.Written {
				t.Fatalf("%v, %v", report, err)
			}
			wantRepaired(t, path, state)
			onlyTemporary(t, filepath.Dir(path), "ck")
		})
	}
}

// In a store that cannot rename, the repaired checkpoint has a commit mark of its own, and
// nothing is left beside it.
func TestRepairByMarker(t *testing.T) {
	path, state := manyDatabases(t)
	path = filepath.ToSlash(path)
	in := orbax.In(failstore.NewMarked(storage.Local()))
	must(t, os.Truncate(path+"/state/manifest.ocdbt", 50))
	before := readFiles(t, path)
	report, err := orbax.Repair(t.Context(), path, in, orbax.WriteRepairs())
	if err != nil || !report.Written {
		t.Fatalf("%v, %v", report, err)
	}
	if mark := "commit_success.txt"; string(readFiles(t, path)[mark]) == string(before[mark]) {
		t.Error("the mark is that of before")
	}
	if got, err := orbax.Load(t.Context(), path, in); err != nil || !reflect.DeepEqual(got, state) {
		t.Errorf("loaded %v, %v", got, err)
	}
	wantRepaired(t, path, state)
	onlyTemporary(t, filepath.Dir(path), "ck")
	must(t, os.Remove(path+"/commit_success.txt"))
	if _, err := orbax.Repair(t.Context(), path, in, orbax.WriteRepairs()); !errors.Is(err, orbax.ErrIncomplete) {
		t.Errorf("an unfinished one: %v", err)
	}
}

func TestRepairRefuses(t *testing.T) {
	path, _ := manyDatabases(t)
	if err := os.Remove(filepath.Join(path, "state", "manifest.ocdbt")); err != nil {
		t.Fatal(err)
	}
	databases, err := filepath.Glob(filepath.Join(path, "state", "ocdbt.process_*"))
	if err != nil || len(databases) != 3 {
		t.Fatal(databases, err)
	}
	if err := os.RemoveAll(databases[1]); err != nil {
		t.Fatal(err)
	}
	before := readFiles(t, path)
	report, err := orbax.Repair(t.Context(), path, orbax.WriteRepairs())
	if !errors.Is(err, orbax.ErrCorrupt) || report.Written || !strings.Contains(report.String(), "cannot be repaired") {
		t.Errorf("%v, %v", report, err)
	}
	var e *orbax.Error
	if !errors.As(err, &e) || len(e.Leaves()) != 2 {
		t.Errorf("the leaves that are lost: %v", err)
	}
	if !reflect.DeepEqual(readFiles(t, path), before) {
		t.Error("something was written")
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := orbax.Save(t.Context(), other, map[string]any{"x": 1}); err != nil {
		t.Fatal(err)
	}
	if report, err := orbax.Repair(t.Context(), other, orbax.WriteRepairs()); err != nil || len(report.Trees) != 0 || report.Written {
		t.Errorf("of one database: %v, %v", report, err)
	}
	// What cannot be read is not damage.
	manifest := filepath.Join(path, "state", "manifest.ocdbt")
	if err := os.Symlink("manifest.ocdbt", manifest); err == nil {
		if report, err := orbax.Repair(t.Context(), path, orbax.WriteRepairs()); report != nil || err == nil || errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("of what cannot be read: %v, %v", report, err)
		}
	}
	if _, err := orbax.Repair(t.Context(), other+"-missing"); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
}

// A repair that fails at any operation changes nothing.
func TestRepairFails(t *testing.T) {
	var left atomic.Int64 // some operations go on at the same time
	stop := errors.New("stopped")
	store := failstore.New(storage.Local(), func(string, string) error {
		if left.Add(-1) == -1 {
			return stop
		}
		return nil
	})
	path, state := manyDatabases(t)
	if err := os.Remove(filepath.Join(path, "state", "manifest.ocdbt")); err != nil {
		t.Fatal(err)
	}
	before := readFiles(t, path)
	for n := 0; ; n++ {
		left.Store(int64(n))
		_, err := orbax.Repair(t.Context(), filepath.ToSlash(path), orbax.In(store), orbax.WriteRepairs())
		if err == nil {
			break
		}
		if !errors.Is(err, stop) || !reflect.DeepEqual(readFiles(t, path), before) {
			t.Fatalf("operation %d: %v", n, err)
		}
	}
	wantRepaired(t, path, state)
}

// A file system that fails to find what is there costs a repair nothing either: it
// fails and changes nothing, or repairs all.
func TestRepairLosesNothing(t *testing.T) {
	var left, times, lost atomic.Int64
	store := failstore.NewReads(storage.Local(), func(op, name string) error {
		if n := left.Add(-1); n >= 0 || n < -times.Load() {
			return nil
		}
		lost.Add(1)
		return failstore.NotFound(op, name)
	})
	path, state := manyDatabases(t)
	manifest := filepath.Join(path, "state", "manifest.ocdbt")
	whole := readFiles(t, path)
	step := testenv.Pick(1, 11)
	for _, n := range []int64{1, 2, 4} {
		for at := 0; ; at += step {
			if err := os.Remove(manifest); err != nil {
				t.Fatal(err)
			}
			before := readFiles(t, path)
			left.Store(int64(at))
			times.Store(n)
			lost.Store(0)
			report, err := orbax.Repair(t.Context(), filepath.ToSlash(path), orbax.In(store), orbax.WriteRepairs())
			inPlace := errors.Is(err, orbax.ErrInPlace) // and what it replaced is left beside it
			if inPlace || err == nil && report.Written {
				wantRepaired(t, path, state)
				if got := readFiles(t, path); len(got) != len(whole) {
					t.Errorf("%d operations from %d: files %q, before %q", n, at, got.names(), whole.names())
				}
			} else if !reflect.DeepEqual(readFiles(t, path), before) {
				t.Fatalf("%d operations from %d: something was written: %v", n, at, err)
			}
			if t.Failed() || lost.Load() == 0 {
				break
			}
			if inPlace || err == nil && report.Written {
				continue
			}
			if _, err := orbax.Repair(t.Context(), path, orbax.WriteRepairs()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Repair looks at no array data, and says so where it finds nothing.
func TestRepairSaysWhatItReads(t *testing.T) {
	path, _ := manyDatabases(t)
	data, err := filepath.Glob(filepath.Join(path, "state", "ocdbt.process_*", "d", "*"))
	if err != nil || len(data) == 0 {
		t.Fatal(data, err)
	}
	for _, name := range data {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 3000 { // of an array
			b[len(b)/2] ^= 1
		}
		if err := os.WriteFile(name, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := orbax.Verify(t.Context(), path); !errors.Is(err, orbax.ErrCorrupt) {
		t.Fatal(err)
	}
	report, err := orbax.Repair(t.Context(), path)
	if err != nil || report.Trees[0].Damage != nil || !strings.Contains(report.String(), "array data was not read: Verify does that") {
		t.Errorf("%v, %v", report, err)
	}
}

// A store that fails at any look is not taken for damage: a repair that writes nothing
// reports the failure.
func TestRepairReportsFailures(t *testing.T) {
	path, _ := manyDatabases(t)
	boom := errors.New("boom")
	for at, failed := int64(1), true; failed; at++ {
		var n atomic.Int64
		store := failstore.NewReads(storage.Local(), func(string, string) error {
			if n.Add(1) == at {
				return boom
			}
			return nil
		})
		report, err := orbax.Repair(t.Context(), filepath.ToSlash(path), orbax.In(store))
		failed = n.Load() >= at
		if err != nil && !errors.Is(err, boom) {
			t.Errorf("look %d fails: got %v, want %v", at, err, boom)
		}
		if err != nil {
			continue
		}
		for _, tree := range report.Trees {
			if tree.Damage != nil || tree.Obstacle != nil {
				t.Errorf("look %d fails: got damage %v, obstacle %v; want none", at, tree.Damage, tree.Obstacle)
			}
		}
	}
}
