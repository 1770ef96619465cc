package rawarray_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/rawarray"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// noTimes does not know when anything was changed.
type noTimes struct{ storage.Store }

func (s noTimes) Stat(ctx context.Context, name string) (storage.Info, error) {
	info, err := s.Store.Stat(ctx, name)
	info.ModTime = time.Time{}
	return info, err
}

// A read of a file that was written anew with as many bytes fails, whether or not the
// store knows when it was.
func TestRewritten(t *testing.T) {
	ctx, must := t.Context(), orbaxtest.Must
	for name, store := range map[string]storage.Store{"times": mem.New(), "no times": noTimes{mem.New()}} {
		stage, err := store.Begin(ctx, "a", storage.BeginOptions{})
		must(t, err)
		must(t, stage.Commit(ctx))
		put := func(data string) {
			edit, err := store.Edit(ctx, "a")
			must(t, err)
			must(t, edit.Put(ctx, "file", []byte(data), true))
			must(t, edit.Close())
		}
		put("one")
		at := storage.At(store, "a")
		dir, err := rawarray.Open(ctx, ckdir.NewReadDir(ckdir.Place{Root: at, Name: "."}), at, "file")
		must(t, err)
		must(t, dir.Unchanged(ctx, nil))
		put("two")
		if err := dir.Unchanged(ctx, nil); !errors.Is(err, fault.ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
