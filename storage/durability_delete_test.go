package storage_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
)

// deletions are the ways to delete, and the checkpointables that they leave. The one
// called "it" has no files.
var deletions = []struct {
	name     string
	options  []orbax.DeleteOption
	inPlace  bool // the directory cannot be renamed
	parts    []string
	survives []string // nil for nothing
}{
	{"delete", nil, false, nil, nil},
	{"delete-in-place", nil, true, nil, nil},
	{"delete-part", []orbax.DeleteOption{orbax.Name("opt")}, false, []string{"opt"}, []string{"it", "state"}},
	{"delete-empty-part", []orbax.DeleteOption{orbax.Name("it")}, false, []string{"it"}, []string{"opt", "state"}},
}

// nothing is a stateful checkpointable without any file.
type nothing struct{}

func (*nothing) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(context.Context, *handler.WriteDir) error { return nil }, nil
}

func (*nothing) LoadState(context.Context, *handler.ReadDir) error { return nil }

func saveParts(t *testing.T, dir string) {
	t.Helper()
	savePartsIn(t, &storage.Recorder{NoSync: true}, dir) // much faster
}

func savePartsIn(t *testing.T, r *storage.Recorder, dir string) {
	t.Helper()
	must(t, orbax.SaveCheckpointables(t.Context(), dir, map[string]any{
		"state": sample(1), "opt": map[string]any{"mu": []float32{1, 2}, "count": 3}, "it": &nothing{},
	}, orbax.CustomMetadata(map[string]any{"run": "ä", "lr": 1e-5}), orbax.Overwrite(), orbax.In(r.Store())))
}

// partsAt returns which parts the checkpoint at dir has, after it has loaded all
// of them, none if there is none. pending is the part that is being deleted.
func partsAt(dir string) (parts []string, pending string, err error) {
	ctx := context.Background()
	ck, err := orbax.Open(ctx, dir)
	if errors.Is(err, orbax.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer ck.Close()
	meta, err := ck.CheckpointablesMetadata(ctx)
	if err != nil {
		return nil, "", err
	}
	if !reflect.DeepEqual(meta.Custom, map[string]any{"run": "ä", "lr": 1e-5}) {
		return nil, "", fmt.Errorf("metadata %v", meta.Custom)
	}
	if handlers := slices.Sorted(maps.Keys(meta.Handlers)); !slices.Equal(handlers, ck.Names()) {
		return nil, "", fmt.Errorf("handlers of %q, parts %q", handlers, ck.Names())
	}
	if err := ck.Verify(ctx); err != nil {
		return nil, "", err
	}
	for _, name := range ck.Names() {
		switch name {
		case "state":
			if v, err := versionAt(dir); v != 1 {
				return nil, "", fmt.Errorf("version %d, %w", v, err)
			}
		case "opt":
			opt := struct {
				Mu    []float32 `orbax:"mu"`
				Count int       `orbax:"count"`
			}{}
			if err := ck.LoadInto(ctx, &opt, orbax.Name("opt")); err != nil || opt.Count != 3 || !slices.Equal(opt.Mu, []float32{1, 2}) {
				return nil, "", fmt.Errorf("opt is %v, %w", opt, err)
			}
		case "it":
			if _, err := ck.LoadCheckpointables(ctx, map[string]any{"it": &nothing{}}); err != nil {
				return nil, "", err
			}
		}
	}
	return ck.Names(), meta.Deleting, nil
}

// wantParts fails the test unless dir has these parts, and no deletion pending.
func wantParts(t *testing.T, dir string, want []string) {
	t.Helper()
	if got, pending, err := partsAt(dir); err != nil || pending != "" || !slices.Equal(got, want) {
		t.Fatalf("%s: parts %q, pending %q, %v; want %q", dir, got, pending, err, want)
	}
}

// deleter returns a recorder for a deletion. fail, if not nil, may make an
// operation fail.
func deleter(inPlace bool, fail func(storage.Op) error) *storage.Recorder {
	return &storage.Recorder{NoSync: true, Before: func(op storage.Op) error {
		if inPlace && op.Kind == "rename" {
			return syscall.EXDEV
		}
		if fail == nil || op.Kind == "unlock" { // which a dying process does as well
			return nil
		}
		return fail(op)
	}}
}

func TestDeleteTrace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the traces are those of Linux")
	}
	for _, tc := range deletions {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			saveParts(t, "run/step")
			r := deleter(tc.inPlace, nil)
			must(t, orbax.Delete(t.Context(), "run/step", append(tc.options, orbax.In(r.Store()))...))
			compareGolden(t, tc.name+".trace", storage.FormatOps(r.Ops()))
			wantParts(t, "run/step", tc.survives)
			if left := temporary(t, "run"); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

var errStopped = errors.New("the process is dead")

// A process that dies at any operation leaves the checkpoint whole, or with the
// part gone, or nothing; the same deletion finishes it, and a save is possible
// then.
func TestDeleteStopped(t *testing.T) {
	for _, tc := range deletions {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(scratch(t))
			for i, more := 0, true; more; i += testenv.Pick(1, 3) {
				saveParts(t, "run/step")
				n := 0
				r := deleter(tc.inPlace, func(storage.Op) error {
					if n++; n > i {
						return errStopped
					}
					return nil
				})
				err := orbax.Delete(t.Context(), "run/step", append(tc.options, orbax.In(r.Store()))...)
				more = n > i
				switch {
				case !more:
					must(t, err)
				case !errors.Is(err, errStopped):
					t.Fatalf("stopped before operation %d: %v", i, err)
				case !tc.inPlace: // else only the marks are left
					checkStopped(t, tc.parts, tc.survives)
				}
				// Whoever comes next finishes.
				must(t, orbax.Delete(t.Context(), "run/step", append(tc.options, orbax.MissingOK())...))
				wantParts(t, "run/step", tc.survives)
				for _, name := range temporary(t, "run") {
					must(t, orbax.Delete(t.Context(), "run/"+name))
				}
				if left := temporary(t, "run"); len(left) > 0 {
					t.Fatalf("left %q", left)
				}
			}
		})
	}
}

