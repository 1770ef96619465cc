package partial_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
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
