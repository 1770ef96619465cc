package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/heap"
	"github.com/go-orbax/orbax/internal/race"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// discarding is a bucket that forgets the parts of what is uploaded, so that a test can
// measure the memory of a save alone.
type discarding struct{ *membucket.Bucket }

func (b discarding) Upload(context.Context, string, int64, object.PutOptions) (object.Upload, error) {
	return discardingUpload{}, nil
}

type discardingUpload struct{}

func (discardingUpload) Part(context.Context, int, int64, [][]byte) error { return nil }
func (discardingUpload) Complete(context.Context) (object.Info, error)    { return object.Info{}, nil }
func (discardingUpload) Abort(context.Context) error                      { return nil }

// Saving to an object store, and loading and verifying there, takes little memory beyond the
// state, and allocates little again and again: with a large state, garbage is collected late.
func TestMemoryOfObjectStore(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("it takes 512 MB")
	}
	const size, most = 256 << 20, 96 << 20
	state := map[string][]float32{}
	for i := range 40 {
		state[fmt.Sprint("w", i)] = make([]float32, size/4/50)
	}
	state["large"] = make([]float32, size/4/5)
	ctx := t.Context()
	measure := func(what string, mostGarbage int64, f func() error) {
		t.Helper()
		var err error
		var peak int64
		garbage := heap.Allocated(func() { peak = heap.Peak(func() { err = f() }) })
		t.Logf("%s: %d MiB, %d KiB allocated", what, peak>>20, garbage>>10)
		if err != nil || peak > most || garbage > mostGarbage {
			t.Errorf("%s: %v, with %d MiB beyond the state, and %d allocated; want at most %d and %d", what, err, peak>>20, garbage>>20, most>>20, mostGarbage>>20)
		}
	}
	measure("save", size/6, func() error {
		return orbax.Save(ctx, "ck", state, orbax.In(object.New(discarding{membucket.New()}, object.Options{})))
	})
	in := orbax.In(object.New(membucket.New(), object.Options{}))
	if err := orbax.Save(ctx, "ck", state, in); err != nil {
		t.Fatal(err)
	}
	measure("load", size/32, func() error { return orbax.LoadInto(ctx, "ck", &state, in) })
	measure("verify", size/4, func() error { return orbax.Verify(ctx, "ck", in) })
	measure("hash", size/4, func() error {
		ck, err := orbax.Open(ctx, "ck", in)
		if err != nil {
			return err
		}
		_, err = ck.Hash(ctx)
		return errors.Join(err, ck.Close())
	})
}
