package partial_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// Saves of one session wait for each other, and Finalize waits for all saves that began
// earlier.
func TestAsync(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ck")
	whole := map[string]any{}
	var responses []*orbax.AsyncResponse
	for i := range 8 {
		key, w := fmt.Sprint("w", i), large(i)
		whole[key] = large(i)
		resp, err := partial.SaveAsync(ctx, path, map[string]any{key: w}, orbax.CustomMetadata(map[string]any{"last": i}))
		must(t, err)
		clear(w) // the save has its own copy
		responses = append(responses, resp)
	}
	again, err := partial.SaveAsync(ctx, path, map[string]any{"w0": 1})
	if err == nil { // the first had not finished
		err = again.Result(ctx)
	}
	if !errors.Is(err, orbax.ErrKeyCollision) {
		t.Errorf("a key that is being saved: %v", err)
	}
	must(t, partial.Finalize(ctx, path+".partial_save"))
	for _, resp := range responses {
		must(t, resp.Result(ctx))
	}
	wantSame(t, path, whole)
	meta, err := orbax.Metadata(ctx, path)
	must(t, err)
	if custom := meta.Custom.(map[string]any); custom["last"] != 7 {
		t.Errorf("custom metadata %v: not in the order of the saves", custom)
	}
}

// Of several calls that do the same at once, each succeeds or reports what another did.
func TestTogether(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ck")
	var group sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		group.Go(func() { errs[i] = partial.Save(ctx, path, map[string]any{"x": i}) })
	}
	group.Wait()
	saved := 0
	for _, err := range errs {
		if err == nil {
			saved++
		} else if !errors.Is(err, orbax.ErrKeyCollision) {
			t.Error(err)
		}
	}
	if saved != 1 {
		t.Errorf("%d have saved x", saved)
	}
	for i := range errs {
		group.Go(func() { errs[i] = partial.Finalize(ctx, path) })
	}
	group.Wait()
	for _, err := range errs {
		must(t, err)
	}
}

// held is a store in which a save waits before it begins to write.
type held struct {
	storage.Store
	began, release chan struct{}
}

func (h held) Begin(ctx context.Context, dir string, o storage.BeginOptions) (storage.Stage, error) {
	close(h.began)
	<-h.release
	return h.Store.Begin(ctx, dir, o)
}

// A save waits for those to the same session, until its context ends, and not for those
// to a session of the same name in another store.
func TestSameNameInTwoStores(t *testing.T) {
	part := map[string]any{"a": []float32{1}}
	store := held{mem.New(), make(chan struct{}), make(chan struct{})}
	first := make(chan error, 1)
	go func() { first <- partial.Save(t.Context(), "ck", part, orbax.In(store)) }()
	<-store.began

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	other := orbax.In(mem.New())
	if err := partial.Save(ctx, "ck", part, other); err != nil {
		t.Errorf("a save in another store: %v", err)
	}
	if err := partial.Finalize(ctx, "ck", other); err != nil {
		t.Errorf("a finalize in another store: %v", err)
	}

	impatient := errors.New("it takes too long")
	short, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, impatient)
	defer cancel()
	for what, err := range map[string]error{
		"a save":     partial.Save(short, "ck", map[string]any{"b": 1}, orbax.In(store)),
		"a finalize": partial.Finalize(short, "ck", orbax.In(store)),
		"an abort":   partial.Abort(short, "ck", orbax.In(store)),
	} {
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, impatient) {
			t.Errorf("%s in the same store: %v", what, err)
		}
	}
	close(store.release)
	must(t, <-first)
}

// notComparable cannot be the key of a map.
type notComparable struct {
	storage.Store
	_ []int
}

func TestStoreThatCannotBeCompared(t *testing.T) {
	in := orbax.In(notComparable{Store: mem.New()})
	must(t, partial.Save(t.Context(), "ck", map[string]any{"a": 1}, in))
	must(t, partial.Finalize(t.Context(), "ck", in))
	ck, err := orbax.Open(t.Context(), "ck", in)
	must(t, err)
	_, err = ck.Load(t.Context(), in)
	must(t, errors.Join(err, ck.Close()))
}
