// Package mem has a store in memory: for the tests of a program that saves, and for
// checkpoints that need not outlive the process.
//
//	store := mem.New()
//	err := orbax.Save(ctx, "run/step_1", state, orbax.In(store))
package mem

import (
	"context"
	"fmt"
	"io"
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

// Store is a [storage.Store] that keeps everything in memory. Names are relative or begin
// with a slash, which means the same; "." is the root. It does all that the local disk
// does, in the same way: a directory that is written has a temporary name beside its path
// until it is committed. There are no symbolic links, and no limit of room. No writer dies
// but with the process, so nothing is ever left.
//
// Writing, and what was written for as long as it is kept, takes the memory of the data
// once. Files that are linked share it.
type Store struct {
	storage.Base
	mu      sync.RWMutex
	root    *node
	claims  map[string]bool   // the directories that have a writer
	stages  map[string]*stage // that have not ended, by temporary name
	changes uint64            // counts what becomes versions and temporary names
}

// New returns an empty store.
func New() *Store {
	s := &Store{claims: map[string]bool{}, stages: map[string]*stage{}}
	s.root = s.newDir()
	return s
}

// node is a file or a directory. Store.mu guards all nodes, and the bytes of a file from
// the time when its writer is closed.
type node struct {
	entries map[string]*node // of a directory; nil for a file
	file    *file
	time    time.Time
	version uint64
}

// file has the bytes of one or more nodes.
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

// drop takes a name away.
func (s *Store) drop(d *node, name string) {
	delete(d.entries, name)
	s.touch(d)
}

// clean returns a name in one spelling.
func clean(name string) string {
	name = path.Clean("/" + name)[1:]
	if name == "" {
		return "."
	}
	return name
}

func missing(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

// at returns what has a name below d, or nil.
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

// mkdirs returns the directory with a name below d, which is made if it is missing.
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

// Properties returns those of a store that has everything.
func (*Store) Properties() storage.Properties {
	return storage.Properties{Rename: true, Marker: true, Edit: true, Links: storage.LinkHard}
}

// Locks reports that there are no dead writers.
func (*Store) Locks(context.Context, string) bool { return true }

// Open returns the bytes of a file as they are now: it can be read after it has been removed.
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
		return reader(slices.Clone(n.file.data)), nil
	}
	return reader(n.file.data), nil
}

type reader []byte

func (r reader) Size() int64  { return int64(len(r)) }
func (r reader) Close() error { return nil }

func (r reader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < 0 || off > int64(len(r)) || int64(len(p)) > int64(len(r))-off {
		return io.ErrUnexpectedEOF
	}
	copy(p, r[off:])
	return nil
}

// Stat describes what has a name.
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

// List returns the entries of a directory at one instant.
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

// checkName refuses names that lead out of the directory that is written.
func checkName(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !fs.ValidPath(name) {
		return fmt.Errorf("%w: %q", fault.ErrReservedName, name)
	}
	return nil
}
