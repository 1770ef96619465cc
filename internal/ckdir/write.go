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

// WriteDir is the directory of an item that is being saved. File names are
// slash-separated and relative to it. Files become visible with the whole
// checkpoint; each is covered by the checkpoint's digest file. Several goroutines
// may use it.
type WriteDir struct {
	stage    storage.Files
	name     string
	digested func(file string, sum [sha256.Size]byte)
	engine   *transfer.Engine
}

// NewWriteDir creates the directory called name in stage. e writes its files; with nil
// each call has an engine of its own. digested gets the SHA-256 of each file that is
// written, by its name in the stage; several goroutines may call it.
func NewWriteDir(ctx context.Context, e *transfer.Engine, stage storage.Files, name string, digested func(file string, sum [sha256.Size]byte)) (*WriteDir, error) {
	return &WriteDir{stage: stage, name: name, digested: digested, engine: e}, stage.Mkdir(ctx, name)
}

// Name returns the name of the directory in its stage.
func (d *WriteDir) Name() string { return d.name }

// Stage returns what the directory is in. Files that are written to it directly have no
// digest.
func (d *WriteDir) Stage() storage.Files { return d.stage }

// Engine returns the engine that writes the files; nil will do for it.
func (d *WriteDir) Engine() *transfer.Engine { return d.engine }

// Sub returns the directory called name in d, which the first file in it creates.
func (d *WriteDir) Sub(name string) *WriteDir {
	in := *d
	in.name = path.Join(d.name, name)
	return &in
}

// Link links a file of another directory. If its digest is known there it is
// checked, and known here, as is that of every document.
func (d *WriteDir) Link(ctx context.Context, from *ReadDir, name, as string, document bool) error {
	full := path.Join(d.name, as)
	if err := d.stage.Link(ctx, path.Join(from.Path(), name), full, storage.LinkOptions{}); err != nil {
		return err
	}
	if !document && !from.Covered(name) {
		return nil
	}
	doc, err := from.ReadFile(ctx, name)
	if err != nil {
		return err
	}
	d.digested(full, sha256.Sum256(doc))
	return nil
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
