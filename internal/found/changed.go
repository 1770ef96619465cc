package found

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"io/fs"
	"path"
)

// ErrReplaced is what reading fails with when the checkpoint has been overwritten
// since it was opened, or a deletion in it has begun: its files are then those of
// different saves, or gone.
var ErrReplaced = fmt.Errorf("%w: the checkpoint was changed while it was read; open it again", fault.ErrBusy)

// ErrDeleted is what reading fails with when the checkpoint has been deleted since it
// was opened.
var ErrDeleted = fmt.Errorf("%w: it was deleted while it was read", fault.ErrNotExist)

// MaxTries is how often reading begins anew when the checkpoint is overwritten
// while it is read.
const MaxTries = 4

// Unchanged returns err, the outcome of having read from the checkpoint, unless
// the checkpoint has been replaced meanwhile, or has begun to lose a part.
func (f *Found) Unchanged(ctx context.Context, err error) error {
	if f.mark == "" {
		return err
	}
	doc, rerr := transfer.ReadFile(ctx, f.Store, f.Dir, f.mark, 0, -1)
	if rerr == nil && f.mark == layout.CheckpointFile && !f.Recorded {
		_, serr := f.Store.Stat(ctx, path.Join(f.Dir, layout.DeletionFile))
		if serr == nil {
			return ErrReplaced
		}
		if !errors.Is(serr, fs.ErrNotExist) {
			rerr = serr
		}
	}
	switch {
	case rerr == nil && bytes.Equal(doc, f.contents):
		return err
	case rerr == nil:
		return ErrReplaced
	case errors.Is(rerr, fs.ErrNotExist):
		if _, serr := f.Store.Stat(ctx, f.Dir); errors.Is(serr, fs.ErrNotExist) {
			return ErrDeleted
		}
		return ErrReplaced
	case ctx.Err() != nil:
		rerr = ctx.Err()
	}
	// Without that look err may be about files of another save, or none: it is returned,
	// and matches nothing.
	if err == nil || errors.Is(err, rerr) {
		return rerr
	}
	return fmt.Errorf("%w (before, reading failed: %v)", rerr, err)
}
