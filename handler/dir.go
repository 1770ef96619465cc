package handler

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// WriteDir is the directory of a checkpointable that is being saved. File names
// are slash-separated and relative to it. Files become visible with the whole
// checkpoint; each is covered by the checkpoint's digest file.
type WriteDir struct {
	stage    storage.Files
	name     string
	digested func(file string, sum [sha256.Size]byte)
	// database is the directory of a pytree's database; "" is the top.
	database string
	engine   *transfer.Engine
	reuse    *Reuse
	like     func() *ReadDir
}

// NewWriteDir creates the directory called name in stage. digested is told the
// SHA-256 of each file that is written, by its name in the stage; several
// goroutines may call it. Package orbax makes the directories of its saves;
// others need this to test a handler.
func NewWriteDir(ctx context.Context, stage storage.Files, name string, digested func(file string, sum [sha256.Size]byte)) (*WriteDir, error) {
	return &WriteDir{stage: stage, name: name, digested: digested}, stage.Mkdir(ctx, name)
}

// Use makes e write the files. Package orbax calls it; without it each call has an
// engine of its own.
func (d *WriteDir) Use(e *transfer.Engine) { d.engine = e }

// Like gives the files of documents the names that they have in the directory that before
// returns, if that is not nil. Package orbax calls it in a run of training.
func (d *WriteDir) Like(before func() *ReadDir) { d.like = before }

// called returns which of names, of one document, the one in the directory has: that
// which it has in the step before, or the first.
func (d *WriteDir) called(ctx context.Context, names []string) string {
	if d.like == nil {
		return names[0]
	}
	if before := d.like(); before != nil {
		for _, name := range names {
			if _, err := before.stat(ctx, name); err == nil {
				return name
			}
		}
	}
	return names[0]
}

// WriteFile writes a file.
func (d *WriteDir) WriteFile(ctx context.Context, name string, data []byte) error {
	if !fs.ValidPath(name) {
		return fmt.Errorf("%w: file %q", fault.ErrReservedName, name)
	}
	full := path.Join(d.name, name)
	if err := d.engine.WriteFile(ctx, d.stage, full, data); err != nil {
		return err
	}
	d.digested(full, sha256.Sum256(data))
	return nil
}

// Create starts a file that is written from beginning to end. It counts only
// once Close has returned nil.
func (d *WriteDir) Create(ctx context.Context, name string) (io.WriteCloser, error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%w: file %q", fault.ErrReservedName, name)
	}
	full := path.Join(d.name, name)
	w, err := d.stage.Create(ctx, full, -1)
	if err != nil {
		return nil, err
	}
	return &fileWriter{ctx: ctx, w: w, dir: d, name: full, sum: sha256.New()}, nil
}

// fileWriter turns a storage.Writer into a stream, digesting what passes.
type fileWriter struct {
	ctx  context.Context
	w    storage.Writer
	dir  *WriteDir
	name string
	off  int64
	sum  hash.Hash
	err  error
	done bool
}

func (f *fileWriter) Write(p []byte) (int, error) {
	if f.err == nil {
		f.err = f.w.WriteAt(f.ctx, p, f.off)
	}
	if f.err != nil {
		return 0, f.err
	}
	f.sum.Write(p)
	f.off += int64(len(p))
	return len(p), nil
}

func (f *fileWriter) Close() error {
	if f.done {
		return fs.ErrClosed
	}
	f.done = true
	if err := f.w.Close(); f.err == nil {
		f.err = err
	}
	if f.err == nil {
		f.dir.engine.Counters().AddFile(f.off)
		f.dir.digested(f.name, [sha256.Size]byte(f.sum.Sum(nil)))
	}
	return f.err
}

// ReadDir is the directory of a checkpointable that is being loaded. File names
// are slash-separated and relative to it. It may be used by several goroutines.
type ReadDir struct {
	store   storage.Store
	root    string // of the checkpoint
	name    string
	digests Digests
	// unchanged replaces the outcome of reading if the checkpoint is no longer
	// the one that was opened.
	unchanged func(ctx context.Context, err error) error
	open      func() error // nil: it stays open
	engine    *transfer.Engine
}

// NewReadDir returns the directory called name of the checkpoint at root in
// store. digests are those of the checkpoint, nil if it has none. unchanged, if
// not nil, is called with the outcome of reading data and may replace it, if the
// checkpoint has been replaced meanwhile. Package orbax makes the directories of
// its loads; others need this to test a handler.
func NewReadDir(store storage.Store, root, name string, digests Digests, unchanged func(context.Context, error) error) *ReadDir {
	if digests == nil {
		digests = noDigests{}
	}
	if unchanged == nil {
		unchanged = func(_ context.Context, err error) error { return err }
	}
	return &ReadDir{store: store, root: root, name: name, digests: digests, unchanged: unchanged}
}

// Use makes e read the files. Package orbax calls it; without it each call has an
// engine of its own.
func (d *ReadDir) Use(e *transfer.Engine) { d.engine = e }

// While makes the trees that are opened in the directory fail with the error that open
// returns, if it returns one. Package orbax calls it, as a checkpoint can be closed.
func (d *ReadDir) While(open func() error) { d.open = open }

// Digests know the SHA-256 of a checkpoint's files, by their names below its
// root. Several goroutines use them.
type Digests interface {
	// Has reports whether the digest of a file is known.
	Has(file string) bool
	// Check returns an error that matches orbax.ErrCorrupt if data differs
	// from the known digest of a file.
	Check(file string, data []byte) error
	// Beginning returns the files whose digest is known and whose names begin with
	// prefix, in order. It must not look at all files, as a load calls it for each
	// pytree. The caller does not change the result.
	Beginning(prefix string) []string
}

// noDigests are those of a checkpoint of another writer.
type noDigests struct{}

func (noDigests) Has(string) bool            { return false }
func (noDigests) Check(string, []byte) error { return nil }
func (noDigests) Beginning(string) []string  { return nil }

// ReadFile returns a file's contents. A missing file is an error that matches
// fs.ErrNotExist; one that the checkpoint's digests mention, and that is missing
// or differs, matches ErrCorrupt instead.
func (d *ReadDir) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%w: file %q", fault.ErrReservedName, name)
	}
	full := path.Join(d.name, name)
	b, err := d.engine.ReadFile(ctx, d.store, d.root, full, 0, -1)
	if isNotExist(err) && d.digests.Has(full) {
		return nil, fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, full)
	}
	if err != nil {
		return nil, err
	}
	return b, d.digests.Check(full, b)
}

// readOptional is ReadFile for a file that a checkpoint need not have: nil if
// it does not exist.
func (d *ReadDir) readOptional(ctx context.Context, name string) ([]byte, error) {
	b, err := d.ReadFile(ctx, name)
	if isNotExist(err) {
		return nil, nil
	}
	return b, err
}

// List returns the entries of the directory called name, "." for the top.
func (d *ReadDir) List(ctx context.Context, name string) ([]storage.Info, error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%w: directory %q", fault.ErrReservedName, name)
	}
	return d.store.List(ctx, path.Join(d.root, d.name, name))
}

// path is where the directory is in its store.
func (d *ReadDir) path() string { return path.Join(d.root, d.name) }

func (d *ReadDir) stat(ctx context.Context, name string) (storage.Info, error) {
	if !fs.ValidPath(name) {
		return storage.Info{}, fs.ErrInvalid
	}
	return d.store.Stat(ctx, path.Join(d.path(), name))
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
