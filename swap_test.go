package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/storage"
)

// swapStore is a store in which one checkpoint, "ckpt", takes the place of another at a
// chosen access.
type swapStore struct {
	storage.Base
	mu       sync.Mutex
	old, new storage.Store
	at, n    int // the swap is at the at-th access
}

func (s *swapStore) access() storage.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n++; s.n >= s.at {
		return s.new
	}
	return s.old
}

func (s *swapStore) Open(ctx context.Context, name string) (storage.Reader, error) {
	return s.access().Open(ctx, name)
}

func (s *swapStore) Stat(ctx context.Context, name string) (storage.Info, error) {
	return s.access().Stat(ctx, name)
}

func (s *swapStore) List(ctx context.Context, name string) ([]storage.Info, error) {
	return s.access().List(ctx, name)
}

// TestReplacedAtEveryAccess replaces a checkpoint at each access of a read in
// turn. The outcome is that of the old or the new checkpoint, or ErrBusy, or,
// where it was removed, ErrNotExist: never damage, and never a mixture.
func TestReplacedAtEveryAccess(t *testing.T) {
	ctx := t.Context()
	saved := func(parts map[string]any) files {
		path := filepath.Join(t.TempDir(), "ckpt")
		if err := orbax.SaveCheckpointables(ctx, path, parts); err != nil {
			t.Fatal(err)
		}
		return readFiles(t, path)
	}
	of := func(n int) map[string]any {
		return map[string]any{"state": map[string]any{"w": make([]float32, n), "q": "x"}}
	}
	small, large := saved(of(1000)), saved(of(2000))
	other := saved(map[string]any{"params": map[string]any{"z": make([]float32, 2000)}})
	json := func(key string) files {
		parts := of(3)
		parts["cfg"] = handler.JSON{Value: map[string]int{key: 1}}
		return saved(parts)
	}
	for name, c := range map[string]struct {
		old, new files
		read     func(in orbax.StoreOption) error
	}{
		"Load":              {small, other, func(in orbax.StoreOption) error { _, err := orbax.Load(ctx, "ckpt", in); return err }},
		"Load, foreign":     {foreign(small), foreign(other), func(in orbax.StoreOption) error { _, err := orbax.Load(ctx, "ckpt", in); return err }},
		"Load, removed":     {foreign(small), files{}, func(in orbax.StoreOption) error { _, err := orbax.Load(ctx, "ckpt", in); return err }},
		"Metadata, foreign": {foreign(small), foreign(other), func(in orbax.StoreOption) error { _, err := orbax.Metadata(ctx, "ckpt", in); return err }},
		"Verify":            {small, large, func(in orbax.StoreOption) error { return orbax.Verify(ctx, "ckpt", in) }},
		"LoadInto": {small, other, func(in orbax.StoreOption) error {
			var v any
			return orbax.LoadInto(ctx, "ckpt", &v, in)
		}},
		"LoadAs": {small, large, func(in orbax.StoreOption) error {
			_, err := orbax.LoadAs[struct {
				W *array.Array `orbax:"w"`
				Q string       `orbax:"q"`
			}](ctx, "ckpt", in)
			return err
		}},
		"LoadCheckpointables": {json("old"), json("new"), func(in orbax.StoreOption) error {
			m := map[string]int{}
			_, err := orbax.LoadCheckpointables(ctx, "ckpt", map[string]any{"cfg": handler.JSON{Value: &m}, "state": nil}, in)
			if err == nil && len(m) != 1 {
				return fmt.Errorf("a mixture: %v", m)
			}
			return err
		}},
		"Tree, foreign": {foreign(small), foreign(large), func(in orbax.StoreOption) error {
			ck, err := orbax.Open(ctx, "ckpt", in)
			if err != nil {
				return err
			}
			defer ck.Close()
			tree, err := ck.Tree(ctx)
			if err != nil {
				return err
			}
			_, err = tree.Load(ctx)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for at := 1; ; at++ {
				s := &swapStore{old: c.old.store(), new: c.new.store(), at: at}
				err := c.read(orbax.In(s))
				if s.n < at {
					t.Logf("%d accesses", s.n)
					break
				}
				removed := len(c.new) == 0 && errors.Is(err, orbax.ErrNotExist)
				if err != nil && !errors.Is(err, orbax.ErrBusy) && !removed {
					t.Errorf("replaced at access %d: %v", at, err)
				}
			}
		})
	}
}
