package object

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// stage is a directory that is written in its place.
type stage struct {
	*files
	claim *claim
	old   Ref // the marker that was there; no Key: there was none
}

// Begin begins to write a directory in its place. It needs a Marker. A directory that is
// there stays complete until Commit; see [storage.BeginOptions].
func (s *Store) Begin(ctx context.Context, dir string, o storage.BeginOptions) (storage.Stage, error) {
	if err := o.Check(s.Properties()); err != nil {
		return nil, err
	}
	if dir = keyOf(dir); dir == "" {
		return nil, fmt.Errorf("%w: the root of the store", fault.ErrReservedName)
	}
	if !fs.ValidPath(o.Marker) || strings.Contains(o.Marker, "/") {
		return nil, fmt.Errorf("%w: the marker %q", fault.ErrReservedName, o.Marker)
	}
	c, err := s.claim(ctx, dir)
	if err != nil {
		return nil, err
	}
	g := &stage{claim: c, files: &files{s: s, dir: dir, id: c.rec.Writer, marker: o.Marker, lost: c.ctx, check: c.check}}
	g.init()
	if err := g.prepare(ctx, o.Replace); err != nil {
		return nil, errors.Join(err, g.giveUp())
	}
	return g, nil
}

// prepare looks at what is there, and records what the next writer has to undo if this one
// dies.
func (g *stage) prepare(ctx context.Context, look storage.Look) error {
	c := g.claim
	if err := g.s.noFileAt(ctx, g.dir, look != nil); err != nil {
		return err
	}
	objects, _, err := g.s.all(ctx, g.dir)
	if err != nil {
		return err
	}
	replaces := len(objects) > 0
	if replaces {
		if look == nil {
			return fmt.Errorf("%s: %w", g.dir, fault.ErrExist)
		}
		if err := g.allows(ctx, look, objects); err != nil {
			return err
		}
		g.keep = map[string]string{}
		for _, o := range objects {
			g.keep[o.Key] = o.Version
		}
		if version, ok := g.keep[below(g.dir)+g.marker]; ok {
			g.old = Ref{below(g.dir) + g.marker, version}
		}
		if err := c.putKeep(ctx, g.keep); err != nil {
			return err
		}
	}
	return c.change(ctx, func(r *record) { r.State, r.Marker, r.Replaces = writing, g.marker, replaces })
}

// noFileAt fails if a file has the name of a directory, or of one above it.
func (s *Store) noFileAt(ctx context.Context, dir string, replace bool) error {
	info, err := s.Stat(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Dir:
		return nil
	case err != nil:
		return err
	case replace:
		return fmt.Errorf("%s: %w: it is a file", dir, fault.ErrInvalidCheckpoint)
	}
	return fmt.Errorf("%s: %w: it is a file", dir, fault.ErrExist)
}

// allows asks a look whether the objects of the directory may be removed. An object that
// the look does not list is an error.
func (g *stage) allows(ctx context.Context, look storage.Look, objects []Info) error {
	return allows(ctx, look, g.dir, objects)
}

func allows(ctx context.Context, look storage.Look, dir string, objects []Info) error {
	items, err := look(ctx, dir)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, it := range items {
		name := it.Name
		if it.Dir {
			name += "/"
		}
		listed[below(dir)+name] = true
	}
	for _, o := range objects {
		if !listed[o.Key] && o.Key != below(dir) {
			return fmt.Errorf("%w: %s is not what was to be removed", fault.ErrInvalidCheckpoint, o.Key)
		}
	}
	return nil
}

// Dir returns the directory itself.
func (g *stage) Dir() string { return g.dir }

// Ticket returns a line of text for Join and Revoke.
func (g *stage) Ticket() string {
	text, _ := json.Marshal(ticket{g.dir, g.id, g.marker, g.keep != nil})
	return ticketPrefix + base64.RawURLEncoding.EncodeToString(text)
}

// Commit makes the marker.
func (g *stage) Commit(ctx context.Context) error {
	g.mu.Lock()
	marked := g.names[g.marker]
	g.mu.Unlock()
	first, err := g.end(fmt.Errorf("%s: %w: the stage has ended", g.dir, fault.ErrNotExist))
	if !first {
		return err
	}
	if err == nil && !marked {
		err = fmt.Errorf("%s: %s has not been written", g.dir, g.marker)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = g.putDirs(ctx)
	}
	if err != nil {
		return errors.Join(err, g.undo())
	}
	if g.keep == nil {
		err = g.publish(ctx)
	} else {
		err = g.exchange(ctx)
	}
	if err != nil {
		return err
	}
	if err := g.giveUp(); err != nil {
		return fmt.Errorf("%s: %w; what it needed for the save is left until the next save or the end of its claim: %w", g.dir, fault.ErrInPlace, err)
	}
	return nil
}

