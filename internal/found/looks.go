package found

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// isAbsent reports whether an error says that nothing is at a path.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// looks is a store that remembers the first failed operation, for a series of lookups in
// which one may find a file that the others miss.
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

// confirmAbsent returns an error if a file exists that a listing of dir does not have: it
// appeared after the listing, or the store failed to list it.
func confirmAbsent(ctx context.Context, at storage.Location, name string) error {
	_, err := at.Join(name).Stat(ctx)
	switch {
	case err == nil:
		return ErrReplaced
	case isAbsent(err):
		return nil
	}
	return err
}

// hasEntry reports whether a name is among the entries of a directory.
func hasEntry(entries []storage.Info, name string) bool {
	return slices.ContainsFunc(entries, func(e storage.Info) bool { return e.Name == name })
}

// hasFile reports whether a file is among the entries of a directory.
func hasFile(entries []storage.Info, name string) bool {
	return slices.ContainsFunc(entries, func(e storage.Info) bool { return e.Name == name && !e.Dir })
}

// hasDigests reports whether a directory has the digests of a checkpoint. Other programs
// may give a file the same name.
func hasDigests(ctx context.Context, at storage.Location) bool {
	doc, err := transfer.ReadFile(ctx, at, layout.DigestFile, 0, -1)
	if err != nil {
		return false
	}
	sums, err := layout.ParseDigests(doc)
	return err == nil && sums.Has(layout.CheckpointFile)
}

// lookElsewhere is lookOther, except that it reports a missing checkpoint only if no
// lookup has failed.
func lookElsewhere(ctx context.Context, at, live storage.Location, entries []storage.Info) (*Found, error) {
	_, err := live.Dir().Join(layout.CheckpointFile).Stat(ctx)
	if err == nil {
		return lookItem(ctx, live)
	}
	l := &looks{Store: at.Store}
	l.note(err)
	watched := at
	watched.Store = l
	f, err := lookOther(ctx, watched, live, entries)
	if f != nil {
		f.At.Store = at.Store
	} else if l.failed != nil && errors.Is(err, fault.ErrInvalidCheckpoint) {
		err = l.failed
	}
	return f, err
}

// ahead reads those of the named files that are listed, all at the same time. It returns a
// function that returns their outcomes, and reads other files.
func ahead(entries []storage.Info, read func(name string) ([]byte, error), names ...string) func(name string) ([]byte, error) {
	type outcome struct {
		doc []byte
		err error
	}
	var group parallel.Group
	all := map[string]*outcome{}
	for _, name := range names {
		if hasFile(entries, name) {
			o := &outcome{}
			all[name] = o
			group.Go(func() (err error) {
				o.doc, o.err = read(name)
				return nil
			})
		}
	}
	failed := group.Wait() // only if the store ends the goroutine
	return func(name string) ([]byte, error) {
		if o := all[name]; o != nil {
			return o.doc, cmp.Or(failed, o.err)
		}
		return read(name)
	}
}
