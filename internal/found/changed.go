package found

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// ErrReplaced is the error of a read if the checkpoint has been overwritten since it was
// opened, or a deletion in it has begun. Its files are then missing, or come from
// different saves.
var ErrReplaced = fmt.Errorf("%w: the checkpoint was changed while it was read; open it again", fault.ErrBusy)

// ErrDeleted is the error of a read if the checkpoint has been deleted since it was
// opened.
var ErrDeleted = fmt.Errorf("%w: it was deleted while it was read", fault.ErrNotExist)

// MaxTries bounds how many times a read starts again because the checkpoint is
// overwritten while it is read.
const MaxTries = 4

// mark is a file that in most layouts differs from save to save. It shows whether the
// checkpoint is still the one that was found. If name is empty, no file does.
type mark struct {
	name     string
	version  string // from the listing of the directory
	contents []byte // decide where versions differ or the store has none; nil: versions alone
}

// keep has the contents of the mark decide where its version differs: the listing, which the
// version is from, may be older than the documents, and a restored file is a new version.
func (m *mark) keep(document []byte) {
	if m.name == layout.CheckpointFile {
		m.contents = document
	}
}

// versionIn returns the version of a file among the entries of a directory.
func versionIn(entries []storage.Info, name string) string {
	for i := range entries {
		if entries[i].Name == name {
			return entries[i].Version
		}
	}
	return ""
}

// watch makes file, which is among entries, the checkpoint's mark.
func (f *Found) watch(ctx context.Context, file string, entries []storage.Info) (err error) {
	f.mark = mark{name: file, version: versionIn(entries, file)}
	if f.mark.version == "" {
		f.mark.contents, err = transfer.ReadFile(ctx, f.At, file, 0, -1)
	}
	return err
}

// same reports whether the checkpoint still has the mark that was found.
func (f *Found) same(ctx context.Context) (bool, error) {
	if f.mark.version != "" {
		info, err := f.live.Join(f.mark.name).Stat(ctx)
		if err != nil || info.Version == f.mark.version || f.mark.contents == nil {
			return err == nil && info.Version == f.mark.version, err
		}
	}
	doc, err := transfer.ReadFile(ctx, f.live, f.mark.name, 0, -1)
	return bytes.Equal(doc, f.mark.contents), err
}

// Unchanged returns err, the outcome of reading from the checkpoint, unless the
// checkpoint has been replaced meanwhile or a deletion of an item has begun. It returns
// [ErrReplaced] or [ErrDeleted] then.
//
// Nothing that was read from a snapshot can come from another save, so a success needs no
// look. After a failure Unchanged looks at the store itself.
func (f *Found) Unchanged(ctx context.Context, err error) error {
	return f.unchanged(ctx, err, f.mark.name == layout.CheckpointFile && !f.Recorded)
}

// NotReplaced is [Found.Unchanged] after a success that the beginning of a deletion cannot
// make wrong, as digests cover everything that was read.
func (f *Found) NotReplaced(ctx context.Context) error { return f.unchanged(ctx, nil, false) }

// unchanged is Unchanged, which looks for the record of a deletion if that is asked.
func (f *Found) unchanged(ctx context.Context, err error, deletion bool) error {
	stale := f.stale != nil && f.stale.Load()
	if f.stale != nil && !stale && err == nil {
		return nil
	}
	if f.mark.name == "" {
		if stale {
			err = ErrReplaced
		}
		return err
	}
	same, rerr := f.same(ctx)
	if rerr == nil && deletion {
		_, serr := f.live.Join(layout.DeletionFile).Stat(ctx)
		if serr == nil {
			return ErrReplaced
		}
		if !errors.Is(serr, fs.ErrNotExist) {
			rerr = serr
		}
	}
	switch {
	case rerr == nil && same && !stale:
		return err
	case rerr == nil:
		return ErrReplaced
	case errors.Is(rerr, fs.ErrNotExist):
		if _, serr := f.live.Stat(ctx); errors.Is(serr, fs.ErrNotExist) {
			return ErrDeleted
		}
		return ErrReplaced
	case ctx.Err() != nil:
		rerr = ctx.Err()
	}
	// The check itself failed, so err may be about files of another save. The message
	// keeps it, but the error does not match it.
	if err == nil || errors.Is(err, rerr) {
		return rerr
	}
	return fmt.Errorf("%w (before, reading failed: %v)", rerr, err)
}
