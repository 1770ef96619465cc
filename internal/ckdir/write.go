package ckdir

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// WriteDir is the directory into which a save writes an item. File names are
// slash-separated and relative to it. The files become visible together with the whole
// checkpoint. The checkpoint's digest file covers each of them. Several goroutines may
// use a WriteDir.
type WriteDir struct {
	stage    storage.Files
	name     string
	digested func(file string, sum [sha256.Size]byte)
	engine   *transfer.Engine
	other    bool // not for a pytree
	keep     func(file string, data []byte)
}

// keptBytes is how many bytes of a file that is written in pieces are remembered for
// KeepWith. A larger one is not passed on.
const keptBytes = 64 << 10

// KeepWith makes d, and all directories made of d, call keep with each file that they have
// written. They leave out large files that were written through Create. Several goroutines
// may call keep at the same time.
func (d *WriteDir) KeepWith(keep func(file string, data []byte)) { d.keep = keep }

// Keeps reports whether KeepWith was called.
func (d *WriteDir) Keeps() bool { return d.keep != nil }

// NewWriteDir creates the directory called name in stage. e writes its files; if e is
// nil, each call has its own engine. NewWriteDir calls digested with the SHA-256 of each
// file that is written and the file's name in the stage; several goroutines may make
// these calls.
func NewWriteDir(ctx context.Context, e *transfer.Engine, stage storage.Files, name string, digested func(file string, sum [sha256.Size]byte)) (*WriteDir, error) {
	return &WriteDir{stage: stage, name: name, digested: digested, engine: e}, stage.Mkdir(ctx, name)
}

// Name returns the name of the directory in its stage.
func (d *WriteDir) Name() string { return d.name }

// Stage returns the stage that holds the directory. Files that are written directly to
// the stage have no digest.
func (d *WriteDir) Stage() storage.Files { return d.stage }

// NoTree returns the directory for a handler that is not one of pytrees.
func (d *WriteDir) NoTree() *WriteDir {
	in := *d
	in.other = true
	return &in
}

// IsTree reports whether the directory may have the files by which a pytree is recognised.
func (d *WriteDir) IsTree() bool { return !d.other }

// Engine returns the engine that writes the files. It may be nil.
func (d *WriteDir) Engine() *transfer.Engine { return d.engine }

// Sub returns the directory called name in d. The first file in it creates it.
func (d *WriteDir) Sub(name string) *WriteDir {
	in := *d
	in.name = path.Join(d.name, name)
	return &in
}

// Link links the file called name in the directory from, under the name as. If from knows
// the file's digest, Link checks the file and records the digest. It records the digest
// of every document.
func (d *WriteDir) Link(ctx context.Context, from *ReadDir, name, as string, document bool) error {
	full := path.Join(d.name, as)
	if err := d.stage.Link(ctx, from.At().Join(name).Name, full, storage.LinkOptions{}); err != nil {
		return err
	}
	if !document && !from.Covered(name) {
		return nil
	}
	f, err := from.OpenFile(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	d.digested(full, [sha256.Size]byte(sum.Sum(nil)))
	return nil
}

// WriteFile writes data to the file called name.
func (d *WriteDir) WriteFile(ctx context.Context, name string, data []byte) error {
	if !fs.ValidPath(name) {
		return fmt.Errorf("%w: file %q", fault.ErrReservedName, name)
	}
	full := path.Join(d.name, name)
	if err := d.engine.WriteFile(ctx, d.stage, full, data); err != nil {
		return err
	}
	d.digested(full, sha256.Sum256(data))
	if d.keep != nil {
		d.keep(full, data)
	}
	return nil
}

// Create starts the file called name, which the caller writes from beginning to end. The
// file is part of the checkpoint only after Close has returned nil.
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

// fileWriter turns a [storage.Writer] into a stream and computes the digest of the bytes.
type fileWriter struct {
	ctx  context.Context
	w    storage.Writer
	dir  *WriteDir
	name string
	off  int64
	sum  hash.Hash
	all  []byte // the file so far, unless it is larger or not to be kept
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
	if whole := int64(len(f.all)) == f.off; whole && f.dir.keep != nil && len(f.all)+len(p) <= keptBytes {
		f.all = append(f.all, p...)
	}
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
		if f.dir.keep != nil && int64(len(f.all)) == f.off {
			f.dir.keep(f.name, f.all)
		}
	}
	return f.err
}
