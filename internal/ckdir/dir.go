// Package ckdir provides the directory of an item of a checkpoint to the packages that
// store items: its location, the engine that moves its files, and the digests that cover
// them. Package handler shows a part of it to authors of handlers.
package ckdir

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync/atomic"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// ReadDir is the directory from which an item is loaded. File names are slash-separated
// and relative to it. Several goroutines may use a ReadDir.
type ReadDir struct{ in Place }

// Place says where a [ReadDir] is and how it is read.
type Place struct {
	Root storage.Location // of the checkpoint
	Name string           // of the directory in the checkpoint; "" for the root itself
	// Digests are those of the checkpoint, nil if it has none.
	Digests Digests
	// Unchanged, if set, is called with the outcome of reading data. It returns that
	// outcome, or an error if the checkpoint has been replaced meanwhile.
	Unchanged func(ctx context.Context, err error) error
	// Open, if set, returns an error once the checkpoint has been closed.
	Open func() error
	// Alone says that nothing asks Open and Unchanged after the reads, so that each read
	// does.
	Alone bool
	// Unproven, if set, becomes true when something is read that no digest covers: a file
	// without a digest, or a list of files.
	Unproven *atomic.Bool
	// Engine reads the files. If it is nil, each call has its own engine.
	Engine *transfer.Engine
}

// NewReadDir returns the directory at a place.
func NewReadDir(p Place) *ReadDir {
	if p.Digests == nil {
		p.Digests = noDigests{}
	}
	if p.Unchanged == nil {
		p.Unchanged = func(_ context.Context, err error) error { return err }
	}
	return &ReadDir{p}
}

// At returns where the directory is.
func (d *ReadDir) At() storage.Location { return d.in.Root.Join(d.in.Name) }

// Name returns the name of the directory in its checkpoint. It is "" for the top of a
// path that may be no checkpoint of Orbax.
func (d *ReadDir) Name() string { return d.in.Name }

// Engine returns the engine that reads the files. It may be nil.
func (d *ReadDir) Engine() *transfer.Engine { return d.in.Engine }

// Unchanged takes and returns the outcome of reading. It returns another error if the
// checkpoint is no longer the one that was opened.
func (d *ReadDir) Unchanged(ctx context.Context, err error) error { return d.in.Unchanged(ctx, err) }

// Open returns a function that fails once the checkpoint has been closed. It returns nil
// if the checkpoint stays open.
func (d *ReadDir) Open() func() error { return d.in.Open }

// Sub returns the directory called name in d.
func (d *ReadDir) Sub(name string) *ReadDir {
	in := d.in
	in.Name = path.Join(in.Name, name)
	return &ReadDir{in}
}

// Covered reports whether the digest of the file called name is known.
func (d *ReadDir) Covered(name string) bool {
	return d.in.Digests.Has(path.Join(d.in.Name, name))
}

// CoveredBeginning returns the files of the directory, in order, that have a known digest
// and whose names begin with prefix. It leaves out files in directories below.
func (d *ReadDir) CoveredBeginning(prefix string) (names []string) {
	for _, file := range d.in.Digests.Beginning(path.Join(d.in.Name, prefix)) {
		if dir, name := path.Split(file); path.Clean(dir) == path.Clean(d.in.Name) {
			names = append(names, name)
		}
	}
	return names
}

// Digests hold the SHA-256 of each file of a checkpoint. Files are named relative to the
// checkpoint's root. Several goroutines may call the methods.
type Digests interface {
	// Has reports whether the digest of a file is known.
	Has(file string) bool
	// CheckSum returns an error that matches orbax.ErrCorrupt if sum, the SHA-256 of a
	// file's contents, differs from the known digest of the file.
	CheckSum(file string, sum [sha256.Size]byte) error
	// Beginning returns, in order, the files with a known digest whose names begin with
	// prefix. A load calls it for each pytree, so it must not look at all files. The
	// caller does not change the result.
	Beginning(prefix string) []string
}

// noDigests are the digests of a checkpoint of another writer, which has none.
type noDigests struct{}

func (noDigests) Has(string) bool                          { return false }
func (noDigests) CheckSum(string, [sha256.Size]byte) error { return nil }
func (noDigests) Beginning(string) []string                { return nil }

// ReadFile returns the contents of the file called name. If the checkpoint's digests list
// the file and it is missing or differs, the error matches ErrCorrupt. For any other
// missing file it matches [fs.ErrNotExist].
func (d *ReadDir) ReadFile(ctx context.Context, name string) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%w: file %q", fault.ErrReservedName, name)
	}
	if !d.Covered(name) {
		d.noteUnproven()
	}
	full := path.Join(d.in.Name, name)
	b, err := d.in.Engine.ReadFile(ctx, d.in.Root, full, 0, -1)
	switch {
	case NotExist(err) && d.Covered(name):
		err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, full)
	case err == nil && d.Covered(name):
		err = d.in.Digests.CheckSum(full, sha256.Sum256(b))
	}
	return b, d.outcome(ctx, err)
}

// outcome returns err, the outcome of a read, unless the checkpoint has been closed or
// replaced and the reader does not look.
func (d *ReadDir) outcome(ctx context.Context, err error) error {
	if !d.in.Alone {
		return err
	}
	if d.in.Open != nil {
		if err := d.in.Open(); err != nil {
			return err
		}
	}
	return d.in.Unchanged(ctx, err)
}

// ReadOptional returns the contents of a file that a checkpoint need not have. It returns
// nil if the file does not exist.
func (d *ReadDir) ReadOptional(ctx context.Context, name string) ([]byte, error) {
	b, err := d.ReadFile(ctx, name)
	if NotExist(err) {
		return nil, nil
	}
	return b, err
}

// List returns the entries of the directory called name. The top directory is ".".
func (d *ReadDir) List(ctx context.Context, name string) ([]storage.Info, error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%w: directory %q", fault.ErrReservedName, name)
	}
	d.noteUnproven()
	entries, err := d.At().Join(name).List(ctx)
	return entries, d.outcome(ctx, err)
}

// Stat describes the file or directory called name.
func (d *ReadDir) Stat(ctx context.Context, name string) (storage.Info, error) {
	if !fs.ValidPath(name) {
		return storage.Info{}, fs.ErrInvalid
	}
	info, err := d.At().Join(name).Stat(ctx)
	return info, d.outcome(ctx, err)
}

// noteUnproven records that something is read that no digest covers.
func (d *ReadDir) noteUnproven() {
	if d.in.Unproven != nil {
		d.in.Unproven.Store(true)
	}
}

// NotExist reports whether err means that a file does not exist.
func NotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
