package mem

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// stage is a directory that is being written. Store.mu guards it.
type stage struct {
	store  *Store
	target string
	temp   string // temporary name, which holds the claim
	o      storage.BeginOptions
	entry  string // name of the entry of target that the stage becomes
	top    *node  // the directory that is being written
	placed map[string]*node
	done   bool
	// revoked says that Revoke has ended the stage.
	revoked bool
	*files
}

// Begin starts to write a directory.
func (s *Store) Begin(ctx context.Context, dir string, o storage.BeginOptions) (storage.Stage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := o.Check(s.Properties()); err != nil {
		return nil, err
	}
	dir = clean(dir)
	g, err := s.claim(dir, o.Replace != nil || o.Into != nil, true)
	if err != nil {
		return nil, err
	}
	g.o = o
	switch {
	case o.Into != nil:
		g.entry, err = o.Into(ctx)
		if err == nil && (checkName(ctx, g.entry) != nil || path.Base(g.entry) != g.entry || g.entry == ".") {
			err = fmt.Errorf("%w: %q is not the name of an entry", fault.ErrReservedName, g.entry)
		}
	case o.Marker != "":
		err = g.writeInPlace(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, g.Abort())
	}
	return g, nil
}

// claim makes the only stage of dir and its temporary directory. overwrite allows a
// directory at dir.
func (s *Store) claim(dir string, overwrite, create bool) (*stage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.root.at(dir)
	switch {
	case dir == ".":
		return nil, fmt.Errorf("%w: the root of the store", fault.ErrReservedName)
	case n == nil && !create:
		return nil, missing("stat", dir)
	case n != nil && !overwrite:
		return nil, fault.ErrExist
	case n != nil && n.entries == nil:
		return nil, fmt.Errorf("%w: it is a file", fault.ErrInvalidCheckpoint)
	case s.claims[dir]:
		return nil, fault.ErrBusy
	}
	above, err := s.mkdirs(s.root, path.Dir(dir))
	if err != nil {
		return nil, err
	}
	s.changes++
	g := &stage{store: s, target: dir, temp: fmt.Sprintf("%s%s-a%015x", dir, storage.TempMarker, s.changes), top: s.newDir(), placed: map[string]*node{}}
	g.files = &files{stage: g, open: map[*writer]bool{}}
	s.put(above, path.Base(g.temp), g.top)
	s.claims[dir] = true
	s.stages[g.temp] = g
	return g, nil
}

// end gives up the claim.
func (g *stage) end() {
	g.done = true
	delete(g.store.claims, g.target)
	delete(g.store.stages, g.temp)
}

// abandon ends the stage and leaves everything where it is.
func (g *stage) abandon() {
	g.store.mu.Lock()
	defer g.store.mu.Unlock()
	g.end()
}

// parent returns the directory above a name, or nil if it has been removed.
func (s *Store) parent(name string) *node { return s.root.at(path.Dir(name)) }

// writeInPlace removes the directory at the path, if that is allowed, and puts a new one
// there.
func (g *stage) writeInPlace(ctx context.Context) error {
	s := g.store
	if err := g.removeTarget(ctx, g.o.Replace); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.revoked {
		return errRevoked
	}
	if s.root.at(g.target) != nil {
		return fmt.Errorf("since the save began: %s: %w", g.target, fault.ErrExist)
	}
	g.top = s.newDir()
	above := s.parent(g.target)
	if above == nil || above.entries == nil {
		return missing("mkdir", g.target)
	}
	s.put(above, path.Base(g.target), g.top)
	return nil
}

// Dir returns the temporary directory, or with a marker the path of the stage.
func (g *stage) Dir() string {
	if g.o.Marker != "" {
		return g.target
	}
	return g.temp
}

// ticketScheme begins the tickets of stores in memory.
const ticketScheme = "mem-stage:"

// Ticket returns the temporary name, which no other stage of the store ever has.
func (g *stage) Ticket() string { return ticketScheme + g.temp }

// Commit publishes the directory.
func (g *stage) Commit(ctx context.Context) error {
	old, err := g.publish(ctx)
	if err != nil || !old {
		return err
	}
	items, err := g.o.Replace(context.WithoutCancel(ctx), g.temp)
	if err == nil {
		err = g.store.removeItems(g.temp, items)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; what it replaced is left in %s: %w", g.target, fault.ErrInPlace, g.temp, err)
	}
	return nil
}