// checkStopped checks a checkpoint whose deletion was stopped.
func checkStopped(t *testing.T, parts, survives []string) {
	t.Helper()
	got, pending, err := partsAt("run/step")
	if err != nil {
		t.Fatal(err)
	}
	whole := []string{"it", "opt", "state"}
	if pending != "" {
		if pending != parts[0] || !slices.Equal(got, survives) {
			t.Fatalf("%q is being deleted, there are %q", pending, got)
		}
		_, err := orbax.LoadCheckpointables(t.Context(), "run/step", map[string]any{pending: nil})
		if !errors.Is(err, orbax.ErrNotExist) || !strings.Contains(err.Error(), "delete it again") {
			t.Errorf("load of what is being deleted: %v", err)
		}
		err = orbax.Save(t.Context(), "run/step", sample(2), orbax.Overwrite())
		if !errors.Is(err, orbax.ErrBusy) || !strings.Contains(err.Error(), pending) {
			t.Errorf("save: %v", err)
		}
		err = orbax.Delete(t.Context(), "run/step", orbax.Name("state"))
		if !errors.Is(err, orbax.ErrBusy) || !strings.Contains(err.Error(), pending) {
			t.Errorf("deletion of another: %v", err)
		}
	} else if !slices.Equal(got, whole) && !slices.Equal(got, survives) {
		t.Fatalf("parts %q", got)
	}
}

// A deletion that is cancelled at any moment, or in which one operation fails,
// can be finished.
func TestDeleteFails(t *testing.T) {
	for _, tc := range deletions {
		if tc.inPlace || tc.name == "delete-empty-part" { // has nothing new here
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(scratch(t))
			for i, more := 0, true; more; i += testenv.Pick(1, 3) {
				for _, cancels := range []bool{true, false} {
					saveParts(t, "run/step")
					ctx, cancel := context.WithCancel(t.Context())
					n := 0
					r := deleter(false, func(storage.Op) error {
						if n++; n-1 != i {
							return nil
						}
						if cancel(); cancels {
							return nil
						}
						return syscall.EIO
					})
					err := orbax.Delete(ctx, "run/step", append(tc.options, orbax.In(r.Store()))...)
					more = n > i
					want := []error{syscall.EIO, context.Canceled}[bit(cancels)]
					if more && !cancels && err == nil || err != nil && !errors.Is(err, want) && !errors.Is(err, context.Canceled) {
						t.Fatalf("operation %d: %v", i, err)
					}
					checkStopped(t, tc.parts, tc.survives)
					must(t, orbax.Delete(t.Context(), "run/step", append(tc.options, orbax.MissingOK())...))
					wantParts(t, "run/step", tc.survives)
					cancel()
				}
			}
		})
	}
}

