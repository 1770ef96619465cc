package orbax

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// isAbsent reports whether a look has found that nothing is there.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// looks is a store that remembers the first look that failed, for a series of looks of
// which any may find what the others do not.
type looks struct {
	storage.Store
	failed error
}

func (l *looks) note(err error) {
	if err != nil && !isAbsent(err) && l.failed == nil {
		l.failed = err
	}
}

func (l *looks) Open(ctx context.Context, name string) (storage.Reader, error) {
	r, err := l.Store.Open(ctx, name)
	l.note(err)
	return r, err
}

func (l *looks) Stat(ctx context.Context, name string) (storage.Info, error) {
	info, err := l.Store.Stat(ctx, name)
	l.note(err)
	return info, err
}

// recogniseOther is openOther, which must have seen everything to say that there is no
// checkpoint.
func recogniseOther(ctx context.Context, store storage.Store, dir string) (*Checkpoint, error) {
	l := &looks{Store: store}
	c, err := openOther(ctx, l, dir)
	if c != nil {
		c.store = store
	} else if l.failed != nil && errors.Is(err, fault.ErrInvalidCheckpoint) {
		err = l.failed
	}
	return c, err
}
