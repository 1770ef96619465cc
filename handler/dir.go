package handler

import (
	"context"
	"crypto/sha256"
	"io"
	"io/fs"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/storage"
)

// WriteDir is the directory of a checkpointable that is being saved. File names
// are slash-separated and relative to it. Files become visible with the whole
// checkpoint; the checkpoint's digest file covers each. Several goroutines may use it.
type WriteDir ckdir.WriteDir

// NewWriteDir creates the directory called name in stage. It calls digested with the
// SHA-256 of each file that is written, by its name in the stage; several
// goroutines may call it. Package orbax makes the directories of its saves;
// others need this to test a handler.
func NewWriteDir(ctx context.Context, stage storage.Files, name string, digested func(file string, sum [sha256.Size]byte)) (*WriteDir, error) {
	d, err := ckdir.NewWriteDir(ctx, nil, stage, name, digested)
	return (*WriteDir)(d), err
}

func (d *WriteDir) inner() *ckdir.WriteDir { return (*ckdir.WriteDir)(d) }

// WriteFile writes a file.
func (d *WriteDir) WriteFile(ctx context.Context, name string, data []byte) error {
	return d.inner().WriteFile(ctx, name, data)
}

// Create starts a file that is written from beginning to end. It counts only
// once Close has returned nil.
func (d *WriteDir) Create(ctx context.Context, name string) (io.WriteCloser, error) {
	return d.inner().Create(ctx, name)
}

// ReadDir is the directory of a checkpointable that is being loaded. File names
// are slash-separated and relative to it. It may be used by several goroutines.
type ReadDir ckdir.ReadDir

// NewReadDir returns the directory called name of the checkpoint at root in
// store. digests are those of the checkpoint, nil if it has none. unchanged, if
// not nil, is called with the outcome of reading data and may replace it, if the
// checkpoint has been replaced meanwhile. Package orbax makes the directories of
// its loads; others need this to test a handler.
func NewReadDir(store storage.Store, root, name string, digests Digests, unchanged func(context.Context, error) error) *ReadDir {
	return (*ReadDir)(ckdir.NewReadDir(ckdir.Place{Store: store, Root: root, Name: name, Digests: digests, Unchanged: unchanged}))
}

func (d *ReadDir) inner() *ckdir.ReadDir { return (*ckdir.ReadDir)(d) }

// ReadFile returns a file's contents. A missing file is an error that matches
// fs.ErrNotExist; one that the checkpoint's digests mention, and that is missing
// or differs, matches orbax.ErrCorrupt instead.
func (d *ReadDir) ReadFile(ctx context.Context, name string) ([]byte, error) {
	return d.inner().ReadFile(ctx, name)
}

// List returns the entries of the directory called name, "." for the top.
func (d *ReadDir) List(ctx context.Context, name string) ([]storage.Info, error) {
	return d.inner().List(ctx, name)
}

// FS returns the directory as a file system for code that takes one. Files are
// read whole, and checked, when they are opened. ctx governs all reads.
func (d *ReadDir) FS(ctx context.Context) fs.ReadFileFS { return d.inner().FS(ctx) }

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

// Operation is the save that a handler's Save takes part in: what moves its data, and what
// it shares with the step before. It has nothing for other packages; see
// [SaveOptions].Operation.
type Operation ckdir.Operation

// settings returns what the handlers of this package take from the save.
func (o *Operation) settings() ckdir.Settings { return (*ckdir.Operation)(o).Settings() }
