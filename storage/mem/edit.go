package mem

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// edit claims a directory as a stage does.
type edit struct{ claim *stage }

// Edit claims a directory.
func (s *Store) Edit(ctx context.Context, dir string) (storage.Edit, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir = clean(dir)
	s.mu.RLock()
	_, writes := s.stages[dir]
	s.mu.RUnlock()
	if writes {
		return nil, fmt.Errorf("%s: %w: it is where the writer writes", dir, fault.ErrBusy)
	}
	g, err := s.claim(dir, true, false)
	if err != nil {
		return nil, err
	}
	return &edit{g}, nil
}

// in returns the directory that has the entry name.
func (e *edit) in(name string) (*node, error) {
	d := e.claim.store.root.at(e.claim.target)
	if d != nil {
		d = d.at(path.Dir(name))
	}
	if d == nil || d.entries == nil {
		return nil, missing("open", path.Join(e.claim.target, path.Dir(name)))
	}
	return d, nil
}

// begin locks the store for a change of the file or directory name. It fails if the claim
// has been given up.
func (e *edit) begin(ctx context.Context, name string) (unlock func(), err error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	if name == "." {
		return nil, fmt.Errorf("%w: %q", fault.ErrReservedName, name)
	}
	return e.claim.files.begin()
}

func (e *edit) Put(ctx context.Context, name string, data []byte, replace bool) error {
	unlock, err := e.begin(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	d, err := e.in(name)
	if err != nil {
		return err
	}
	base := path.Base(name)
	switch was := d.entries[base]; {
	case was != nil && !replace:
		return fmt.Errorf("%s: %w", path.Join(e.claim.target, name), fault.ErrExist)
	case was != nil && was.entries != nil:
		return fmt.Errorf("%s: it is a directory", path.Join(e.claim.target, name))
	}
	n := &node{file: &file{data: slices.Clone(data), whole: true}}
	e.claim.store.touch(n)
	e.claim.store.put(d, base, n)
	return nil
}

func (e *edit) Remove(ctx context.Context, name string, look storage.Look) error {
	unlock, err := e.begin(ctx, name)
	if err != nil {
		return err
	}
	dir := path.Join(e.claim.target, name)
	n := e.claim.store.root.at(dir)
	if n != nil && n.entries == nil && look == nil {
		e.claim.store.drop(e.claim.store.parent(dir), path.Base(dir))
		n = nil
	}
	unlock()
	switch {
	case n == nil:
		return nil
	case look == nil || n.entries == nil:
		return fmt.Errorf("%w: %s is not what was to be removed", fault.ErrInvalidCheckpoint, dir)
	}
	items, err := look(ctx, dir)
	if err != nil {
		return err
	}
	return e.claim.store.removeItems(dir, items)
}

func (e *edit) RemoveAll(ctx context.Context, look storage.Look, _ ...string) error {
	unlock, err := e.begin(ctx, "all")
	if err != nil {
		return err
	}
	unlock()
	if err := e.claim.removeTarget(ctx, look); err != nil {
		return err
	}
	return e.Close()
}

// Recovered returns nil, because no writer outlives its claim.
func (e *edit) Recovered() *storage.Work { return nil }

func (e *edit) Close() error { return e.claim.Abort() }

// removeTarget moves the directory at the path away and removes the entries that look
// lists. It asks look before and after the move. If it fails and leaves entries under the
// temporary name, the stage has ended.
func (g *stage) removeTarget(ctx context.Context, look storage.Look) error {
	s, dir, away := g.store, g.target, path.Join(g.temp, "removed"+storage.TempMarker)
	s.mu.RLock()
	there := s.root.at(dir) != nil
	s.mu.RUnlock()
	if !there {
		return nil
	}
	if look == nil {
		return fault.ErrExist
	}
	if _, err := look(ctx, dir); err != nil {
		return err
	}
	if err := s.rename(dir, away); err != nil {
		return err
	}
	items, err := look(context.WithoutCancel(ctx), away)
	if err != nil {
		if rerr := s.rename(away, dir); rerr != nil {
			g.abandon() // the directory stays where it is
			return fmt.Errorf("%w; it is left in %s: %w", err, away, rerr)
		}
		return err
	}
	if err := s.removeItems(away, items); err != nil {
		g.abandon()
		return fmt.Errorf("%s is gone; removing what was in it failed, and the rest is left in %s: %w", dir, away, err)
	}
	return nil
}

// rename gives a directory another name.
func (s *Store) rename(from, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, above := s.root.at(from), s.parent(to)
	switch {
	case n == nil:
		return missing("rename", from)
	case above == nil || above.entries == nil:
		return missing("rename", path.Dir(to))
	case above.entries[path.Base(to)] != nil:
		return fmt.Errorf("%s: %w", to, fault.ErrExist)
	}
	s.drop(s.parent(from), path.Base(from))
	s.put(above, path.Base(to), n)
	return nil
}

// removeItems removes a directory and the items in it. Any other entry stays, with an
// error.
func (s *Store) removeItems(dir string, items []storage.Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, item := range slices.Backward(append([]storage.Item{{Name: ".", Dir: true}}, items...)) {
		name := path.Join(dir, item.Name)
		n := s.root.at(name)
		if n == nil {
			continue // gone already
		}
		if item.Dir != (n.entries != nil) || len(n.entries) > 0 {
			return fmt.Errorf("%w: something has been put there meanwhile, and is left: %s", fault.ErrInvalidCheckpoint, name)
		}
		s.drop(s.parent(name), path.Base(name))
	}
	return nil
}
