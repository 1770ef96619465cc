package orbax_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// oneRead is a store that should get one read at a time, and counts them.
type oneRead struct {
	storage.Store
	now, most *atomic.Int32
}

func (s oneRead) Properties() storage.Properties {
	p := s.Store.Properties()
	p.Concurrency = 1
	return p
}

func (s oneRead) Confined(root string, outside bool) storage.Store {
	return oneRead{storage.Confine(s.Store, root, outside), s.now, s.most}
}

func (s oneRead) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	in, err := s.Store.Snapshot(ctx, dir)
	if in == nil || err != nil {
		return nil, err
	}
	return oneRead{in, s.now, s.most}, nil
}

func (s oneRead) Open(ctx context.Context, name string) (storage.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	return oneReader{r, s}, err
}

type oneReader struct {
	storage.Reader
	s oneRead
}

func (r oneReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.s.most.Store(max(r.s.most.Load(), r.s.now.Add(1)))
	time.Sleep(50 * time.Microsecond)
	defer r.s.now.Add(-1)
	return r.Reader.ReadAt(ctx, p, off)
}

// One load obeys the Concurrency of its store, also where it reads documents.
func TestConcurrencyOfReads(t *testing.T) {
	ctx := t.Context()
	state := map[string]any{}
	for i := range 60 {
		state[fmt.Sprint("a", i)] = make([]float32, 2000)
	}
	store := oneRead{mem.New(), new(atomic.Int32), new(atomic.Int32)}
	for path, s := range map[string]handler.StorageOptions{"plain": {PlainFiles: true}, "db": {DataFileSize: 10_000}} {
		if err := orbax.Save(ctx, path, state, orbax.Storage(s), orbax.In(store)); err != nil {
			t.Fatal(err)
		}
		for what, do := range map[string]func() error{
			"load":   func() error { _, err := orbax.Load(ctx, path, orbax.In(store)); return err },
			"verify": func() error { return orbax.Verify(ctx, path, orbax.In(store)) },
			"hash":   func() error { _, err := orbax.Hash(ctx, path, orbax.In(store)); return err },
		} {
			store.most.Store(0)
			if err := do(); err != nil || store.most.Load() != 1 {
				t.Errorf("%s of %s: %v, %d reads at the same time, want 1", what, path, err, store.most.Load())
			}
		}
	}
}
