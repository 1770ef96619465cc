package mem_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/storage/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (storage.Store, string) { return mem.New(), "dir" })
}

// The error of a commit whose old directory stays says where both are.
func TestReplacedIsLeft(t *testing.T) {
	store := mem.New()
	looks := 0
	look := func(context.Context, string) ([]storage.Item, error) {
		if looks++; looks > 1 {
			return nil, errors.New("changed")
		}
		return nil, nil
	}
	var err error
	for range 2 {
		stage, berr := store.Begin(t.Context(), "dir/ck", storage.BeginOptions{Replace: look})
		if berr != nil {
			t.Fatal(berr)
		}
		w, werr := stage.Create(t.Context(), "file", 0)
		if werr != nil || w.Close() != nil {
			t.Fatal(werr)
		}
		err = stage.Commit(t.Context())
		looks = 1
	}
	if !errors.Is(err, fault.ErrInPlace) || !strings.HasPrefix(err.Error(), "dir/ck: the checkpoint is in place; what it replaced is left in dir/ck.orbax-checkpoint-tmp-") {
		t.Errorf("got %v", err)
	}
}
