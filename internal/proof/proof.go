// Package proof finds out whether a directory is a checkpoint and nothing else,
// before it is removed or replaced. It goes by what Orbax and this package write:
// names in their places, documents that parse, the files that documents name, and
// the litter that desktops and notebooks leave everywhere. Whatever else it finds
// keeps the directory.
//
// A checkpoint that is damaged is one still, as long as most of its documents can
// be recognised. Symbolic links count as entries and are never followed down.
package proof

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// Checkpoint returns the look at directories that are a checkpoint and nothing
// else. What is none fails with ErrInvalidCheckpoint, and with the first of the
// entries that stand in the way.
func Checkpoint(store storage.Store) storage.Look {
	return func(ctx context.Context, dir string) ([]storage.Item, error) {
		w := newWalk(ctx, store, dir)
		return w.result(w.root("", false))
	}
}

// Replaced is [Checkpoint] that accepts an empty directory as well: to replace it
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

// Temporary returns the look at what a save or a removal has left: what a
// checkpoint can have, of which any part may be missing. The directory's name must
// be one of [storage.IsTemporary].
func Temporary(store storage.Store) storage.Look {
	return func(ctx context.Context, dir string) ([]storage.Item, error) {
		w := newWalk(ctx, store, dir)
		w.partial, w.orbax = true, true
		return w.result(w.root("", false))
	}
}

// Session returns the look at the directory of a session of partial saves: its
// parts, what a finalize by Orbax has merged of them, or nothing at all.
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

// Part returns the look at the directory of the checkpointable called name: what
// its documents, and those of the checkpoint that it is in, say that it has. Some
// of it may have been removed already.
func Part(store storage.Store, checkpoint, name string) storage.Look {
	return func(ctx context.Context, dir string) ([]storage.Item, error) {
		w := newWalk(ctx, store, dir)
		w.partial, w.orbax = true, true
		docs := newWalk(ctx, store, checkpoint)
		r, err := docs.documents("", false)
		if err == nil {
			r.named[name], r.under = true, name
			err = w.part(r, name, "")
		}
		return w.result(err)
	}
}

// walk is a look at one directory.
type walk struct {
	ctx   context.Context
	store storage.Store
	top   string
	// partial is set where anything may be missing or cut short: what a save or a
	// removal has left half done.
	partial bool
	// merging is set where Orbax may be moving arrays into a tree whose document does
	// not name them yet.
	merging bool
	// cut is set where documents may be cut short, as there is no marker that a save
	// has come to its end.
	cut bool

	items    []storage.Item
	strange  []string // entries that have no place in a checkpoint
	doubtful []string // documents that do not parse
	proven   int      // documents that do
	orbax    bool     // something that only Orbax and this package write
	several  []string // trees at a root that has no document of its own
}

func newWalk(ctx context.Context, store storage.Store, dir string) *walk {
	return &walk{ctx: ctx, store: store, top: dir}
}

// maxNamed is how many entries an error names.
const maxNamed = 5

// result returns what the walk has found, if all of it may go.
func (w *walk) result(err error) ([]storage.Item, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.ErrNotExist // removed meanwhile
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

// list names the first of some entries.
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

// entries returns the entries of a directory that are not litter, which it takes.
func (w *walk) entries(dir string) ([]storage.Entry, error) {
	all, err := storage.Entries(w.ctx, w.store, path.Join(w.top, dir))
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
	// The names that a notebook server has copied must belong here themselves.
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

// refuse notes an entry that has no place here.
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

// inside calls f for a directory that has been accepted, and for a link nothing:
// what it leads to stays.
func (w *walk) inside(name string, e storage.Entry, f func() error) error {
	w.take(name, e)
	if isLink(e) {
		return nil
	}
	return f()
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }

func cutLast(s, sep string) (before, after string, found bool) {
	at := strings.LastIndex(s, sep)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+len(sep):], true
}

// isPending reports whether name is that of a part of a session of partial saves:
// <session>.pending_<time in ns>_<hexadecimal digits>.
func isPending(name string) bool {
	_, rest, ok := cutLast(name, layout.PartialSuffix+layout.PendingMark)
	when, id, cut := strings.Cut(rest, "_")
	return ok && cut && when != "" && strings.Trim(when, "0123456789") == "" && isHex(id)
}
