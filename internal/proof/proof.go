// Package proof finds out whether a directory is a checkpoint and nothing else, before it
// is removed or replaced.
//
// It accepts the files that Orbax and this package write: names in their places,
// documents that parse, and the files that documents name. It also accepts the litter
// that desktops and notebooks leave everywhere. Any other file keeps the directory from
// being removed.
//
// A damaged checkpoint still counts as one, as long as most of its documents can be
// recognised. Symbolic links count as entries and are never followed.
package proof

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// Checkpoint returns a [storage.Look] for directories that must be a checkpoint and
// nothing else. For any other directory it fails with ErrInvalidCheckpoint and names the
// first entries that do not belong to a checkpoint.
func Checkpoint(store storage.Store) storage.Look {
	return func(ctx context.Context, dir string) ([]storage.Item, error) {
		w := newWalk(ctx, store, dir)
		return w.result(w.root("", false))
	}
}

// Replaced is [Checkpoint] that also accepts an empty directory, because replacing it
// destroys nothing.
func Replaced(store storage.Store) storage.Look {
	return func(ctx context.Context, dir string) ([]storage.Item, error) {
		entries, err := storage.Entries(ctx, store, dir)
		if err == nil && len(entries) == 0 {
			return nil, nil
		}
		return Checkpoint(store)(ctx, dir)
	}
}

// Remains is [Replaced] that also accepts what an interrupted copy of a checkpoint leaves:
// any file may be missing or cut short. Each entry must still have a name and a place that
// files of a checkpoint have, and one of them must be a document whose name only Orbax and
// this package use.
func Remains(store storage.Store) storage.Look {
	return func(ctx context.Context, dir string) ([]storage.Item, error) {
		items, err := Replaced(store)(ctx, dir)
		if !errors.Is(err, fault.ErrInvalidCheckpoint) {
			return items, err
		}
		w := newWalk(ctx, store, dir)
		w.partial = true
		werr := w.root("", false)
		w.orbax = w.orbax || w.named
		if items, werr := w.result(werr); werr == nil {
			return items, nil
		}
		return nil, err
	}
}

// Temporary returns a [storage.Look] for the remains of a save or a removal. It accepts
// the files of a checkpoint, any of which may be missing, and those of a session of partial
// saves if the name says that it was one. [storage.IsTemporary] must accept the
// directory's name.
func Temporary(store storage.Store) storage.Look {
	return func(ctx context.Context, dir string) ([]storage.Item, error) {
		w := newWalk(ctx, store, dir)
		w.partial, w.orbax = true, true
		w.merging = strings.Contains(dir, layout.PartialSuffix+storage.TempMarker) // the name, or that of the directory into which it was moved
		return w.result(w.root("", w.merging))
	}
}

// Session returns a [storage.Look] for the directory of a session of partial saves. It
// accepts the session's parts, the result of a finalize by Orbax that merged them, and an
// empty directory.
func Session(store storage.Store) storage.Look {
	return func(ctx context.Context, dir string) ([]storage.Item, error) {
		entries, err := storage.Entries(ctx, store, dir)
		if err == nil && len(entries) == 0 {
			return nil, nil
		}
		w := newWalk(ctx, store, dir)
		w.partial, w.merging = true, true
		return w.result(w.root("", true))
	}
}

// Part returns a [storage.Look] for the directory of the checkpointable called name, which
// is in the checkpoint at a location or was moved out of it. It accepts the files that its
// documents, and those of the checkpoint around it, name. Some of them may have been
// removed already.
func Part(checkpoint storage.Location, name string) storage.Look {
	return func(ctx context.Context, dir string) ([]storage.Item, error) {
		w := newWalk(ctx, checkpoint.Store, dir)
		w.partial, w.orbax = true, true
		docs := newWalk(ctx, checkpoint.Store, checkpoint.Name)
		r, err := docs.documents("", false)
		if err == nil {
			r.named[name], r.under = true, name
			err = w.part(r, name, "")
		}
		return w.result(err)
	}
}

