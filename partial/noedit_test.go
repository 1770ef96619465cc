package partial_test

import (
	"errors"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// noEdit is a store that cannot change what has been saved.
type noEdit struct{ storage.Store }

func (s noEdit) Properties() storage.Properties {
	p := s.Store.Properties()
	p.Edit = false
	return p
}

// In a store that cannot remove a session, none begins.
func TestStoreWithoutEdit(t *testing.T) {
	ctx := t.Context()
	store := mem.New()
	in := orbax.In(noEdit{store})
	err := partial.Save(ctx, "d/ck", map[string]any{"a": 1}, in)
	if !errors.Is(err, orbax.ErrUnsupported) {
		t.Errorf("Save: got %v, want ErrUnsupported", err)
	}
	if _, err := partial.SaveAsync(ctx, "d/ck", map[string]any{"a": 1}, in); !errors.Is(err, orbax.ErrUnsupported) {
		t.Errorf("SaveAsync: got %v, want ErrUnsupported", err)
	}
	if entries, err := store.List(ctx, "d"); len(entries) > 0 {
		t.Errorf("got %v, %v: something was written", entries, err)
	}
	must(t, orbax.Save(ctx, "d/ck", map[string]any{"a": 1}, in))
}
