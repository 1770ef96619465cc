package object

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// Marker is the marker of checkpoints, as Orbax writes it. Removals begin with it.
const Marker = "commit_success.txt"

// edit is a directory that is being changed.
type edit struct {
	claim   *claim
	s       *Store
	dir     string
	removed bool
	closed  bool
}

// Edit claims a directory. If a dead writer has the claim, it first undoes or finishes what
// that one has begun.
func (s *Store) Edit(ctx context.Context, dir string) (storage.Edit, error) {
	if dir = keyOf(dir); dir == "" {
		return nil, fmt.Errorf("%w: the root of the store", fault.ErrReservedName)
	}
	if err := s.busyTemp(ctx, dir); err != nil {
		return nil, err
	}
	c, err := s.claim(ctx, dir)
	if err != nil {
		return nil, err
	}
	info, err := s.Stat(ctx, dir)
	if err == nil && !info.Dir {
		err = fmt.Errorf("%s: %w: it is a file", dir, fault.ErrInvalidCheckpoint)
	}
	e := &edit{claim: c, s: s, dir: dir}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// busyTemp fails if dir is the temporary directory of a live writer.
func (s *Store) busyTemp(ctx context.Context, dir string) error {
	i := strings.Index(path.Base(dir), storage.TempMarker)
	if i <= 0 {
		return nil
	}
	target := path.Join(path.Dir(dir), path.Base(dir)[:i])
	was, info, err := s.readClaim(ctx, claimKey(target))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if left := info.Modified.Add(was.patience()).Sub(info.Now); left > 0 && (tempKey(target, was.Writer) == dir || claimKey(target) == dir) {
		return fmt.Errorf("%s: %w: %s", dir, fault.ErrBusy, was.describe(left))
	}
	return nil
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
		if info, err := e.s.Stat(ctx, path.Join(e.dir, parent)); err != nil || !info.Dir {
			return errors.Join(missing("open", path.Join(e.dir, parent)), err)
		}
	}
	o := PutOptions{IfAbsent: true, Writer: e.claim.rec.Writer}
	was, err := e.claim.stat(ctx, key)
	switch {
	case err == nil && !replace:
		return fmt.Errorf("%s: %w", key, fault.ErrExist)
	case err == nil:
		o.IfAbsent, o.IfVersion = false, was.Version
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	err = e.s.perform(ctx, effort{bytes: int64(len(data))}, func(ctx context.Context) error {
		_, err := e.s.bucket.Put(ctx, key, [][]byte{data}, o)
		return err
	})
	if errors.Is(err, ErrPrecondition) {
		if info, serr := e.claim.stat(ctx, key); serr == nil && info.Writer == o.Writer && info.Version != was.Version {
			return nil // the answer was lost
		}
		err = fmt.Errorf("%s: %w: %w", key, fault.ErrExist, err)
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
		return e.s.remove(ctx, []Ref{{below(e.dir) + name, info.Version}})
	}
	return e.removeBelow(ctx, dir, look, false)
}

// RemoveAll removes the directory: first the marker, then the rest in any order. If this
// process dies, the claim says what is left to be removed, so no file needs to be the last.
func (e *edit) RemoveAll(ctx context.Context, look storage.Look, _ ...string) error {
	if err := e.begin(ctx, "all"); err != nil {
		return err
	}
	return e.removeBelow(ctx, e.dir, look, true)
}

// removeBelow removes everything below dir, if look allows that. If this process dies, the
// next one goes on.
func (e *edit) removeBelow(ctx context.Context, dir string, look storage.Look, marked bool) error {
	objects, _, err := e.s.all(ctx, dir)
	if err != nil || len(objects) == 0 {
		return err
	}
	if err := allows(ctx, look, dir, objects); err != nil {
		return err
	}
	ch := &change{}
	for _, o := range objects {
		if marked && o.Key == below(dir)+Marker {
			ch.Marker = Ref{o.Key, o.Version}
		} else {
			ch.Remove = append(ch.Remove, Ref{o.Key, o.Version})
		}
	}
	if err := e.claim.change(ctx, func(r *record) { r.State, r.Change = changing, ch }); err != nil {
		return err
	}
	if err := e.claim.finish(ctx, ch, false); err != nil {
		return fmt.Errorf("%s is removed in part; remove it again: %w", dir, err)
	}
	return e.claim.change(ctx, func(r *record) { r.State, r.Change = preparing, nil })
}

// Close gives up the claim.
func (e *edit) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	return e.claim.giveUp()
}
