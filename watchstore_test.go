package orbax_test

import (
	"context"
	"maps"
	"path"
	"slices"
	"sync"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// A watch sees what is read of the local disk through its store.
type watch struct {
	// before, if set, is called before each read of bytes, with its number from 1
	// on. An error of it is that of the read.
	before func(ctx context.Context, n int) error

	mu    sync.Mutex
	count int              // of reads
	bytes map[string]int64 // by file, at its path on the disk
}

// in returns the local disk on which w sees what is read.
func (w *watch) in() orbax.StoreOption { return orbax.In(watchedStore{storage.Local(), w}) }

// reset forgets what has been read.
func (w *watch) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count, w.bytes = 0, nil
}

// total returns the number of bytes that were read, data the number of those that
// are no document's.
func (w *watch) total() (total, data int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, b := range w.bytes {
		total += b
		if base := path.Base(name); base[0] != '_' && path.Ext(base) != ".json" {
			data += b
		}
	}
	return total, data
}

// files returns the names of the files of which bytes were read.
func (w *watch) files() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.bytes))
}

func (w *watch) read(ctx context.Context, name string, n int) error {
	w.mu.Lock()
	w.count++
	count := w.count
	if w.bytes == nil {
		w.bytes = map[string]int64{}
	}
	w.bytes[name] += int64(n)
	w.mu.Unlock()
	if w.before != nil {
		return w.before(ctx, count)
	}
	return nil
}

type watchedStore struct {
	storage.Store
	watch *watch
}

func (s watchedStore) Confined(root string, outside bool) storage.Store {
	return watchedStore{storage.Confine(s.Store, root, outside), s.watch}
}

func (s watchedStore) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	in, err := s.Store.Snapshot(ctx, dir)
	if in == nil || err != nil {
		return nil, err
	}
	return watchedStore{in, s.watch}, nil
}

func (s watchedStore) Open(ctx context.Context, name string) (storage.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return watchedReader{r, name, s.watch}, nil
}

type watchedReader struct {
	storage.Reader
	name  string
	watch *watch
}

func (r watchedReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := r.watch.read(ctx, r.name, len(p)); err != nil {
		return err
	}
	return r.Reader.ReadAt(ctx, p, off)
}
