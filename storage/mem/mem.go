// Package mem provides a store in memory. It is for tests of programs that save, and for
// checkpoints that end with the process.
//
//	store := mem.New()
//	err := orbax.Save(ctx, "run/step_1", state, orbax.In(store))
package mem

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// Store is a [storage.Store] that keeps all files in memory. "." is the root; "/name" and
// "name" are the same. It works as the local disk does: a directory that is being written
// has a temporary name until it is committed. It has no symbolic links and no limit of
// room. Its writers die only with the process, so they leave a directory only where an error
// says so.
//
// A save copies the data once, and keeps that copy for as long as the file exists. Linked
// files share their data.
type Store struct {
	storage.Base
	mu      sync.RWMutex
	root    *node
	claims  map[string]bool   // directories that have a writer
	stages  map[string]*stage // stages that have not ended, by temporary name
	changes uint64            // source of versions and temporary names
}

// New returns an empty store.
func New() *Store {
	s := &Store{claims: map[string]bool{}, stages: map[string]*stage{}}
	s.root = s.newDir()
	return s
}

// node is a file or a directory. Store.mu guards all nodes, and the bytes of each file
// whose writer is closed.
type node struct {
	entries map[string]*node // of a directory; nil for a file
	file    *file
	time    time.Time
	version uint64
}

// file has the bytes of one node, or of several that are linked.
type file struct {
	mu    sync.RWMutex
	data  []byte
	whole bool // the writer is closed: data does not change any more
}

func (s *Store) newDir() *node {
	d := &node{entries: map[string]*node{}}
	s.touch(d)
	return d
}

func (s *Store) touch(n *node) {
	s.changes++
	n.time, n.version = time.Now(), s.changes
}

// put gives n a name in the directory d.
func (s *Store) put(d *node, name string, n *node) {
	d.entries[name] = n
	s.touch(d)
}

// drop removes a name from the directory d.
func (s *Store) drop(d *node, name string) {
	delete(d.entries, name)
	s.touch(d)
}

// clean returns the canonical spelling of a name.
func clean(name string) string {
	name = path.Clean("/" + name)[1:]
	if name == "" {
		return "."
	}
	return name
}

func missing(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

// at returns the node with a name below d, or nil.
func (d *node) at(name string) *node {
	if name == "." {
		return d
	}
	for element := range strings.SplitSeq(name, "/") {
		if d == nil || d.entries == nil {
			return nil
		}
		d = d.entries[element]
	}
	return d
}

// mkdirs returns the directory with a name below d, and creates it if it is missing.
func (s *Store) mkdirs(d *node, name string) (*node, error) {
	if name == "." {
		return d, nil
	}
	for element := range strings.SplitSeq(name, "/") {
		next := d.entries[element]
		if next == nil {
			next = s.newDir()
			s.put(d, element, next)
		}
		if next.entries == nil {
			return nil, fmt.Errorf("%s: %q is not a directory", name, element)
		}
		d = next
	}
	return d, nil
}

func (n *node) info(name string) storage.Info {
	info := storage.Info{Name: path.Base(name), Dir: n.entries != nil, ModTime: n.time, Version: strconv.FormatUint(n.version, 16)}
	if n.file != nil {
		n.file.mu.RLock()
		defer n.file.mu.RUnlock()
		info.Size = int64(len(n.file.data))
	}
	return info
}

// Properties says that the store can do everything.
func (*Store) Properties() storage.Properties {
	return storage.Properties{Rename: true, Marker: true, Edit: true, Links: storage.LinkHard}
}

// Locks returns true, because writers die only with the process.
func (*Store) Locks(context.Context, string) bool { return true }

// Open returns the bytes of a file as they are now. They can be read even after the file
// has been removed.
func (s *Store) Open(ctx context.Context, name string) (storage.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := s.root.at(clean(name))
	switch {
	case n == nil:
		return nil, missing("open", name)
	case n.file == nil:
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	n.file.mu.RLock()
	defer n.file.mu.RUnlock()
	if !n.file.whole {
		return storage.BytesReader(slices.Clone(n.file.data)), nil
	}
	return storage.BytesReader(n.file.data), nil
}

// Stat describes a file or a directory.
func (s *Store) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := s.root.at(clean(name))
	if n == nil {
		return storage.Info{}, missing("stat", name)
	}
	return n.info(clean(name)), nil
}

// List returns the entries of a directory at one moment.
func (s *Store) List(ctx context.Context, dir string) ([]storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	d := s.root.at(clean(dir))
	switch {
	case d == nil:
		return nil, missing("list", dir)
	case d.entries == nil:
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fmt.Errorf("not a directory")}
	}
	infos := make([]storage.Info, 0, len(d.entries))
	for _, name := range slices.Sorted(maps.Keys(d.entries)) {
		infos = append(infos, d.entries[name].info(name))
	}
	return infos, nil
}

// checkName refuses names that lead out of the directory that is being written.
func checkName(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !fs.ValidPath(name) {
		return fmt.Errorf("%w: %q", fault.ErrReservedName, name)
	}
	return nil
}
