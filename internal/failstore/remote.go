package failstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// Remote is a store that works as an object store does, over a store that works as a disk
// does. It takes Delay for each request, and counts what an object store would be asked.
// Directories have no times. A file that is created, written once and closed is one
// request.
type Remote struct {
	storage.Store
	Delay time.Duration
	// Page is the number of files that one request lists; 0 means 1000.
	Page int

	mu       sync.Mutex
	asked    []string // the requests since the last Take
	finished int      // the longest chain of requests that have been answered
}

// Unit is the ReadUnit and the WriteUnit of a [Remote].
const Unit = 8 << 20

// NewRemote returns a [Remote] over store, which must know versions.
func NewRemote(store storage.Store, delay time.Duration) *Remote {
	return &Remote{Store: store, Delay: delay}
}

// Take returns the requests since the last call of Take, and the length of the longest
// chain of requests of which each began after the one before was answered.
func (r *Remote) Take() (requests []string, rounds int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	requests, rounds = r.asked, r.finished
	r.asked, r.finished = nil, 0
	return requests, rounds
}

// ask makes a request.
func (r *Remote) ask(ctx context.Context, op, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	r.asked = append(r.asked, op+" "+name)
	round := r.finished + 1
	r.mu.Unlock()
	select {
	case <-time.After(r.Delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finished = max(r.finished, round)
	return nil
}

// pages makes the requests that list so many files or directories.
func (r *Remote) pages(ctx context.Context, op, name string, n int) error {
	page := r.Page
	if page == 0 {
		page = 1000
	}
	for first := 0; first == 0 || first < n; first += page {
		if err := r.ask(ctx, op, name); err != nil {
			return err
		}
	}
	return nil
}

// Properties are those of an object store.
func (r *Remote) Properties() storage.Properties {
	return storage.Properties{
		Marker: true, Edit: r.Store.Properties().Edit, Links: storage.LinkCopy,
		ReadUnit: Unit, WriteUnit: Unit, ReadGap: 1 << 20, Concurrency: 16,
	}
}

func (r *Remote) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := r.ask(ctx, "stat", name); err != nil {
		return storage.Info{}, err
	}
	info, err := r.Store.Stat(ctx, name)
	if err != nil || info.Dir { // an object store lists to find a directory
		if err := r.ask(ctx, "stat", name+"/"); err != nil {
			return storage.Info{}, err
		}
	}
	return timeless(info), err
}

// timeless drops the time of a directory.
func timeless(info storage.Info) storage.Info {
	if info.Dir {
		info.ModTime = time.Time{}
	}
	return info
}

func (r *Remote) List(ctx context.Context, dir string) ([]storage.Info, error) {
	infos, err := r.Store.List(ctx, dir)
	if err := r.pages(ctx, "list", dir, len(infos)); err != nil {
		return nil, err
	}
	for i := range infos {
		infos[i] = timeless(infos[i])
	}
	return infos, err
}

// Entries fails, so that [storage.Entries] calls List.
func (r *Remote) Entries(context.Context, string) ([]storage.Entry, error) {
	return nil, errors.ErrUnsupported
}

// Confined returns nil: there are no links.
func (r *Remote) Confined(string, bool) storage.Store { return nil }

func (r *Remote) Open(ctx context.Context, name string) (storage.Reader, error) {
	if err := r.ask(ctx, "open", name); err != nil {
		return nil, err
	}
	f, err := r.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return remoteReader{f, r, name}, nil
}

type remoteReader struct {
	storage.Reader
	r    *Remote
	name string
}

func (f remoteReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := f.r.ask(ctx, "read", f.name); err != nil {
		return err
	}
	return f.Reader.ReadAt(ctx, p, off)
}

// Snapshot lists all files below dir. It returns nil if there are none.
func (r *Remote) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	if info, err := r.Store.Stat(ctx, dir); err != nil || !info.Dir {
		return nil, r.pages(ctx, "snapshot", dir, 0)
	}
	s := &remoteSnapshot{r, path.Clean(dir), map[string]snapped{}}
	files, err := s.list(ctx, storage.Info{Name: path.Base(dir), Dir: true}, s.dir)
	if err := r.pages(ctx, "snapshot", dir, files); err != nil {
		return nil, err
	}
	if err != nil || files == 0 {
		return nil, err
	}
	return s, nil
}

