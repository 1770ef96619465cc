package storage_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// eachOp calls f for every operation of a save to run/step, until f says that the save had
// no operation of that index. Before each, prepare makes what is there, of whatever f has
// left.
func eachOp(t *testing.T, noExchange bool, prepare func(t *testing.T), f func(r *storage.Recorder, store storage.Store, index int) (more bool)) {
	t.Helper()
	t.Chdir(scratch(t))
	for i, more := 0, true; more; i++ {
		prepare(t)
		r := &storage.Recorder{NoSync: true, NoExchange: noExchange}
		more = f(r, r.Store(), i)
	}
}

// version1 saves a checkpoint at run/step, over whatever is there, and removes it unless
// it is to be old.
func version1(old bool) func(t *testing.T) {
	return func(t *testing.T) {
		r := &storage.Recorder{NoSync: true}
		must(t, orbax.Save(t.Context(), "run/step", sample(1), orbax.Overwrite(), orbax.In(r.Store())))
		if !old {
			must(t, os.RemoveAll("run/step"))
		}
	}
}

// failAt makes the operation of an index fail, and returns it once that has happened.
func failAt(r *storage.Recorder, index int) (hit *storage.Op) {
	hit = &storage.Op{}
	n := 0
	r.Before = func(op storage.Op) error {
		if op.Kind == "unlock" {
			return nil
		}
		if n++; n-1 == index {
			*hit = op
			return syscall.EIO
		}
		return nil
	}
	return hit
}

// cancelAt returns a context that ends before the operation of an index, and whether there
// has been one.
func cancelAt(t *testing.T, r *storage.Recorder, index int) (_ context.Context, hit func() bool) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	n := 0
	r.Before = func(op storage.Op) error {
		if n++; n-1 == index {
			cancel()
		}
		return nil
	}
	return ctx, func() bool { return n > index }
}

// A failure of any one operation is reported, and leaves the old checkpoint or
// the new one.
func TestEveryFailure(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			eachOp(t, mode.noExchange, version1(mode.old), func(r *storage.Recorder, store storage.Store, index int) bool {
				hit := failAt(r, index)
				err := orbax.Save(t.Context(), "run/step", sample(2), orbax.Overwrite(), orbax.In(store))
				if hit.Kind == "" {
					must(t, err)
					return false
				}
				if !errors.Is(err, syscall.EIO) {
					t.Fatalf("%s %s failed: %v", hit.Kind, hit.Name, err)
				}
				version, verr := versionAt("run/step")
				if verr != nil {
					t.Fatalf("%s %s failed: %v", hit.Kind, hit.Name, verr)
				}
				// After the commit only a sync and a removal are left to fail.
				late := version == 2
				if late && !(hit.Kind == "remove" || hit.Kind == "syncdir" && hit.Name == "run") {
					t.Errorf("%s %s failed, yet the new version is there", hit.Kind, hit.Name)
				}
				if !late && version != bit(mode.old) {
					t.Errorf("%s %s failed: version %d", hit.Kind, hit.Name, version)
				}
				if left := temporary(t, "run"); len(left) > 0 && !late {
					t.Errorf("%s %s failed: left %q", hit.Kind, hit.Name, left)
				}
				return true // version1 then saves over the rest
			})
		})
	}
}

// A save that is cancelled at any moment leaves nothing, unless it was complete.
func TestEveryCancellation(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			eachOp(t, mode.noExchange, version1(mode.old), func(r *storage.Recorder, store storage.Store, index int) bool {
				ctx, hit := cancelAt(t, r, index)
				err := orbax.Save(ctx, "run/step", sample(2), orbax.Overwrite(), orbax.In(store))
				version, verr := versionAt("run/step")
				must(t, verr)
				want := 2
				if err != nil {
					want = bit(mode.old)
				}
				if version != want || err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled at operation %d: version %d, %v", index, version, err)
				}
				if left := temporary(t, "run"); len(left) > 0 {
					t.Errorf("cancelled at operation %d: left %q", index, left)
				}
				return hit()
			})
		})
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
