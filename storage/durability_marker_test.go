package storage_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

var byMarker = orbax.Atomicity(orbax.CommitFile)

const marker = "run/step/commit_success.txt"

// markedVersion is versionAt, to which an unfinished checkpoint and an empty directory
// are nothing.
func markedVersion(dir string) (int, error) {
	version, err := versionAt(dir)
	if errors.Is(err, orbax.ErrIncomplete) {
		return 0, nil
	}
	if entries, lerr := os.ReadDir(dir); err != nil && lerr == nil && len(entries) == 0 {
		return 0, nil
	}
	return version, err
}

// leaveByMarker leaves at run/step the files of a save by marker that is killed before
// its marker.
func leaveByMarker(t *testing.T) {
	t.Helper()
	must(t, orbax.Save(t.Context(), abs(t, "run/step"), sample(1), byMarker))
	must(t, os.Remove(marker))
}

func abs(t *testing.T, name string) string {
	t.Helper()
	name, err := filepath.Abs(name)
	must(t, err)
	return name
}

func TestMarkerTrace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the traces are those of Linux")
	}
	for _, tc := range []struct {
		name, fail string
		old        bool
	}{{name: "marker"}, {name: "marker-overwrite", old: true}, {name: "marker-abort", fail: "commit_success.txt"}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if tc.old {
				leaveByMarker(t)
			}
			r := &storage.Recorder{Before: func(op storage.Op) error {
				if op.Kind == "rename" && path.Base(op.To) == tc.fail {
					return errors.New("injected")
				}
				return nil
			}}
			err := orbax.Save(t.Context(), "run/step", sample(2), byMarker, orbax.Overwrite(), orbax.In(r.Store()))
			if (err != nil) != (tc.fail != "") {
				t.Fatal(err)
			}
			compareGolden(t, tc.name+".trace", storage.FormatOps(r.Ops()))
			if err := checkMarkerOrder(r.Ops()); err != nil && tc.fail == "" {
				t.Error(err)
			}
			want := []string{"step"}
			if tc.fail != "" {
				want = nil
			}
			if got := names(t, "run"); !slices.Equal(got, want) {
				t.Errorf("left %q, want %q", got, want)
			}
		})
	}
}

// checkMarkerOrder checks that a save by marker is durable: the indicator comes first,
// everything is synced before the marker, and the marker is synced afterwards.
func checkMarkerOrder(ops []storage.Op) error {
	dirty := map[string]bool{}
	begun, marked := false, false
	for i, op := range ops {
		if op.Err != nil {
			continue
		}
		name := op.Name
		if op.Kind == "rename" {
			name = op.To
		}
		inside := strings.HasPrefix(name, "run/step/")
		switch op.Kind {
		case "mkdir", "create", "link", "write", "rename":
			switch {
			case marked:
				return fmt.Errorf("op %d: %s %s after the marker", i, op.Kind, name)
			case inside && !begun && name != "run/step/orbax.checkpoint":
				return fmt.Errorf("op %d: %s %s before the indicator", i, op.Kind, name)
			}
			if marked = name == marker; marked && len(dirty) > 0 {
				return fmt.Errorf("op %d: marked before %v are synced", i, dirty)
			}
			if op.Kind != "rename" && (inside || op.Kind == "write") {
				dirty[name] = true
			}
			if inside && op.Kind != "write" {
				dirty[path.Dir(name)] = true
			}
		case "sync", "syncdir":
			delete(dirty, name)
			begun = begun || name == "run/step"
		}
	}
	if !marked || len(dirty) > 0 {
		return fmt.Errorf("at the end: marked %v, not synced %v", marked, dirty)
	}
	return nil
}

// eachMarkerOp is eachOp for saves by marker, over nothing or over an unfinished
// checkpoint.
func eachMarkerOp(t *testing.T, f func(r *storage.Recorder, save func(context.Context) error, index int) (more bool)) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("unfinished=%v", old), func(t *testing.T) {
			prepare := func(t *testing.T) {
				must(t, os.RemoveAll("run"))
				if old {
					leaveByMarker(t)
				}
			}
			eachOp(t, false, prepare, func(r *storage.Recorder, store storage.Store, index int) bool {
				return f(r, func(ctx context.Context) error {
					return orbax.Save(ctx, "run/step", sample(2), byMarker, orbax.Overwrite(), orbax.In(store))
				}, index)
			})
		})
	}
}

// A failure of any one operation is reported, and leaves nothing that looks complete
// and is not.
func TestMarkerEveryFailure(t *testing.T) {
	eachMarkerOp(t, func(r *storage.Recorder, save func(context.Context) error, index int) bool {
		hit := failAt(r, index)
		err := save(t.Context())
		if hit.Kind == "" {
			must(t, err)
			return false
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("%s %s failed: %v", hit.Kind, hit.Name, err)
		}
		version, verr := markedVersion(abs(t, "run/step"))
		if verr != nil || (version == 2) != errors.Is(err, orbax.ErrInPlace) {
			t.Fatalf("%s %s failed: version %d, %v; %v", hit.Kind, hit.Name, version, verr, err)
		}
		if left := temporary(t, "."); len(left) > 0 {
			t.Errorf("left %q", left)
		}
		return true
	})
}