// remoteSnapshot is a directory as it was listed, with the versions of its files.
type remoteSnapshot struct {
	*Remote
	dir string
	all map[string]snapped // by name in the store
}

type snapped struct {
	storage.Info
	entries map[string]storage.Info // of a directory
}

// list adds a directory, and returns how many files are in it.
func (s *remoteSnapshot) list(ctx context.Context, info storage.Info, dir string) (files int, err error) {
	infos, err := s.Store.List(ctx, dir)
	if err != nil {
		return 0, err
	}
	d := snapped{timeless(info), map[string]storage.Info{}}
	s.all[dir] = d
	for _, i := range infos {
		d.entries[i.Name] = timeless(i)
		name, n := path.Join(dir, i.Name), 1
		if i.Dir {
			n, err = s.list(ctx, i, name)
		} else {
			s.all[name] = snapped{Info: i}
		}
		if files += n; err != nil {
			return 0, err
		}
	}
	return files, nil
}

// look returns the entry of a name. inside reports whether the snapshot has to answer.
func (s *remoteSnapshot) look(ctx context.Context, op, name string) (_ snapped, inside bool, err error) {
	if err := ctx.Err(); err != nil {
		return snapped{}, false, err
	}
	name = path.Clean(name)
	if inside = name == s.dir || s.dir == "." || strings.HasPrefix(name, s.dir+"/"); !inside {
		return snapped{}, false, nil
	}
	at, ok := s.all[name]
	if !ok {
		return at, true, NotFound(op, name)
	}
	return at, true, nil
}

func (s *remoteSnapshot) Stat(ctx context.Context, name string) (storage.Info, error) {
	at, inside, err := s.look(ctx, "stat", name)
	if !inside && err == nil {
		return s.Remote.Stat(ctx, name)
	}
	return at.Info, err
}

func (s *remoteSnapshot) List(ctx context.Context, dir string) ([]storage.Info, error) {
	at, inside, err := s.look(ctx, "list", dir)
	switch {
	case err != nil:
		return nil, err
	case !inside:
		return s.Remote.List(ctx, dir)
	case at.entries == nil:
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fmt.Errorf("not a directory")}
	}
	infos := make([]storage.Info, 0, len(at.entries))
	for _, name := range slices.Sorted(maps.Keys(at.entries)) {
		infos = append(infos, at.entries[name])
	}
	return infos, nil
}

func (s *remoteSnapshot) Open(ctx context.Context, name string) (storage.Reader, error) {
	at, inside, err := s.look(ctx, "open", name)
	switch {
	case err != nil:
		return nil, err
	case !inside:
		return s.Remote.Open(ctx, name)
	case at.Dir:
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	return &pinned{s.Remote, name, at.Info}, nil
}

// Snapshot returns nil, for dir is one already.
func (s *remoteSnapshot) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	if _, inside, err := s.look(ctx, "snapshot", dir); inside || err != nil {
		return nil, err
	}
	return s.Remote.Snapshot(ctx, dir)
}

// pinned reads one version of a file.
type pinned struct {
	r    *Remote
	name string
	info storage.Info
}

func (f *pinned) Size() int64  { return f.info.Size }
func (f *pinned) Close() error { return nil }

func (f *pinned) ReadAt(ctx context.Context, p []byte, off int64) error {
	if len(p) == 0 { // nothing to ask for, but the version may be gone
		if off > f.info.Size {
			return storage.BytesReader(nil).ReadAt(ctx, make([]byte, 1), 0)
		}
		off = 0
	}
	if err := f.r.ask(ctx, "read", f.name); err != nil {
		return err
	}
	info, err := f.r.Store.Stat(ctx, f.name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Version != f.info.Version {
		return fmt.Errorf("%s: %w: it was written anew or removed", f.name, fault.ErrBusy)
	}
	if err != nil {
		return err
	}
	in, err := f.r.Store.Open(ctx, f.name)
	if err != nil {
		return err
	}
	defer in.Close()
	return in.ReadAt(ctx, p, off)
}