// walk examines one directory.
type walk struct {
	ctx context.Context
	top storage.Location
	// partial says that anything may be missing or cut short, because a save or a removal
	// did not finish.
	partial bool
	// merging says that Orbax may be moving arrays into a tree whose document does not
	// name them yet.
	merging bool
	// cut says that documents may be cut short, because there is no marker that the save
	// has ended.
	cut bool

	items    []storage.Item
	strange  []string // entries that do not belong to a checkpoint
	doubtful []string // documents that do not parse
	proven   int      // number of documents that do parse
	orbax    bool     // there is a file that only Orbax and this package write
	named    bool     // there is a document, perhaps damaged, with a name that only they use
	several  []string // trees at a root that has no document itself
}

func newWalk(ctx context.Context, store storage.Store, dir string) *walk {
	return &walk{ctx: ctx, top: storage.At(readAhead(ctx, store, dir), dir)}
}

// maxNamed is the largest number of entries that an error names.
const maxNamed = 5

// result returns the entries that the walk has found, if all of them may be removed.
func (w *walk) result(err error) ([]storage.Item, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.ErrNotExist // it was removed meanwhile
	}
	if err != nil {
		return nil, err
	}
	switch {
	case len(w.strange) > 0 && w.orbax && len(w.doubtful) <= w.proven:
		return nil, fmt.Errorf("%w: %s; move that away first", fault.ErrHoldsOther, list(w.strange))
	case len(w.strange) > 0:
		err = fmt.Errorf("it holds what is not part of a checkpoint: %s; move that away first", list(w.strange))
	case len(w.doubtful) > w.proven:
		err = fmt.Errorf("too few of its documents can be recognised: not %s", list(w.doubtful))
	case !w.orbax:
		err = errors.New("it has no document of Orbax")
	case len(w.several) > 0:
		return nil, fmt.Errorf("%w, and it may be several checkpoints: %s; delete each", ErrSeveral, list(w.several))
	default:
		return w.items, nil
	}
	return nil, fmt.Errorf("%w: %w", fault.ErrInvalidCheckpoint, err)
}

// list joins the first of some names.
func list(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i == maxNamed {
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", name)
	}
	return b.String()
}

// entries returns the entries of a directory except litter, which it takes.
func (w *walk) entries(dir string) ([]storage.Entry, error) {
	all, err := storage.Entries(w.ctx, w.top.Store, w.top.Join(dir).Name)
	if err != nil {
		return nil, err
	}
	rest := all[:0:0]
	for _, e := range all {
		if taken, err := w.litter(dir, e); err != nil {
			return nil, err
		} else if !taken {
			rest = append(rest, e)
		}
	}
	// The originals of a notebook server's copies must be in this directory.
	for i, e := range rest {
		if e.Name == layout.NotebookDir && e.Type.IsDir() {
			taken, err := w.notebook(dir, rest)
			if err != nil {
				return nil, err
			}
			if taken {
				rest = append(rest[:i:i], rest[i+1:]...)
			}
			break
		}
	}
	return rest, nil
}

// take accepts an entry.
func (w *walk) take(name string, e storage.Entry) {
	w.items = append(w.items, storage.Item{Name: name, Dir: e.Type.IsDir()})
}

// refuse records an entry that does not belong here.
func (w *walk) refuse(name string, e storage.Entry) {
	if e.Type.IsDir() {
		name += "/"
	}
	w.strange = append(w.strange, name)
}

// isFile reports whether an entry is a file, or a link that can lead to one.
func isFile(e storage.Entry) bool { return e.Type.IsRegular() || isLink(e) }

func isLink(e storage.Entry) bool { return e.Type&fs.ModeSymlink != 0 }

// isDir reports whether an entry is a directory, or a link that can lead to one.
func isDir(e storage.Entry) bool { return e.Type.IsDir() || isLink(e) }

// inside takes a directory and calls f for it. For a link it does not call f: the target
// of the link stays.
func (w *walk) inside(name string, e storage.Entry, f func() error) error {
	w.take(name, e)
	if isLink(e) {
		return nil
	}
	return f()
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }
