package found

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// pinned is a snapshot that remembers whether a file was found to have changed since. The
// error of that read may end in the description of a leaf.
type pinned struct {
	storage.Store
	stale *atomic.Bool
}

// pin returns at in a snapshot of its directory, or in its own store and nil if that makes
// none.
func pin(ctx context.Context, at storage.Location) (storage.Location, *atomic.Bool, error) {
	snapshot, err := at.Store.Snapshot(ctx, at.Name)
	if snapshot == nil || err != nil {
		if isAbsent(err) {
			err = nil // lookFile finds out
		}
		return at, nil, err
	}
	stale := new(atomic.Bool)
	at.Store = pinned{snapshot, stale}
	return at, stale, nil
}

func (s pinned) note(err error) error {
	if errors.Is(err, fault.ErrBusy) {
		s.stale.Store(true)
	}
	return err
}

func (s pinned) Confined(root string, outside bool) storage.Store {
	return pinned{storage.Confine(s.Store, root, outside), s.stale}
}

func (s pinned) Open(ctx context.Context, name string) (storage.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	if err != nil {
		return nil, s.note(err)
	}
	if b, ok := r.(storage.BuffersReader); ok {
		return pinnedBuffers{pinnedReader{r, s}, b}, nil
	}
	return pinnedReader{r, s}, nil
}

type pinnedReader struct {
	storage.Reader
	in pinned
}

func (r pinnedReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	return r.in.note(r.Reader.ReadAt(ctx, p, off))
}

// pinnedBuffers is a pinnedReader that fills several buffers in one operation.
type pinnedBuffers struct {
	pinnedReader
	buffers storage.BuffersReader
}

func (r pinnedBuffers) ReadBuffers(ctx context.Context, off int64, bufs ...[]byte) error {
	return r.in.note(r.buffers.ReadBuffers(ctx, off, bufs...))
}
