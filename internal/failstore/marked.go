package failstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// NewMarked returns a store that works as an object store does, over another store: it
// cannot rename, so each stage needs a marker, also that of an entry. Links are copies. A
// directory exists only while a file is below it, or if a stage has made it. Nothing is
// known of it but its name.
func NewMarked(store storage.Store) storage.Store {
	return &marked{store, &made{names: map[string]bool{}}}
}

type marked struct {
	storage.Store
	made *made
}

// made are the directories that stages have made.
type made struct {
	mu    sync.Mutex
	names map[string]bool
}

func (m *made) add(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names[path.Clean(name)] = true
}

func (m *made) has(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names[path.Clean(name)]
}

func (m *marked) Properties() storage.Properties {
	can := m.Store.Properties()
	can.Rename, can.Links = false, storage.LinkCopy
	return can
}

func (m *marked) Confined(root string, outside bool) storage.Store {
	return &marked{storage.Confine(m.Store, root, outside), m.made}
}

// exists reports whether something is at a name: a file, or a directory that is not empty.
func (m *marked) exists(ctx context.Context, name string, info storage.Info) (bool, error) {
	if !info.Dir || m.made.has(name) {
		return true, nil
	}
	infos, err := m.Store.List(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, info := range infos {
		if exists, err := m.exists(ctx, path.Join(name, info.Name), info); exists || err != nil {
			return exists, err
		}
	}
	return false, err
}

func hideTimes(info storage.Info) storage.Info {
	if info.Dir {
		info.ModTime, info.Version, info.Size = time.Time{}, "", 0
	}
	return info
}

func (m *marked) Stat(ctx context.Context, name string) (storage.Info, error) {
	info, err := m.Store.Stat(ctx, name)
	if err != nil {
		return info, err
	}
	if exists, err := m.exists(ctx, name, info); !exists && path.Dir(name) != name {
		return storage.Info{}, errors.Join(err, NotFound("stat", name))
	}
	return hideTimes(info), nil
}

func (m *marked) List(ctx context.Context, dir string) ([]storage.Info, error) {
	all, err := m.Store.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	var infos []storage.Info
	for _, info := range all {
		exists, err := m.exists(ctx, path.Join(dir, info.Name), info)
		if err != nil {
			return nil, err
		}
		if exists {
			infos = append(infos, hideTimes(info))
		}
	}
	if len(infos) == 0 && path.Dir(dir) != dir && dir != "." && !m.made.has(dir) {
		return nil, NotFound("list", dir)
	}
	return infos, nil
}

func (m *marked) Entries(context.Context, string) ([]storage.Entry, error) {
	return nil, errors.ErrUnsupported
}

func (m *marked) Edit(ctx context.Context, dir string) (storage.Edit, error) {
	_, missing := m.Stat(ctx, dir)
	e, err := m.Store.Edit(ctx, dir)
	if err != nil {
		return nil, err
	}
	if missing != nil {
		return nil, errors.Join(missing, e.Close())
	}
	return &markedEdit{e, m, dir}, nil
}

type markedEdit struct {
	storage.Edit
	m   *marked
	dir string
}

func (e *markedEdit) Remove(ctx context.Context, name string, look storage.Look) error {
	return e.Edit.Remove(ctx, name, e.m.withEmpty(look))
}

func (e *markedEdit) RemoveAll(ctx context.Context, look storage.Look, last ...string) error {
	if _, err := look(ctx, e.dir); err != nil {
		return err
	}
	if err := e.Edit.Remove(ctx, "commit_success.txt", nil); err != nil {
		return err
	}
	return e.Edit.RemoveAll(ctx, e.m.withEmpty(look), last...)
}

// withEmpty returns a look that also lists the empty directories, which this store does
// not show to look.
func (m *marked) withEmpty(look storage.Look) storage.Look {
	if look == nil {
		return nil
	}
	return func(ctx context.Context, dir string) ([]storage.Item, error) {
		items, err := look(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) {
			return m.empty(ctx, dir, "")
		}
		if err != nil {
			return nil, err
		}
		hidden, err := m.hidden(ctx, dir, "")
		return append(items, hidden...), err
	}
}

// hidden returns the empty directories below a directory.
func (m *marked) hidden(ctx context.Context, dir, below string) (items []storage.Item, err error) {
	infos, err := m.Store.List(ctx, path.Join(dir, below))
	for _, info := range infos {
		name := path.Join(below, info.Name)
		if exists, err := m.exists(ctx, path.Join(dir, name), info); err != nil {
			return nil, err
		} else if !exists {
			items = append(items, storage.Item{Name: name, Dir: true})
		}
		if info.Dir {
			in, err := m.hidden(ctx, dir, name)
			if err != nil {
				return nil, err
			}
			items = append(items, in...)
		}
	}
	return items, err
}

func (m *marked) Begin(ctx context.Context, dir string, o storage.BeginOptions) (storage.Stage, error) {
	if err := o.Check(m.Properties()); err != nil {
		return nil, err
	}
	if o.Into != nil {
		return m.beginEntry(ctx, dir, o)
	}
	look := m.withEmpty(o.Replace)
	_, err := m.Stat(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.Replace = func(ctx context.Context, dir string) ([]storage.Item, error) { return m.empty(ctx, dir, "") }
	case err == nil && look != nil: // the old directory stays until Commit
		s, err := m.Store.Begin(ctx, dir, storage.BeginOptions{Replace: look})
		if err == nil {
			err = m.allows(ctx, look, dir)
		}
		if err != nil {
			return nil, errors.Join(err, abort(s))
		}
		return &markedStage{markedFiles{s, m, s.Dir()}, s, o.Marker, nil}, nil
	}
	s, err := m.Store.Begin(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	return &markedStage{markedFiles{s, m, s.Dir()}, s, "", nil}, nil
}

// allows asks look whether a directory may be replaced.
func (m *marked) allows(ctx context.Context, look storage.Look, dir string) error {
	items, err := look(ctx, dir)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, item := range items {
		listed[item.Name] = true
	}
	var below func(name string) error
	below = func(name string) error {
		infos, err := m.Store.List(ctx, path.Join(dir, name))
		for _, info := range infos {
			in := path.Join(name, info.Name)
			switch {
			case info.Dir && err == nil:
				err = below(in)
			case !info.Dir && !listed[in]:
				return fmt.Errorf("%s: %w", path.Join(dir, in), fault.ErrInvalidCheckpoint)
			}
		}
		return err
	}
	return below("")
}

func abort(s storage.Stage) error {
	if s == nil {
		return nil
	}
	return s.Abort()
}

// empty is a [storage.Look] for directories that do not exist in an object store, because
// nothing is in them.
func (m *marked) empty(ctx context.Context, dir, below string) (items []storage.Item, err error) {
	infos, err := m.Store.List(ctx, path.Join(dir, below))
	for _, info := range infos {
		name := path.Join(below, info.Name)
		if !info.Dir {
			return nil, fmt.Errorf("%s: %w", path.Join(dir, name), fs.ErrExist)
		}
		in, err := m.empty(ctx, dir, name)
		if err != nil {
			return nil, err
		}
		items = append(append(items, storage.Item{Name: name, Dir: true}), in...)
	}
	return items, err
}

// beginEntry begins a stage of an entry of dir. A second stage, which is never committed,
// holds the claim of dir.
func (m *marked) beginEntry(ctx context.Context, dir string, o storage.BeginOptions) (storage.Stage, error) {
	var entry string
	claim, err := m.Store.Begin(ctx, dir, storage.BeginOptions{Into: func(ctx context.Context) (_ string, err error) {
		entry, err = o.Into(ctx)
		return entry, err
	}})
	if err != nil {
		return nil, err
	}
	s, err := m.Store.Begin(ctx, path.Join(dir, entry), storage.BeginOptions{Marker: o.Marker})
	if err != nil {
		return nil, errors.Join(err, claim.Abort())
	}
	return &markedStage{markedFiles{s, m, s.Dir()}, s, "", claim}, nil
}

// between separates the two tickets of a stage that has two.
const between = "\t"

func (m *marked) Join(ctx context.Context, ticket string) (storage.Joined, error) {
	ticket, _, _ = strings.Cut(ticket, between)
	j, err := m.Store.Join(ctx, ticket)
	if err != nil {
		return nil, err
	}
	return &markedJoined{markedFiles{j, m, ""}, j}, nil
}

func (m *marked) Revoke(ctx context.Context, ticket string) error {
	ticket, claim, two := strings.Cut(ticket, between)
	err := m.Store.Revoke(ctx, ticket)
	if !two || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if cerr := m.Store.Revoke(ctx, claim); cerr != nil && !errors.Is(cerr, fs.ErrNotExist) {
		return cerr
	}
	return err
}

// markedFiles are the files of a stage in dir, or of a Joined if dir is "".
type markedFiles struct {
	storage.Files
	m   *marked
	dir string
}

func (f markedFiles) Properties() storage.Properties { return f.m.Properties() }

func (f markedFiles) Mkdir(ctx context.Context, name string) error {
	err := f.Files.Mkdir(ctx, name)
	if err == nil && f.dir != "" {
		f.m.made.add(path.Join(f.dir, name))
	}
	return err
}

type markedStage struct {
	markedFiles
	all    storage.Stage
	marker string        // to be looked for at Commit; "" if the stage does that itself
	claim  storage.Stage // of the directory that the stage is an entry of, or nil
}

func (s *markedStage) Dir() string { return s.all.Dir() }

func (s *markedStage) Ticket() string {
	if s.claim == nil {
		return s.all.Ticket()
	}
	return s.all.Ticket() + between + s.claim.Ticket()
}

func (s *markedStage) Commit(ctx context.Context) error {
	if s.marker != "" {
		if _, err := s.m.Store.Stat(ctx, path.Join(s.all.Dir(), s.marker)); errors.Is(err, fs.ErrNotExist) { // or the stage was revoked
			return errors.Join(fmt.Errorf("%s has not been written: %w", s.marker, fault.ErrNotExist), s.Abort())
		}
	}
	err := s.all.Commit(ctx)
	if s.claim != nil {
		err = errors.Join(err, s.claim.Abort())
	}
	return err
}

func (s *markedStage) Abort() error {
	err := s.all.Abort()
	if s.claim != nil {
		err = errors.Join(err, s.claim.Abort())
	}
	return err
}

type markedJoined struct {
	markedFiles
	all storage.Joined
}

func (j *markedJoined) Close(ctx context.Context) error { return j.all.Close(ctx) }
