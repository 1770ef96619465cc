package found

import (
	"context"
	"errors"
	"path"
	"sync/atomic"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// pinned is a snapshot that remembers whether a file was found to have changed since. The
// error of that read may end in the description of a leaf.
type pinned struct {
	storage.Store
	stale *atomic.Bool
	// kept are documents of the checkpoint, by their names in the store, that need not be
	// read: the digest file has copies.
	kept map[string][]byte
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
	at.Store = pinned{snapshot, stale, map[string][]byte{}}
	return at, stale, nil
}

func (s pinned) note(err error) error {
	if errors.Is(err, fault.ErrBusy) {
		s.stale.Store(true)
	}
	return err
}

func (s pinned) Confined(root string, outside bool) storage.Store {
	return pinned{storage.Confine(s.Store, root, outside), s.stale, s.kept}
}

// keep takes the copies that the digest file has of the documents at a location. A
// document that was written after the mark of the commit, or has another length, is not the
// one that was copied.
func (s pinned) keep(ctx context.Context, at storage.Location, digests *layout.Digests) {
	mark, err := at.Join(layout.CommitFile).Stat(ctx)
	if err != nil {
		return
	}
	for name, doc := range digests.Kept() {
		info, err := at.Join(name).Stat(ctx)
		if err == nil && !info.Dir && info.Size == int64(len(doc)) && !info.ModTime.After(mark.ModTime) && !info.ModTime.IsZero() {
			s.kept[at.Join(name).Name] = doc
		}
	}
}

func (s pinned) Open(ctx context.Context, name string) (storage.Reader, error) {
	if doc, ok := s.kept[path.Clean(name)]; ok {
		return storage.BytesReader(doc), ctx.Err()
	}
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
