package replica_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/replica"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// saved saves a checkpoint of n numbers on the disk.
func saved(t *testing.T, path string, n int, options ...orbax.SaveOption) storage.Location {
	t.Helper()
	if err := orbax.Save(t.Context(), path, map[string]any{"w": make([]int32, n), "n": n}, options...); err != nil {
		t.Fatal(err)
	}
	return storage.At(storage.Local(), path)
}

func destinations(t *testing.T) map[string]storage.Location {
	return map[string]storage.Location{
		"disk":   storage.At(storage.Local(), filepath.Join(t.TempDir(), "copy")),
		"bucket": storage.At(object.New(membucket.New(), object.Options{PartSize: 1 << 20}), "dir/copy"),
	}
}

// A copy has the same files, can be loaded, and counts as the same.
func TestCopy(t *testing.T) {
	for name, to := range destinations(t) {
		t.Run(name, func(t *testing.T) {
			from := saved(t, filepath.Join(t.TempDir(), "ck"), 3<<20) // of several pieces
			var moved atomic.Int64
			if err := replica.Copy(t.Context(), from, to, replica.Options{Moved: func(n int64) { moved.Add(n) }}); err != nil {
				t.Fatal(err)
			}
			if size, err := replica.Size(t.Context(), from); err != nil || moved.Load() != size {
				t.Errorf("%d of %d bytes were moved, %v", moved.Load(), size, err)
			}
			if err := orbax.Verify(t.Context(), to.Path(), orbax.In(to.Store)); err != nil {
				t.Error(err)
			}
			if same, err := replica.Same(t.Context(), from, to); !same || err != nil {
				t.Errorf("same: %t, %v", same, err)
			}
			other := saved(t, filepath.Join(t.TempDir(), "ck"), 3<<20)
			if same, err := replica.Same(t.Context(), other, to); same || err != nil {
				t.Errorf("another save is the same: %t, %v", same, err)
			}
			if err := replica.Copy(t.Context(), other, to, replica.Options{}); !errors.Is(err, fs.ErrExist) {
				t.Errorf("again: %v", err)
			}
			if err := replica.Copy(t.Context(), other, to, replica.Options{Replace: proof.Replaced(to.Store)}); err != nil {
				t.Error(err)
			}
			if same, err := replica.Same(t.Context(), other, to); !same || err != nil {
				t.Errorf("after the replacement: %t, %v", same, err)
			}
		})
	}
}

// Each copy in a store that needs a marker has one of its own, also the copy of such a copy.
func TestMarks(t *testing.T) {
	store := object.New(&membucket.Bucket{Weak: true}, object.Options{})
	marks := map[string]string{}
	from := saved(t, filepath.Join(t.TempDir(), "ck"), 1000)
	for _, name := range []string{"a", "b", "c"} {
		to := storage.At(store, name)
		if err := replica.Copy(t.Context(), from, to, replica.Options{}); err != nil {
			t.Fatal(err)
		}
		mark, err := transfer.ReadFile(t.Context(), to, layout.CommitFile, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := marks[string(mark)]; taken {
			t.Errorf("%s and %s have the same mark", name, other)
		}
		marks[string(mark)] = name
		if err := orbax.Verify(t.Context(), name, orbax.In(store)); err != nil {
			t.Error(err)
		}
		if same, err := replica.Same(t.Context(), from, to); !same || err != nil {
			t.Errorf("%s is the same: %t, %v", name, same, err)
		}
		from = to
	}
}

// A checkpoint that is replaced or damaged while it is copied, or refused at the end, leaves
// no copy.
func TestCopyThatIsGivenUp(t *testing.T) {
	boom := errors.New("boom")
	for what, c := range map[string]struct {
		change func(t *testing.T, path string) error
		want   error
	}{
		"refused": {func(*testing.T, string) error { return boom }, boom},
		"replaced": {func(t *testing.T, path string) error {
			saved(t, path, 10, orbax.Overwrite())
			return nil
		}, replica.ErrChanged},
		"removed": {func(t *testing.T, path string) error { return orbax.Delete(t.Context(), path) }, fs.ErrNotExist},
	} {
		for name, to := range destinations(t) {
			path := filepath.Join(t.TempDir(), "ck")
			from := saved(t, path, 10)
			err := replica.Copy(t.Context(), from, to, replica.Options{Accept: func(context.Context) error { return c.change(t, path) }})
			if !errors.Is(err, c.want) {
				t.Errorf("%s, to the %s: %v", what, name, err)
			}
			wantNothing(t, to)
		}
	}
	for name, to := range destinations(t) { // a document that does not have its digest
		path := filepath.Join(t.TempDir(), "ck")
		from := saved(t, path, 10)
		if err := os.WriteFile(filepath.Join(path, "state", "_METADATA"), []byte("{}"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := replica.Copy(t.Context(), from, to, replica.Options{}); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("a damaged document, to the %s: %v", name, err)
		}
		wantNothing(t, to)
	}
}

func wantNothing(t *testing.T, at storage.Location) {
	t.Helper()
	if infos, err := at.Dir().List(t.Context()); err == nil && len(infos) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left %v, %v", infos, err)
	}
}

// If any operation on the destination fails, there is a whole copy or none.
func TestCopyThatFails(t *testing.T) {
	from := saved(t, filepath.Join(t.TempDir(), "ck"), 1000)
	boom := errors.New("boom")
	for name := range destinations(t) {
		for n := int64(0); ; n++ {
			to := destinations(t)[name]
			plain := to
			var count atomic.Int64
			to.Store = failstore.New(to.Store, func(op, name string) error {
				if count.Add(1) == n+1 {
					return boom
				}
				return nil
			})
			err := replica.Copy(t.Context(), from, to, replica.Options{})
			if err == nil {
				if n < 10 {
					t.Errorf("only %d operations", n)
				}
				break
			}
			if !errors.Is(err, boom) {
				t.Errorf("operation %d: %v", n, err)
			}
			wantNothing(t, plain)
		}
	}
}
