package proof

import (
	"context"
	"path"
	"sync"

	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// ahead is a snapshot of a directory whose small documents have been read together, because
// each read is a request that takes its time.
type ahead struct {
	storage.Store
	docs map[string][]byte // by name in the store
}

const (
	maxAhead      = 64 << 10 // bytes of such a file
	maxAheadFiles = 64
	maxAheadDirs  = 64
)

// readAhead returns the store in which dir is examined: a snapshot of it if the store makes
// one. Reading a file that could not be read ahead reports the error.
func readAhead(ctx context.Context, store storage.Store, dir string) storage.Store {
	snapshot, err := store.Snapshot(ctx, dir)
	if snapshot == nil || err != nil {
		return store // a look at it reports what is wrong
	}
	a := ahead{snapshot, map[string][]byte{}}
	var names []string
	dirs := []string{path.Clean(dir)}
	for n := 0; n < len(dirs) && n < maxAheadDirs; n++ {
		infos, err := snapshot.List(ctx, dirs[n])
		if err != nil {
			return snapshot
		}
		for _, info := range infos {
			switch name := path.Join(dirs[n], info.Name); {
			case info.Dir:
				dirs = append(dirs, name)
			case info.Size <= maxAhead && len(names) < maxAheadFiles && (isTreeFile(info.Name) || rootCheck(info.Name) != nil):
				names = append(names, name)
			}
		}
	}
	var mu sync.Mutex
	var group parallel.Group
	group.SetLimit(transfer.AtOnce(store.Properties(), 16))
	for _, name := range names {
		group.Go(func() error {
			doc, longer, err := transfer.ReadUpTo(ctx, storage.At(snapshot, path.Dir(name)), path.Base(name), maxAhead)
			if err == nil && !longer {
				mu.Lock()
				defer mu.Unlock()
				a.docs[name] = doc
			}
			return nil
		})
	}
	if group.Wait() != nil {
		return snapshot
	}
	return a
}

// Confined returns nil: the snapshot has the bounds of its store.
func (ahead) Confined(string, bool) storage.Store { return nil }

func (a ahead) Open(ctx context.Context, name string) (storage.Reader, error) {
	if doc, ok := a.docs[path.Clean(name)]; ok {
		return storage.BytesReader(doc), ctx.Err()
	}
	return a.Store.Open(ctx, name)
}
