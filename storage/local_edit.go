package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/go-orbax/orbax/internal/fault"
)

// localEdit claims a directory as a save does: by a locked temporary directory beside it.
// New files are written there, and the directory goes there when it is removed. So a
// crash leaves no other files.
type localEdit struct {
	claim *localStage
}

// Locks tries to lock dir, and reports whether that works.
func (*local) Locks(_ context.Context, dir string) bool { return locks(dir) }

func (l *local) Edit(ctx context.Context, dir string) (Edit, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir = path.Clean(dir)
	if _, err := os.Lstat(dir); err != nil {
		return nil, err
	}
	if err := checkTarget(dir, true); err != nil {
		return nil, err
	}
	if l.sys.locked(dir) {
		return nil, fmt.Errorf("%s: %w: it is where the writer writes", dir, fault.ErrBusy)
	}
	claim, err := newLocalStage(l.sys, dir, forEdit, true)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(dir); err != nil { // removed by the writer that had claimed it
		return nil, errors.Join(err, claim.Abort())
	}
	return &localEdit{claim: claim}, nil
}

func (e *localEdit) Put(ctx context.Context, name string, data []byte, replace bool) error {
	if err := checkName(ctx, name); err != nil {
		return err
	}
	to, done, err := e.open(name)
	if err != nil {
		return err
	}
	defer done()
	file := path.Base(name) // a name that is recognised if the file is left there
	w, err := e.claim.Create(ctx, file, int64(len(data)))
	if err != nil {
		return err
	}
	err = w.WriteAt(ctx, data, 0)
	if perm, regular := to.perm(); err == nil && replace && regular {
		err = w.(*localWriter).f.chmod(perm)
	}
	err = errors.Join(err, w.Close())
	if err == nil {
		move := e.claim.sys.rename
		if replace {
			move = e.claim.sys.replace
		}
		err = e.claim.folders.use(file, func(from entry) error { return move(from, to) })
	}
	if err != nil {
		return errors.Join(err, e.claim.discard(file)) // the next Put may have the same name
	}
	e.claim.forget(file)
	return e.claim.sys.syncOwn(e.claim.target, path.Dir(name))
}

// open returns an entry of the claimed directory, which must not be reached by a link. It
// also returns a function that closes the directory of the entry.
func (e *localEdit) open(name string) (entry, func(), error) {
	dir := path.Dir(name)
	d, err := openOwn(e.claim.target, dir)
	return entry{&openDir{folder: d, path: path.Join(e.claim.target, dir)}, path.Base(name)}, d.close, err
}

func (e *localEdit) Remove(ctx context.Context, name string, look Look) error {
	if err := checkName(ctx, name); err != nil {
		return err
	}
	if name == "." {
		return fmt.Errorf("%w: %q", fault.ErrReservedName, name)
	}
	sys, dir := e.claim.sys, e.claim.target
	target := path.Join(dir, name)
	var err error
	if info, lerr := os.Lstat(target); look == nil || lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
		err = sys.removeEntry(dir, Item{Name: name}, nil) // removes a link and not its target
	} else {
		err = removeLooked(ctx, target, look, func(items []Item) error {
			return sys.removeEntry(dir, Item{name, true}, items)
		})
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return sys.syncOwn(dir, path.Dir(name))
}

// Recovered returns nil: what dead writers leave is beside the directory; see Left.
func (e *localEdit) Recovered() *Work { return nil }

func (e *localEdit) RemoveAll(ctx context.Context, look Look, last ...string) error {
	if err := e.removeTarget(ctx, look, last...); err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return fmt.Errorf("%s is gone; removing what was in it failed: %w", e.claim.target, err)
	}
	return nil
}

// removeTarget is RemoveAll without giving up the claim. It ends the claim if it fails
// and leaves files that it has moved away.
func (e *localEdit) removeTarget(ctx context.Context, look Look, last ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sys, dir := e.claim.sys, e.claim.target
	items, err := look(ctx, dir)
	if err != nil {
		return err
	}
	// A new checkpoint beside the directory may be the reason for the removal; it must be
	// durable first.
	if err := sys.syncDir(at(filepath.Dir(dir))); err != nil {
		return err
	}
	// The temporary directory of a writer may be new, and its writer may be about to lock
	// it. That writer then fails to lock it, or finds it gone.
	unlock, err := sys.lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	// With the new name no reader takes it for a checkpoint.
	removed := path.Join(e.claim.tmp, removedName)
	err = e.claim.folders.use(removedName, func(e entry) error { return sys.rename(at(dir), e) })
	if errors.Is(err, syscall.EXDEV) { // for example a directory in a lower layer of overlayfs
		return e.removeInPlace(ctx, items, last)
	}
	if err != nil {
		return err
	}
	if _, err = lookAt(ctx, removed, look); err != nil { // another process has put something into it meanwhile
		return e.claim.putBack(dir, err)
	}
	if err := sys.syncDir(at(filepath.Dir(dir))); err != nil {
		e.claim.abandon()
		return fmt.Errorf("%s is gone but may be back after a power failure: %w", dir, err)
	}
	err = removeLooked(context.WithoutCancel(ctx), removed, look, func(items []Item) error {
		return sys.removeEntry(e.claim.tmp, Item{removedName, true}, items)
	})
	if err != nil {
		e.claim.abandon()
		return fmt.Errorf("%s is gone; removing what was in it failed, and the rest is left in %s: %w", dir, removed, err)
	}
	return nil
}

// removedName is the name, in the temporary directory, of a directory whose contents are
// being removed.
const removedName = "removed" + TempMarker

// putBack gives a directory that was moved into the claim its old name, and returns err.
// The new name was never made durable.
func (s *localStage) putBack(name string, err error) error {
	rerr := s.folders.use(removedName, func(from entry) error { return s.sys.rename(from, at(name)) })
	if rerr != nil {
		s.abandon() // the directory stays where it is
		return fmt.Errorf("%w; it is left in %s: %w", err, path.Join(s.tmp, removedName), rerr)
	}
	return err
}

// removeInPlace removes a directory that cannot be renamed. It removes everything except
// the files called last, then these in the given order.
func (e *localEdit) removeInPlace(ctx context.Context, items []Item, last []string) error {
	sys, dir := e.claim.sys, e.claim.target
	below := map[string][]Item{} // by the entry of dir above them
	var entries []Item
	for _, item := range items {
		if entry, rest, deeper := strings.Cut(item.Name, "/"); deeper {
			below[entry] = append(below[entry], Item{rest, item.Dir})
		} else {
			entries = append(entries, item)
		}
	}
	slices.SortFunc(entries, func(a, b Item) int { return strings.Compare(a.Name, b.Name) })
	var marks []Item
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if slices.Contains(last, entry.Name) {
			marks = append(marks, entry)
			continue
		}
		if err := sys.removeEntry(dir, entry, below[entry.Name]); err != nil {
			return err
		}
	}
	if err := sys.syncOwn(dir, "."); err != nil {
		return err
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, l := range left {
		if !slices.ContainsFunc(marks, func(mark Item) bool { return mark.Name == l.Name() }) {
			return appeared(path.Join(dir, l.Name()))
		}
	}
	if err := sys.remove(dir, marks); err != nil {
		return err
	}
	return sys.syncDir(at(filepath.Dir(dir)))
}

func (e *localEdit) Close() error { return e.claim.Abort() }