// publish makes the marker of a new directory. If that fails, it finds out whether the
// marker was made all the same.
func (g *stage) publish(ctx context.Context) error {
	err := g.claim.mark(ctx, below(g.dir)+g.marker)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.s.o.Patience)
	defer cancel()
	// The request may be under way still. Another version of the claim stops it.
	ferr := g.claim.change(ctx, func(*record) {})
	if ferr == nil {
		ferr = sleep(ctx, g.claim.window())
	}
	if ferr == nil {
		_, ferr = g.claim.stat(ctx, below(g.dir)+g.marker)
		if ferr == nil {
			return nil
		}
		if errors.Is(ferr, fs.ErrNotExist) {
			return errors.Join(err, g.undo())
		}
	}
	g.claim.abandon()
	if errors.Is(err, fault.ErrNotExist) { // the claim was lost
		return err
	}
	return fmt.Errorf("%s: it is not known whether it is complete: %w", g.dir, errors.Join(err, ferr))
}

// exchange puts what was written in the place of what was there. From the moment when it
// has recorded what is to be done, that is done: by this process, or by whoever comes next.
func (g *stage) exchange(ctx context.Context) error {
	ch := &change{Marker: g.old, Mark: true}
	if ch.Marker.Key == "" {
		ch.Marker.Key = below(g.dir) + g.marker
	}
	temp := tempKey(g.dir, g.id)
	staged, _, err := g.s.all(ctx, temp)
	if err != nil {
		return errors.Join(err, g.undo())
	}
	written := map[string]bool{}
	for _, o := range staged {
		name := strings.TrimPrefix(o.Key, temp)
		if name == keepName {
			continue
		}
		to := path.Join(g.dir, name)
		written[to] = true
		ch.Copies = append(ch.Copies, copied{Ref{o.Key, o.Version}, to})
	}
	for key, version := range g.keep {
		if !written[key] && key != ch.Marker.Key {
			ch.Remove = append(ch.Remove, Ref{key, version})
		}
	}
	if err := g.claim.change(ctx, func(r *record) { r.State, r.Change = replacing, ch }); err != nil {
		return errors.Join(err, g.undo())
	}
	if err := g.claim.finish(ctx, ch); err != nil {
		g.claim.abandon()
		if g.finishedByOther(ctx, ch.Marker.Key) {
			return nil
		}
		return fmt.Errorf("%s: it is incomplete; the next save, repair or gc finishes it: %w", g.dir, err)
	}
	return nil
}

// finishedByOther reports whether another process has taken the claim over and has finished
// the change. It waits while that is under way.
func (g *stage) finishedByOther(ctx context.Context, marker string) bool {
	ctx, cancel := context.WithTimeout(ctx, g.s.o.Patience)
	defer cancel()
	for {
		goesOn := false
		if now, _, err := g.s.readClaim(ctx, g.claim.key); err == nil {
			goesOn = now.Undo != nil && now.Undo.Writer == g.id
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		found, _, err := g.s.readClaim(ctx, marker)
		switch {
		case err == nil && found.finishes(g.id):
			return true
		case !goesOn || sleep(ctx, g.claim.window()) != nil:
			return false
		}
	}
}

// finishes reports whether a marker with this record was made by a writer, or by the one
// who has finished its work.
func (r *record) finishes(writer string) bool {
	return r.Writer == writer || r.Undo != nil && r.Undo.Writer == writer
}

// Abort removes everything that was written.
func (g *stage) Abort() error {
	if first, _ := g.end(fmt.Errorf("%s: %w: the stage has ended", g.dir, fault.ErrNotExist)); !first {
		return nil
	}
	return g.undo()
}

// undo removes everything that was written, unless the claim is lost: then its next holder
// does that.
func (g *stage) undo() error {
	ctx, cancel := context.WithTimeout(context.Background(), g.s.o.Patience)
	defer cancel()
	g.abortOpen(ctx)
	c := g.claim
	c.mu.Lock()
	err := c.alive()
	if err == nil {
		err = c.confirm(ctx)
	}
	c.mu.Unlock()
	if err != nil {
		c.abandon()
		if errors.Is(err, fault.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("what was written to %s is left until its claim ends: %w", g.dir, err)
	}
	if err := c.removeNew(ctx, g.keep); err != nil {
		c.abandon()
		return fmt.Errorf("what was written to %s is left until its claim ends: %w", g.dir, err)
	}
	return g.giveUp()
}

// giveUp removes the temporary directory and the claim.
func (g *stage) giveUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), g.s.o.Patience)
	defer cancel()
	if g.keep != nil {
		if err := g.claim.sweep(ctx, g.id); err != nil {
			g.claim.abandon()
			return err
		}
	}
	return g.claim.release(ctx)
}
