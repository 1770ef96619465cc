package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// The owner of a stage publishes it in one step, and Revoke makes that step impossible in
// one step of its own, so one of the two comes first. The owner may live on and hold its
// lock. It keeps directories open, and can write to them until they are removed.
//
// Without a marker, the owner renames the path of its temporary directory. Revoke moves
// that directory into its own. With a marker, the owner moves the marker out of its
// temporary directory, which it has open. Revoke removes that directory: once it is gone,
// the marker is in the target, or never will be.

// localRevoke ends the stage of another writer. Like an [Edit], it has a locked temporary
// directory, and what is removed goes there. So a crash leaves no other files.
type localRevoke struct {
	localTicket
	path  string // of the temporary directory of the stage
	claim *localStage
}

func (l *local) Revoke(ctx context.Context, text string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t, err := parseTicket(text)
	if err == nil && !isUsedAs(t.temp, t.marker) { // the ticket has been changed
		err = errTicket(text)
	}
	if err != nil {
		return err
	}
	r := &localRevoke{localTicket: t, path: path.Join(path.Dir(t.target), t.temp)}
	if err := r.begin(ctx, l.sys); err != nil {
		return fault.AsNoSpace(err)
	}
	if t.marker == "" {
		err = r.move(r.path, t.id)
	} else {
		err = r.takeMarked()
	}
	if err != nil {
		return errors.Join(err, r.claim.Abort())
	}
	claimed.CompareAndDelete(t.target, r.path) // if this process has begun the stage
	if err := errors.Join(r.restore(), r.removeMoved()); err != nil {
		r.claim.abandon()
		return err
	}
	return r.claim.Abort()
}

// revokeTries is how often Revoke tries to be the only writer of a target besides the
// owner of the stage. Of several Revoke at the same time each may see another one.
const revokeTries = 20

// begin makes the claim, unless the stage has ended. The target of a stage with a marker is
// moved by its path, so there must be no other writer.
func (r *localRevoke) begin(ctx context.Context, sys system) error {
	for range revokeTries {
		if err := hasID(r.path, r.id); err != nil {
			return err
		}
		r.claim = emptyStage(sys, r.target)
		if err := r.claim.make(forEdit); err != nil {
			return err
		}
		if r.marker == "" {
			return nil
		}
		other, err := r.claim.otherWriter(r.temp)
		if err == nil && other == "" {
			return nil
		}
		if err = errors.Join(err, r.claim.Abort()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(2 * writerLooks * writerPause)):
		}
	}
	return fmt.Errorf("%s: %w", r.target, fault.ErrBusy)
}

// hasID returns errEnded unless the directory called name has the identity of a ticket.
func hasID(name, id string) error {
	d, err := openOwn(name, ".")
	if err != nil {
		return orEnded(err)
	}
	defer d.close()
	now, err := d.id()
	if err == nil && now.text() != id {
		err = orEnded(appeared(name))
	}
	return err
}

// takeMarked makes it impossible to commit the target by its marker, and then takes the
// target away.
func (r *localRevoke) takeMarked() error {
	err := hasID(r.path, r.id) // another Revoke may have been first
	if err == nil {
		err = r.unmarked()
	}
	if err != nil {
		return err
	}
	if err := r.removeAll(r.path, r.id); err != nil {
		return err
	}
	if err := r.unmarked(); err != nil { // the owner was first
		return err
	}
	if _, err := os.Lstat(r.target); errors.Is(err, fs.ErrNotExist) { // the owner has noticed, and has removed it
		return nil
	}
	return r.move(r.target, r.in)
}

// unmarked returns errEnded if the target has the marker, or is another directory. It may
// be gone.
func (r *localRevoke) unmarked() error {
	if _, err := os.Lstat(r.target); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := hasID(r.target, r.in); err != nil {
		return err
	}
	_, err := os.Lstat(path.Join(r.target, r.marker))
	if err == nil {
		return errEnded
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removed returns the path of the directory that was moved into the claim.
func (r *localRevoke) removed() string { return path.Join(r.claim.tmp, removedName) }

// move moves a directory with an identity into the claim.
func (r *localRevoke) move(name, id string) error {
	err := hasID(name, id)
	if err == nil {
		err = r.claim.folders.use(removedName, func(to entry) error { return r.claim.sys.rename(at(name), to) })
	}
	if errors.Is(err, fs.ErrNotExist) {
		return orEnded(err)
	}
	if isInUse(err) {
		return fmt.Errorf("%w: the system cannot move %s while a process has opened it: %w", fault.ErrUnsupported, name, err)
	}
	if err != nil {
		return err
	}
	// In between, the owner may have exchanged it for the directory that it replaces.
	if err := hasID(r.removed(), id); err != nil {
		return r.claim.putBack(name, err)
	}
	return nil
}

// restore gives the old directory its name back. On a file system that cannot exchange
// directories, the owner may have given it a temporary one just before.
func (r *localRevoke) restore() error {
	if r.marker != "" {
		return nil
	}
	old := oldName(r.path)
	err := r.claim.sys.rename(at(old), at(r.target))
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return fmt.Errorf("%s: the save has ended; what was there before it is left in %s: %w", r.target, old, err)
}

// removeMoved makes the move durable and removes the directory.
func (r *localRevoke) removeMoved() error {
	if err := r.claim.sys.syncDir(at(filepath.Dir(r.target))); err != nil {
		return fmt.Errorf("%s: the save has ended, but may be back after a power failure: %w", r.target, err)
	}
	if err := r.removeAll(r.removed(), ""); err != nil {
		return fmt.Errorf("%s: the save has ended; removing what it had written failed, and the rest is left in %s: %w", r.target, r.removed(), err)
	}
	return nil
}

// Writers that are at work can make new entries in a directory until it is gone. So
// removeAll looks at it this often, with this pause in between.
const (
	revokeLooks = 100
	revokePause = 2 * time.Millisecond
)

// removeAll removes a directory that only the writers of the stage have written to. If id
// is not "", the directory must have that identity.
func (r *localRevoke) removeAll(dir, id string) error {
	look := func(ctx context.Context, dir string) ([]Item, error) {
		if id != "" {
			if err := hasID(dir, id); err != nil {
				return nil, err
			}
		}
		return everything(ctx, dir)
	}
	var err error
	for range revokeLooks {
		err = removeLooked(context.Background(), dir, look, func(items []Item) error { return r.claim.sys.remove(dir, items) })
		busy := errors.Is(err, errAppeared) || errors.Is(err, fs.ErrNotExist) || isNotEmpty(err)
		if !busy || errors.Is(err, errEnded) {
			return err
		}
		time.Sleep(revokePause)
	}
	return fmt.Errorf("%w: others write to %s all the time: %v", fault.ErrBusy, dir, err)
}

// orRevoked adds to the error of an operation of a stage that another process has ended
// the stage, if that is the reason.
func (s *localStage) orRevoked(err error) error {
	if err == nil {
		return nil
	}
	if serr := s.same(); errors.Is(serr, fs.ErrNotExist) || errors.Is(serr, errAppeared) {
		return s.revoked(err)
	}
	return err
}

// revoked returns the error of an operation that failed because another process has ended
// the stage, or is about to do that.
func (s *localStage) revoked(err error) error {
	if errors.Is(err, fault.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%w: another process has ended this save, or removed its directory %s: %w", fault.ErrNotExist, s.tmp, err)
}