// Readers see each moment of a save, and a kill would leave it: nothing, or an unfinished
// checkpoint. The next save replaces it.
func TestMarkerEveryKill(t *testing.T) {
	eachMarkerOp(t, func(r *storage.Recorder, save func(context.Context) error, index int) bool {
		n, killed := 0, ""
		r.Before = func(op storage.Op) error {
			if n++; n-1 != index {
				return nil
			}
			marked := false
			if _, err := os.Lstat(marker); err == nil {
				marked = true
			}
			version, err := markedVersion(abs(t, "run/step"))
			if err != nil || version != 2*bit(marked) {
				t.Errorf("before %s %s: version %d, %v", op.Kind, op.Name, version, err)
			}
			killed = filepath.Join(scratch(t), "step")
			if err := os.CopyFS(killed, os.DirFS("run/step")); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
			if marked {
				return nil
			}
			if err := orbax.Save(t.Context(), killed, sample(3), byMarker, orbax.Overwrite()); err != nil {
				t.Errorf("saved after a kill before %s %s: %v", op.Kind, op.Name, err)
			}
			if version, err := versionAt(killed); version != 3 || err != nil {
				t.Errorf("saved after a kill before %s %s: %d, %v", op.Kind, op.Name, version, err)
			}
			return nil
		}
		must(t, save(t.Context()))
		return killed != ""
	})
}

func TestMarkerEveryCancellation(t *testing.T) {
	eachMarkerOp(t, func(r *storage.Recorder, save func(context.Context) error, index int) bool {
		ctx, hit := cancelAt(t, r, index)
		err := save(ctx)
		version, verr := markedVersion(abs(t, "run/step"))
		if verr != nil || version != 2*bit(err == nil) || err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at operation %d: version %d, %v, %v", index, version, verr, err)
		}
		return hit()
	})
}

// Whenever the power fails there is nothing, an unfinished checkpoint, or a complete one.
func TestMarkerPowerLoss(t *testing.T) {
	t.Chdir(scratch(t))
	r := &storage.Recorder{NoSync: true}
	must(t, orbax.Save(t.Context(), "run/step", sample(2), byMarker, orbax.In(r.Store())))
	rng := rand.New(rand.NewPCG(1, 2))
	d := &disk{now: newImage()}
	seen := map[string]bool{}
	ops := r.Ops()
	returned := 0 // versions after the save has returned
	for i, op := range ops {
		d.do(op)
		d.crashes(rng, func(m image) {
			node := m.find("run/step")
			if i == len(ops)-1 {
				returned++
				if node == nil || m.find(marker) == nil {
					t.Errorf("lost after the save has returned")
				}
			}
			if node == nil || seen[m.describe(node)] {
				return
			}
			dst := filepath.Join(scratch(t), "step")
			seen[m.describe(node)] = true
			must(t, m.copyOut(node, dst))
			version, err := markedVersion(dst)
			if err != nil || version != 2*bit(m.find(marker) != nil) {
				t.Errorf("power lost after %d operations (%s %s): version %d, %v", i+1, op.Kind, op.Name, version, err)
			}
		})
	}
	if returned == 0 || len(seen) < 10 {
		t.Errorf("%d states, %d at the end", len(seen), returned)
	}
}

// Files that other programs put beside the files of a save stay when it is aborted.
func TestMarkerAbortKeepsOthers(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir())
	s, err := storage.Local().Begin(t.Context(), dir+"/ck", storage.BeginOptions{Marker: "done"})
	must(t, err)
	put(t, s, "a/b", "1")
	must(t, os.WriteFile(dir+"/ck/a/mine", []byte("mine"), 0o666))
	err = s.Abort()
	if err == nil || !strings.Contains(err.Error(), "mine") {
		t.Errorf("aborted: %v", err)
	}
	if found, _ := filepath.Glob(dir + "/*/*/a/mine"); len(found) != 1 {
		t.Errorf("found %q", found)
	}
}

// Without its marker nothing is committed, and it cannot become something else.
func TestMarkerRefuses(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir())
	store := storage.Local()
	for name, end := range map[string]func(storage.Stage) error{
		"no marker": func(s storage.Stage) error { return s.Commit(t.Context()) },
	} {
		s, err := store.Begin(t.Context(), dir+"/ck", storage.BeginOptions{Marker: "done"})
		must(t, err)
		put(t, s, "a", "1")
		if err := end(s); err == nil {
			t.Errorf("%s: committed", name)
		}
		if got := names(t, dir); len(got) > 0 {
			t.Errorf("%s: left %q", name, got)
		}
	}
}