// Whenever the power fails, the same is found as after the death of a process.
func TestDeletePowerLoss(t *testing.T) {
	for _, tc := range deletions {
		if tc.inPlace {
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			before, ops := recordDeletion(t, tc.options)
			if err := simulateDeletion(t, before, ops, tc.survives); err != nil {
				t.Error(err)
			}
		})
	}
}

// The simulation notices missing syncs: of a file, or of the directory after an entry is
// renamed, replaced or removed.
func TestDeletePowerLossWithoutSync(t *testing.T) {
	for _, tc := range deletions[2:] {
		before, ops := recordDeletion(t, tc.options)
		record := slices.IndexFunc(ops, func(op storage.Op) bool { return op.Kind == "rename" })
		last := len(ops) - 3
		without := map[string]func(i int) bool{
			"of the record's entry":   func(i int) bool { return i == record+1 },
			"of what replaces":        func(i int) bool { return ops[i-1].Kind == "replace" },
			"of the record's removal": func(i int) bool { return i == last },
		}
		for n, op := range ops {
			if op.Kind == "sync" {
				without["of "+op.Name] = func(i int) bool { return i == n }
			}
		}
		for name, omit := range without {
			var rest []storage.Op
			for i, op := range ops {
				if !strings.HasPrefix(op.Kind, "sync") || !omit(i) {
					rest = append(rest, op)
				}
			}
			if len(rest) == len(ops) || simulateDeletion(t, before, rest, tc.survives) == nil {
				t.Errorf("%s: without the sync %s nothing is lost", tc.name, name)
			}
		}
	}
}

func recordDeletion(t *testing.T, options []orbax.DeleteOption) (before, ops []storage.Op) {
	t.Helper()
	t.Chdir(scratch(t))
	r := &storage.Recorder{NoSync: true}
	savePartsIn(t, r, "run/step")
	before = r.Ops()
	must(t, orbax.Delete(t.Context(), "run/step", append(options, orbax.In(r.Store()))...))
	return before, r.Ops()[len(before):]
}

// simulateDeletion replays a deletion on a disk that crashes after every operation.
func simulateDeletion(t *testing.T, before, ops []storage.Op, survives []string) error {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	top, seen := scratch(t), map[string]bool{}
	d := &disk{now: newImage()}
	for _, op := range before {
		d.do(op)
	}
	d.settle()
	check := func(m image, last bool) error {
		node := m.find("run/step")
		if node == nil {
			if survives != nil {
				return errors.New("nothing is left")
			}
			return nil
		}
		state := fmt.Sprint(last, m.describe(node))
		if seen[state] {
			return nil
		}
		seen[state] = true
		dst := filepath.Join(top, fmt.Sprint(len(seen)))
		if err := m.copyOut(node, dst); err != nil {
			return err
		}
		parts, pending, err := partsAt(dst)
		switch {
		case err != nil:
			return err
		case slices.Equal(parts, survives) && (pending == "" || !last):
			return nil
		case len(parts) == 3 && pending == "" && !last:
			return nil
		}
		return fmt.Errorf("parts %q, pending %q", parts, pending)
	}
	for i, op := range ops {
		d.do(op)
		var bad error
		d.crashes(rng, func(m image) {
			if err := check(m, i == len(ops)-1); err != nil && bad == nil {
				bad = fmt.Errorf("power lost after %d operations (%s %s): %w", i+1, op.Kind, path.Base(op.Name), err)
			}
		})
		if bad != nil {
			return bad
		}
	}
	return nil
}

func TestDeleteKeepsPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "step")
	saveParts(t, dir)
	file := filepath.Join(dir, "_CHECKPOINT_METADATA")
	must(t, os.Chmod(file, 0o640))
	must(t, orbax.Delete(t.Context(), dir, orbax.Name("opt")))
	info, err := os.Stat(file)
	must(t, err)
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
}
