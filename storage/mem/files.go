package mem

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// files is one writer of a stage: its owner, or a Joined.
type files struct {
	stage  *stage
	open   map[*writer]bool // not yet closed
	joined bool
	left   bool // by Close
}

func (f *files) Properties() storage.Properties { return f.stage.store.Properties() }

// begin locks the store for a change. It fails if the stage has ended.
func (f *files) begin() (unlock func(), err error) {
	f.stage.store.mu.Lock()
	switch {
	case f.joined && f.stage.done:
		err = errEnded
	case f.stage.revoked:
		err = errRevoked
	case f.left, f.stage.done:
		err = errFinished
	}
	if err != nil {
		f.stage.store.mu.Unlock()
		return nil, err
	}
	return f.stage.store.mu.Unlock, nil
}

func (f *files) Mkdir(ctx context.Context, name string) error {
	if err := checkName(ctx, name); err != nil {
		return err
	}
	unlock, err := f.begin()
	if err != nil {
		return err
	}
	defer unlock()
	_, err = f.stage.store.mkdirs(f.stage.top, name)
	return err
}

func (f *files) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	unlock, err := f.begin()
	if err != nil {
		return nil, err
	}
	defer unlock()
	n := &node{file: &file{}}
	f.stage.store.touch(n)
	w := &writer{files: f, name: name, node: n}
	if err := f.enter(name, n, false); err != nil {
		return nil, err
	}
	f.open[w] = true
	return w, nil
}

// enter gives a new file its name. With a marker, a file directly in the directory gets
// its name when it is complete.
func (f *files) enter(name string, n *node, complete bool) error {
	g := f.stage
	d, err := g.store.mkdirs(g.top, path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if g.o.Marker != "" && d == g.top {
		if f.joined && name == g.o.Marker {
			return fmt.Errorf("%w: %q is written by whoever has begun the save", fault.ErrReservedName, name)
		}
		if was := g.placed[name]; was != nil && was != n {
			return fmt.Errorf("%s: %w", path.Join(g.Dir(), name), fault.ErrExist)
		}
		g.placed[name] = n
		if !complete || name == g.o.Marker {
			return nil
		}
	}
	if d.entries[base] != nil {
		return fmt.Errorf("%s: %w", path.Join(g.Dir(), name), fault.ErrExist)
	}
	g.store.put(d, base, n)
	return nil
}

func (f *files) Link(ctx context.Context, from, name string, o storage.LinkOptions) error {
	if err := checkName(ctx, name); err != nil {
		return err
	}
	unlock, err := f.begin()
	if err != nil {
		return err
	}
	defer unlock()
	n := f.stage.store.root.at(clean(from))
	switch {
	case n == nil:
		return missing("link", from)
	case n.file == nil:
		return fmt.Errorf("%s: not a regular file", from)
	case o.Source.Version != "" && o.Source.Version != n.info(from).Version:
		return fmt.Errorf("%w: %s was written anew or replaced", fault.ErrBusy, from)
	}
	return f.enter(name, n, true)
}

// closed fails if a writer is open.
func (f *files) closed() error {
	for w := range f.open {
		return fmt.Errorf("%s: not closed, or closed with an error", path.Join(f.stage.Dir(), w.name))
	}
	return nil
}

// Close makes files a [storage.Joined].
func (f *files) Close(ctx context.Context) error {
	unlock, err := f.begin()
	if err != nil {
		return err
	}
	defer unlock()
	f.left = true
	return errors.Join(ctx.Err(), f.closed())
}

type writer struct {
	files *files
	name  string
	node  *node
}

// WriteAt keeps a copy of p.
func (w *writer) WriteAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < 0 {
		return fmt.Errorf("%s: negative offset", w.name)
	}
	f := w.node.file
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.whole {
		return fmt.Errorf("%s: written after it was closed", w.name)
	}
	if end := off + int64(len(p)); end > int64(len(f.data)) && len(p) > 0 {
		if end > int64(cap(f.data)) {
			grown := make([]byte, end, max(end, min(2*int64(cap(f.data)), int64(cap(f.data))+growBytes)))
			copy(grown, f.data)
			f.data = grown
		}
		f.data = f.data[:end]
	}
	copy(f.data[off:], p)
	return nil
}

// growBytes is the most unused memory that a growing file gets at once.
const growBytes = 16 << 20

func (w *writer) Close() error {
	f := w.node.file
	f.mu.Lock()
	again := f.whole
	f.whole = true
	f.mu.Unlock()
	if again {
		return fmt.Errorf("%s: closed twice", w.name)
	}
	unlock, err := w.files.begin()
	if err != nil {
		return err
	}
	defer unlock()
	g := w.files.stage
	if g.o.Marker != "" && path.Dir(w.name) == "." {
		err = w.files.enter(w.name, w.node, true)
	}
	g.store.touch(w.node)
	if err == nil {
		delete(w.files.open, w)
	}
	return err
}
