package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// failsFirst is a store whose first listing fails.
type failsFirst struct {
	storage.Store
	calls *int
}

func (s failsFirst) List(ctx context.Context, name string) ([]storage.Info, error) {
	if *s.calls++; *s.calls == 1 {
		return nil, errors.New("503")
	}
	return s.Store.List(ctx, name)
}

func (failsFirst) Confined(string, bool) storage.Store { return nil }

func (failsFirst) Snapshot(context.Context, string) (storage.Store, error) { return nil, nil }

// TestFinalizeLine finalizes a session that cannot be described, and then one that does not
// exist any more.
func TestFinalizeLine(t *testing.T) {
	store := failsFirst{mem.New(), new(int)}
	if err := partial.Save(t.Context(), "c d", map[string]any{"x": 1}, orbax.In(store.Store)); err != nil {
		t.Fatal(err)
	}
	for _, before := range []bool{false, true} {
		var out, errs bytes.Buffer
		status := Run(t.Context(), []string{"partial", "finalize", "c d"}, Config{Out: &out, Err: &errs, Store: store})
		if status != exitOK || !strings.HasPrefix(out.String(), "c d  ") || strings.Contains(out.String(), "was finalized before") != before {
			t.Errorf("status %d, %q, %q; finalized before: %v", status, out.String(), errs.String(), before)
		}
	}
}
