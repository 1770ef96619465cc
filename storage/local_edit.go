package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/go-orbax/orbax/internal/fault"
)

// localEdit claims a directory as a save of it does: with a locked temporary
// directory beside it, which is where new files are written and where the
// directory goes when it is removed. So a crash leaves nothing else.
type localEdit struct {
	claim *localStage
	files int // written so far
}

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
	claim, err := newLocalStage(l.sys, dir, true)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(dir); err != nil { // removed by one who had it until now
		return nil, errors.Join(err, claim.Abort())
	}
	return &localEdit{claim: claim}, nil
}

func (e *localEdit) Put(ctx context.Context, name string, data []byte, replace bool) error {
	if err := checkName(ctx, name); err != nil {
		return err
	}
	e.files++
	file := fmt.Sprint(e.files)
	w, err := e.claim.Create(ctx, file, int64(len(data)))
	if err != nil {
		return err
	}
	if err := errors.Join(w.WriteAt(ctx, data, 0), w.Close()); err != nil {
		return err
	}
	sys, target := e.claim.sys, path.Join(e.claim.target, name)
	move := sys.rename
	if replace {
		move = sys.replace
	}
	if err := move(path.Join(e.claim.tmp, file), target); err != nil {
		return err
	}
	return sys.syncDir(filepath.Dir(target))
}

func (e *localEdit) Remove(ctx context.Context, name string) error {
	if err := checkName(ctx, name); err != nil {
		return err
	}
	if name == "." {
		return fmt.Errorf("%w: %q", fault.ErrReservedName, name)
	}
	target := path.Join(e.claim.target, name)
	if err := e.claim.sys.removeAll(target); err != nil {
		return err
	}
	return e.claim.sys.syncDir(filepath.Dir(target))
}

func (e *localEdit) RemoveAll(ctx context.Context, last ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sys, dir := e.claim.sys, e.claim.target
	// What makes the directory needless may be new beside it: that comes first.
	if err := sys.syncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	// The new name keeps everybody from taking it for a checkpoint.
	err := sys.rename(dir, path.Join(e.claim.tmp, "removed"+TempMarker))
	if errors.Is(err, syscall.EXDEV) { // as of a directory in a lower layer of overlayfs
		return e.removeInPlace(ctx, last)
	}
	if err != nil {
		return err
	}
	if err := sys.syncDir(filepath.Dir(dir)); err != nil {
		e.claim.abandon()
		return fmt.Errorf("%s is gone but may be back after a power failure: %w", dir, err)
	}
	if err := e.Close(); err != nil {
		return fmt.Errorf("%s is gone; removing what was in it failed: %w", dir, err)
	}
	return nil
}

// removeInPlace removes a directory that cannot be renamed.
func (e *localEdit) removeInPlace(ctx context.Context, last []string) error {
	sys, dir := e.claim.sys, e.claim.target
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if slices.Contains(last, entry.Name()) {
			continue
		}
		if err := sys.removeAll(path.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	if err := sys.syncDir(dir); err != nil {
		return err
	}
	if err := sys.removeAll(dir); err != nil {
		return err
	}
	return sys.syncDir(filepath.Dir(dir))
}

func (e *localEdit) Close() error { return e.claim.Abort() }
