package object

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// Marker is the marker of checkpoints, as Orbax writes it. Removals begin with it.
const Marker = "commit_success.txt"

// edit is a directory that is being changed.
type edit struct {
	claim  *claim
	s      *Store
	dir    string
	begun  *change // a removal that has failed
	closed bool
}

// Edit claims a directory. If a dead writer has the claim, it first undoes or finishes what
// that one has begun. dir may also be the name of what that one has left, as
// [Store.Left] returns it: then nothing more is to be done than to close the Edit.
func (s *Store) Edit(ctx context.Context, dir string) (storage.Edit, error) {
	if dir = keyOf(dir); dir == "" {
		return nil, fmt.Errorf("%w: the root of the store", fault.ErrReservedName)
	}
	target, remains := claimed(dir)
	if !remains {
		target = dir
	} else if there, err := s.hasDir(ctx, dir, true); err != nil || !there {
		return nil, errors.Join(missing("edit", dir), err)
	}
	c, err := s.claim(ctx, target)
	if err != nil {
		return nil, err
	}
	if remains {
		c.kept = true
		return &cleaned{c, c.recovered}, nil
	}
	e := &edit{claim: c, s: s, dir: dir}
	there, err := s.hasDir(ctx, dir, true)
	if err == nil && !there {
		if c.recovered != nil {
			return &cleaned{c, c.recovered}, nil
		}
		err = missing("edit", dir)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Recovered returns what was undone or finished to get the claim.
func (e *edit) Recovered() *storage.Work { return e.claim.recovered }

// cleaned is the Edit of what a dead writer had left, which is gone by now.
type cleaned struct {
	claim     *claim
	recovered *storage.Work
}

func (c *cleaned) Recovered() *storage.Work { return c.recovered }

func (c *cleaned) Put(context.Context, string, []byte, bool) error {
	return missing("open", claimDir(c.claim.dir))
}
func (c *cleaned) Remove(ctx context.Context, _ string, _ storage.Look) error { return ctx.Err() }
func (c *cleaned) RemoveAll(ctx context.Context, _ storage.Look, _ ...string) error {
	return ctx.Err()
}

func (c *cleaned) Close() error {
	if c.claim == nil {
		return nil
	}
	claim := c.claim
	c.claim = nil
	return claim.giveUp()
}

// Left returns the directory of the claim of dir, if it is that of a writer that has died.
// An [storage.Edit] of it, and of dir, undoes or finishes what that one had begun; so does
// the next Begin.
func (s *Store) Left(ctx context.Context, dir string) ([]string, error) {
	if dir = keyOf(dir); dir == "" {
		return nil, ctx.Err()
	}
	page, err := s.list(ctx, ListOptions{Prefix: claimDir(dir) + "/", Flat: true, Limit: 1})
	if err != nil || len(page.Objects) == 0 {
		return nil, err
	}
	now, err := s.readClaim(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a request came too late
	case err != nil:
		return nil, err
	case now.left() > 0:
		return nil, nil
	}
	return []string{claimDir(dir)}, nil
}

// begin checks a name and the claim.
func (e *edit) begin(ctx context.Context, name string) error {
	switch {
	case !fs.ValidPath(name) || name == ".":
		return fmt.Errorf("%w: %q", fault.ErrReservedName, name)
	case e.closed:
		return fmt.Errorf("%s: the claim has been given up", e.dir)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return e.claim.check(ctx)
}

// Put writes a file.
func (e *edit) Put(ctx context.Context, name string, data []byte, replace bool) error {
	if err := e.begin(ctx, name); err != nil {
		return err
	}
	key := below(e.dir) + name
	if parent := path.Dir(name); parent != "." {
		if there, err := e.s.hasDir(ctx, path.Join(e.dir, parent), true); err != nil || !there {
			return errors.Join(missing("open", path.Join(e.dir, parent)), err)
		}
	}
	o := PutOptions{IfAbsent: true, Writer: e.claim.id + newWriter()}
	was, err := e.claim.s.infoOf(ctx, key)
	switch {
	case err == nil && !replace:
		return fmt.Errorf("%s: %w", key, fault.ErrExist)
	case err == nil:
		o.IfAbsent, o.IfVersion = false, was.Version
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	err = e.claim.guard(ctx, effort{bytes: int64(len(data))}, func(ctx context.Context) error {
		_, err := e.s.bucket.Put(ctx, key, [][]byte{data}, o)
		return err
	})
	if errors.Is(err, ErrPrecondition) {
		if info, serr := e.claim.s.infoOf(ctx, key); serr != nil || info.Writer != o.Writer {
			return e.claim.explain(errors.Join(fmt.Errorf("%s: %w: %w", key, fault.ErrExist, err), serr))
		}
		err = nil // the answer was lost
	}
	if err == nil && o.IfAbsent {
		err = e.claim.settle(ctx, key, o.Writer)
	}
	return err
}

// Remove removes a file, or a directory that look allows.
func (e *edit) Remove(ctx context.Context, name string, look storage.Look) error {
	if err := e.begin(ctx, name); err != nil {
		return err
	}
	dir := path.Join(e.dir, name)
	info, err := e.s.Stat(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Dir != (look != nil):
		return fmt.Errorf("%w: %s is not what was to be removed", fault.ErrInvalidCheckpoint, dir)
	case !info.Dir:
		return e.claim.remove(ctx, []Ref{{below(e.dir) + name, info.Version}})
	}
	return e.removeBelow(ctx, dir, look)
}

// RemoveAll removes the directory: first the marker, then the rest in any order. If this
// process dies, the claim says what is left to be removed, so no file needs to be the last.
func (e *edit) RemoveAll(ctx context.Context, look storage.Look, _ ...string) error {
	if err := e.begin(ctx, "all"); err != nil {
		return err
	}
	return e.removeBelow(ctx, e.dir, look)
}

// removeBelow removes everything below dir, if look allows that. If this process dies, the
// next one goes on.
func (e *edit) removeBelow(ctx context.Context, dir string, look storage.Look) error {
	objects, _, err := e.s.all(ctx, dir)
	if err != nil || len(objects) == 0 {
		return err
	}
	if err := allows(ctx, look, dir, objects); err != nil {
		return err
	}
	ch := &change{}
	for _, o := range objects {
		if o.Key == below(e.dir)+Marker {
			ch.Marker = Ref{o.Key, o.Version}
		} else {
			ch.Remove = append(ch.Remove, Ref{o.Key, o.Version})
		}
	}
	if err := e.claim.record(ctx, ch); err != nil {
		return err
	}
	e.begun = ch
	if err := e.claim.finish(ctx, ch); err != nil {
		return fmt.Errorf("%s is removed in part; remove it again: %w", dir, err)
	}
	e.begun = nil
	return e.claim.change(ctx, func(r *record) { r.State, r.Change = preparing, nil })
}

// Close gives up the claim. It ends a removal that has begun. If that fails, it leaves the
// claim, by which the next writer ends the removal.
func (e *edit) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	if e.begun != nil {
		ctx, cancel := e.s.patient()
		defer cancel()
		if err := e.claim.finish(ctx, e.begun); err != nil {
			e.claim.abandon()
			return err
		}
	}
	return e.claim.giveUp()
}
