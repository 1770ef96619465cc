package orbax_test

import (
	"errors"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// A process that dies in the middle of a removal in an object store leaves files that are no
// checkpoint. Whoever saves or deletes there finds that another writer is at work, and not
// that something foreign is in the way. Once the claim has expired, it succeeds.
func TestHalfRemoved(t *testing.T) {
	ctx := t.Context()
	state := map[string]any{"a": make([]float32, 1000)}
	for name, do := range map[string]func(store *object.Store) error{
		"save": func(store *object.Store) error {
			return orbax.Save(ctx, "run/ck", state, orbax.In(store), orbax.Overwrite())
		},
		"delete": func(store *object.Store) error { return orbax.Delete(ctx, "run/ck", orbax.In(store)) },
	} {
		for _, left := range []string{"_METADATA", "_sharding", "manifest.ocdbt", "go-orbax.places", "d"} {
			t.Run(name+" "+left, func(t *testing.T) {
				t.Parallel()
				var skew atomic.Int64
				bucket := &membucket.Bucket{Clock: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }}
				store := object.New(bucket, object.Options{})
				if err := orbax.Save(ctx, "run/ck", state, orbax.In(store)); err != nil {
					t.Fatal(err)
				}
				deletions := 0
				dying := object.New(&failstore.Bucket{Bucket: bucket, Fail: func(op, _ string) error {
					if op == "Delete" {
						deletions++
					}
					if deletions > 1 { // the marker is gone
						return errors.New("this process is dead")
					}
					return nil
				}}, object.Options{Patience: time.Second})
				if err := orbax.Delete(ctx, "run/ck", orbax.In(dying)); err == nil {
					t.Fatal("the removal has not died")
				}
				// The service has done a part of the next request.
				var gone []object.Ref
				for _, key := range bucket.Keys() {
					if strings.HasPrefix(key, "run/ck/") && path.Base(key) != left && path.Base(path.Dir(key)) != left {
						gone = append(gone, object.Ref{Key: key})
					}
				}
				if err := bucket.Delete(ctx, gone); err != nil {
					t.Fatal(err)
				}
				if err := do(store); !errors.Is(err, orbax.ErrBusy) {
					t.Errorf("while the claim counts: got the error %v, want %v", err, orbax.ErrBusy)
				}
				skew.Store(int64(time.Hour))
				if err := do(store); err != nil && !(name == "delete" && errors.Is(err, orbax.ErrNotExist)) {
					t.Errorf("after that: %v", err)
				}
				if name == "delete" && len(bucket.Keys()) > 0 {
					t.Errorf("these are left: %q", bucket.Keys())
				}
			})
		}
	}
}
