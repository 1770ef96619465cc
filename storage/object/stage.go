package object

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// stage is a directory that is written in its place.
type stage struct {
	*files
	claim *claim
	old   Ref // the marker that was there; no Version: there was none
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
	g := &stage{claim: c, old: Ref{Key: below(dir) + o.Marker}, files: &files{s: s, dir: dir, id: c.rec.Writer, marker: o.Marker, lost: c.ctx, check: c.check}}
	g.init()
	if err := g.prepare(ctx, o.Replace); err != nil {
		return nil, errors.Join(err, c.giveUp())
	}
	return g, nil
}

// prepare looks at what is there, and records what the next writer has to undo if this one
// dies.
func (g *stage) prepare(ctx context.Context, look storage.Look) error {
	c := g.claim
	there, err := g.s.hasDir(ctx, g.dir, look != nil)
	var objects []Info
	if there {
		objects, _, err = g.s.all(ctx, g.dir)
	}
	if err != nil {
		return err
	}
	if len(objects) > 0 {
		if look == nil {
			return fmt.Errorf("%s: %w", g.dir, fault.ErrExist)
		}
		if err := allows(ctx, look, g.dir, objects); err != nil {
			return err
		}
		g.keep = map[string]string{}
		for _, o := range objects {
			g.keep[o.Key] = o.Version
		}
		g.old.Version = g.keep[g.old.Key]
	}
	return c.change(ctx, func(r *record) { r.State = writing })
}

// hasDir reports whether there is a directory. It fails if a file has the name.
func (s *Store) hasDir(ctx context.Context, dir string, replace bool) (bool, error) {
	info, err := s.Stat(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil || info.Dir:
		return true, err
	case replace:
		return false, fmt.Errorf("%s: %w: it is a file", dir, fault.ErrInvalidCheckpoint)
	}
	return false, fmt.Errorf("%s: %w: it is a file", dir, fault.ErrExist)
}

// allows asks a look whether the objects of a directory may be removed. An object that the
// look does not list is an error.
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
	ch, err := g.plan(ctx)
	if err == nil {
		err = g.claim.change(ctx, func(r *record) { r.State, r.Change = changing, ch })
	}
	if err != nil {
		return errors.Join(err, g.undo())
	}
	// From here on the change is made: by this process, or by the next one.
	ctx = context.WithoutCancel(ctx)
	if err := g.claim.finish(ctx, ch, false); err != nil {
		g.claim.abandon()
		if !g.finishedByOther(ctx, ch) {
			return fmt.Errorf("%s: it is incomplete; the next save, repair or gc finishes it: %w", g.dir, err)
		}
		return nil
	}
	if err := g.giveUp(ch.From); err != nil {
		return fmt.Errorf("%s: %w; what it needed for the save is left until its claim ends: %w", g.dir, fault.ErrInPlace, err)
	}
	return nil
}

// plan returns the change that makes what was written the contents of the directory.
func (g *stage) plan(ctx context.Context) (*change, error) {
	ch := &change{Marker: g.old, Writer: g.id, From: Ref{g.keyFor(g.marker), g.markVersion}}
	if g.keep == nil {
		return ch, nil
	}
	temp := tempKey(g.dir, g.id)
	staged, _, err := g.s.all(ctx, temp)
	if err != nil {
		return nil, err
	}
	written := map[string]bool{ch.Marker.Key: true}
	for _, o := range staged {
		if o.Key != ch.From.Key {
			to := g.dir + strings.TrimPrefix(o.Key, temp)
			written[to] = true
			ch.Copies = append(ch.Copies, copied{Ref{o.Key, o.Version}, to})
		}
	}
	for key, version := range g.keep {
		if !written[key] {
			ch.Remove = append(ch.Remove, Ref{key, version})
		}
	}
	return ch, nil
}

// finishedByOther reports whether another process has taken the claim over and has finished
// the change. It waits while that is under way.
func (g *stage) finishedByOther(ctx context.Context, ch *change) bool {
	ctx, cancel := context.WithTimeout(ctx, g.s.o.Patience)
	defer cancel()
	for {
		goesOn := false
		if now, _, err := g.s.readClaim(ctx, g.claim.key); err == nil {
			goesOn = now.Undo != nil && now.Undo.Writer == g.id
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		info, err := g.claim.stat(ctx, ch.Marker.Key)
		switch {
		case err == nil && strings.HasPrefix(info.Writer, g.id):
			return true
		case !goesOn || sleep(ctx, g.claim.window()) != nil:
			return false
		}
	}
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
	ctx, cancel := g.claim.patient()
	defer cancel()
	g.abortOpen(ctx)
	c := g.claim
	if err := c.change(ctx, func(r *record) { r.State, r.Change = writing, nil }); err != nil {
		c.abandon()
		if errors.Is(err, fault.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("what was written to %s is left until its claim ends: %w", g.dir, err)
	}
	if err := c.removeNew(ctx, g.id); err != nil {
		c.abandon()
		return fmt.Errorf("what was written to %s is left until its claim ends: %w", g.dir, err)
	}
	return g.giveUp()
}

// giveUp removes what is in the temporary directory, and the claim.
func (g *stage) giveUp(refs ...Ref) error {
	if g.keep != nil || len(refs) == 0 {
		ctx, cancel := g.claim.patient()
		defer cancel()
		if err := g.claim.sweep(ctx, g.id); err != nil {
			g.claim.abandon()
			return err
		}
	}
	return g.claim.giveUp(refs...)
}
