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
	"sync/atomic"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// stage is a directory that is written in its place.
type stage struct {
	*files
	claim  *claim
	old    Ref         // the marker that was there; no Version: there was none
	shared atomic.Bool // the ticket was asked for, so that there may be uploads of others
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
	if !isEntry(o.Marker) {
		return nil, fmt.Errorf("%w: the marker %q", fault.ErrReservedName, o.Marker)
	}
	c, err := s.claim(ctx, dir)
	if err != nil {
		return nil, err
	}
	g, err := c.stage(ctx, o)
	if err != nil {
		return nil, errors.Join(err, c.giveUp())
	}
	return g, nil
}

// stage looks at what is there, and records what the next writer has to undo if this one
// dies.
func (c *claim) stage(ctx context.Context, o storage.BeginOptions) (*stage, error) {
	entry := ""
	if o.Into != nil {
		if _, err := c.s.hasDir(ctx, c.dir, true); err != nil {
			return nil, err
		}
		name, err := o.Into(ctx)
		if err != nil {
			return nil, err
		}
		if !isEntry(name) {
			return nil, fmt.Errorf("%w: %q", fault.ErrReservedName, name)
		}
		entry = name
	}
	dir := path.Join(c.dir, entry)
	g := &stage{claim: c, old: Ref{Key: below(dir) + o.Marker}}
	g.files = newFiles(c.s, c.dir, entry, c.id, o.Marker)
	g.lost, g.check, g.confirm, g.explain = c.ctx, c.check, c.confirm, c.explain
	g.settle = func(ctx context.Context, key, writer string) error {
		g.note(key, writer)
		return c.settle(ctx, key, writer)
	}
	there, err := c.s.hasDir(ctx, dir, o.Replace != nil)
	if err != nil {
		return nil, err
	}
	var objects []Info
	var now time.Time
	if there {
		if objects, now, err = c.s.all(ctx, dir); err != nil {
			return nil, err
		}
	}
	if len(objects) > 0 {
		if o.Replace == nil {
			return nil, fmt.Errorf("%s: %w", dir, fault.ErrExist)
		}
		if err := allows(ctx, o.Replace, dir, objects); err != nil {
			return nil, err
		}
		g.keep = map[string]string{}
		for _, o := range objects {
			g.keep[o.Key] = o.Version
		}
		g.old.Version = g.keep[g.old.Key]
	}
	if err := c.change(ctx, func(r *record) { r.State, r.Entry, r.Since = writing, entry, now }); err != nil {
		return nil, err
	}
	if c.kept = g.keep != nil; c.kept {
		c.s.overlays.add(g)
	}
	return g, nil
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

// Dir returns the directory itself, or the temporary one if it replaces a directory: see
// [overlays].
func (g *stage) Dir() string {
	if g.keep != nil {
		return g.temp
	}
	return g.dir
}

// Ticket returns a line of text for Join and Revoke.
func (g *stage) Ticket() string {
	g.shared.Store(true)
	text, _ := json.Marshal(ticket{g.claim.dir, g.entry, g.id, g.marker, g.keep != nil})
	return ticketPrefix + base64.RawURLEncoding.EncodeToString(text)
}

func (g *stage) errEnded() error {
	return fmt.Errorf("%s: %w: the stage has ended", g.dir, fault.ErrNotExist)
}

// Commit makes the marker.
func (g *stage) Commit(ctx context.Context) error {
	g.mu.Lock()
	marked := g.names[g.marker]
	g.mu.Unlock()
	first, err := g.end(g.errEnded())
	if !first {
		return err
	}
	defer g.s.overlays.remove(g)
	if err == nil && !marked {
		err = fmt.Errorf("%s: %s has not been written", g.dir, g.marker)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = g.putDirs(ctx)
	}
	if err == nil {
		err = g.discardLate(ctx)
	}
	if err == nil && (g.orphans.Load() || g.shared.Load()) {
		err = g.claim.abortUploads(ctx, below(g.dir))
	}
	var ch *change
	if err == nil {
		ch, err = g.plan(ctx)
	}
	if err != nil {
		return errors.Join(err, g.undo())
	}
	if err := g.claim.record(ctx, ch); err != nil {
		undone := g.undo()
		if undone == nil && g.finishedByOther(context.WithoutCancel(ctx), ch) {
			return nil // it was recorded, although the answer is missing
		}
		return errors.Join(err, undone)
	}
	// From here on the change is made: by this process, or by the next one.
	if err := g.claim.finish(context.WithoutCancel(ctx), ch); err != nil {
		err = g.claim.explain(err)
		lost := g.claim.ctx.Err() != nil
		g.claim.abandon()
		switch {
		case g.finishedByOther(context.WithoutCancel(ctx), ch):
			return nil
		case lost: // what is there now is up to others
			return err
		}
		return fmt.Errorf("%s: it is incomplete; the next save, repair or gc finishes it: %w", g.dir, err)
	}
	if err := g.claim.giveUp(ch.From); err != nil {
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
	temp := tempKey(g.claim.dir, g.id)
	staged, _, err := g.s.all(ctx, temp)
	if err != nil {
		return nil, err
	}
	written := map[string]bool{ch.Marker.Key: true}
	for _, o := range staged {
		if o.Key != ch.From.Key {
			to := g.dir + strings.TrimPrefix(o.Key, temp)
			written[to] = true
			ch.Copies = append(ch.Copies, copied{Ref{o.Key, o.Version}, to, g.keep[to], o.Size})
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
		if now, err := g.s.readClaim(ctx, g.claim.dir); err == nil {
			goesOn = now.Undo != nil && now.Undo.Writer == g.id && now.Undo.State == changing
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false
		}
		info, err := g.claim.s.infoOf(ctx, ch.Marker.Key)
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
	if first, _ := g.end(g.errEnded()); !first {
		return nil
	}
	defer g.s.overlays.remove(g)
	return g.undo()
}

// undo removes everything that was written, unless the claim is lost: then its next holder
// does that.
func (g *stage) undo() error {
	ctx, cancel := g.s.patient()
	defer cancel()
	g.abortOpen(ctx)
	c := g.claim
	var was record
	err := c.change(ctx, func(r *record) {
		r.State, r.Change = writing, nil
		was = *r
	})
	if err == nil {
		err = c.removeNew(ctx, was)
	}
	if err == nil {
		err = c.sweep(ctx)
	}
	switch {
	case err == nil:
		return c.release(ctx)
	case errors.Is(err, fault.ErrNotExist) && c.ctx.Err() != nil:
		c.abandon()
		if c.decided || c.inherited(ctx) {
			return nil
		}
		err = g.discardMade(ctx)
	default:
		c.abandon()
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("what was written to %s is left until its claim ends: %w", g.dir, err)
}

// settle is called when an object has been made. If the claim was lost meanwhile, its next
// holder may not have seen the object, and settle removes it.
func (c *claim) settle(ctx context.Context, key, writer string) error {
	c.mu.Lock()
	intact := c.confirmed // before the object was made
	c.mu.Unlock()
	err := c.check(ctx)
	if err != nil && c.ctx.Err() != nil {
		cctx, cancel := c.s.patient()
		defer cancel()
		if since(intact) < c.s.o.Delay && c.inherited(cctx) {
			return err
		}
		return errors.Join(err, c.s.discard(cctx, key, writer))
	}
	return err
}

// inherited reports whether this writer, which has lost its claim, leaves what it has made
// to the next one, which waits for it; see [claim.pause]. Where versions are those of bytes,
// this writer could remove an object that the next one has made of the same bytes.
func (c *claim) inherited(ctx context.Context) bool {
	if !c.s.limits.VersionOfBytes {
		return false
	}
	_, err := c.s.infoOf(ctx, c.key)
	return !errors.Is(err, fs.ErrNotExist) // the claim goes with its directory, and then it has no holder
}

// discard removes an object if a writer has made it.
func (s *Store) discard(ctx context.Context, key, writer string) error {
	info, err := s.infoOf(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Writer != writer:
		return nil
	case err != nil:
		return err
	}
	return s.remove(ctx, []Ref{{key, info.Version}})
}