// publish reports whether the temporary name now has the directory that was replaced.
func (g *stage) publish(ctx context.Context) (old bool, err error) {
	s := g.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.revoked {
		return false, errRevoked
	}
	if g.done {
		return false, errFinished
	}
	defer g.end()
	if err = ctx.Err(); err == nil {
		err = g.files.closed()
	}
	if err == nil {
		old, err = g.move()
	}
	if err != nil {
		g.remove()
	}
	return old, err
}

func (g *stage) move() (old bool, err error) {
	s, base := g.store, path.Base(g.target)
	above := s.parent(g.target)
	if above == nil || above.entries[path.Base(g.temp)] == nil {
		return false, missing("commit", g.temp)
	}
	switch there := above.entries[base]; {
	case g.o.Marker != "":
		mark := g.placed[g.o.Marker]
		if mark == nil {
			return false, fmt.Errorf("%s: %s has not been written", g.target, g.o.Marker)
		}
		s.put(g.top, g.o.Marker, mark)
		s.drop(above, path.Base(g.temp))
	case g.o.Into != nil:
		d, err := s.mkdirs(above, base)
		if err != nil {
			return false, err
		}
		if d.entries[g.entry] != nil {
			return false, fmt.Errorf("%s: %w", path.Join(g.target, g.entry), fault.ErrExist)
		}
		s.put(d, g.entry, g.top)
		s.drop(above, path.Base(g.temp))
	case there == nil:
		s.put(above, base, g.top)
		s.drop(above, path.Base(g.temp))
	case g.o.Replace == nil:
		return false, fmt.Errorf("since the save began: %w", fault.ErrExist)
	case there.entries == nil:
		return false, fmt.Errorf("since the save began: %w: it is a file", fault.ErrInvalidCheckpoint)
	default:
		s.put(above, base, g.top)
		s.put(above, path.Base(g.temp), there)
		return true, nil
	}
	return false, nil
}

// Abort removes everything that was written.
func (g *stage) Abort() error {
	g.store.mu.Lock()
	defer g.store.mu.Unlock()
	if !g.done {
		g.remove()
		g.end()
	}
	return nil
}

// remove removes everything that was written.
func (g *stage) remove() {
	above := g.store.parent(g.target)
	if above == nil {
		return // with everything in it
	}
	g.store.drop(above, path.Base(g.temp))
	if base := path.Base(g.target); g.o.Marker != "" && above.entries[base] == g.top {
		g.store.drop(above, base)
	}
}

var errFinished = errors.New("storage: the save has ended")

// Join returns a [storage.Joined] that writes to a stage of this store.
func (s *Store) Join(ctx context.Context, ticket string) (storage.Joined, error) {
	unlock, g, err := s.stage(ctx, ticket)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return &files{stage: g, open: map[*writer]bool{}, joined: true}, nil
}

// Revoke ends a stage of this store.
func (s *Store) Revoke(ctx context.Context, ticket string) error {
	unlock, g, err := s.stage(ctx, ticket)
	if err != nil {
		return err
	}
	defer unlock()
	g.revoked = true
	g.remove()
	g.end()
	return nil
}

// stage locks the store and returns the stage with a ticket, unless it has ended.
func (s *Store) stage(ctx context.Context, ticket string) (unlock func(), g *stage, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	temp, ok := strings.CutPrefix(ticket, ticketScheme)
	if !ok {
		return nil, nil, fmt.Errorf("%w: %q is not the ticket of a save to a store in memory", fault.ErrReservedName, ticket)
	}
	s.mu.Lock()
	if g = s.stages[temp]; g == nil {
		s.mu.Unlock()
		return nil, nil, errEnded
	}
	return s.mu.Unlock, g, nil
}

var (
	// errEnded reports that a ticket's stage has ended.
	errEnded = fmt.Errorf("%w: the save with this ticket has ended", fault.ErrNotExist)
	// errRevoked reports to the owner of a stage that Revoke has ended it.
	errRevoked = fmt.Errorf("%w: another writer has ended this save", fault.ErrNotExist)
)
