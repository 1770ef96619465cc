package handler

import (
	"context"
	"crypto/sha256"
	"io"
	"io/fs"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// WriteDir is the directory into which a save writes a checkpointable. File names are
// slash-separated and relative to it. The files become visible together with the whole
// checkpoint. The checkpoint's digest file covers each of them. Several goroutines may
// use a WriteDir.
//
// Some names are refused, and the error matches orbax.ErrReservedName. No file and no
// directory has the name of a document at the root of a checkpoint, which would make it
// another checkpoint: orbax.checkpoint, _CHECKPOINT_METADATA, _CHECKPOINT_DELETION,
// digests.sha256 and digests.<hexadecimal digits>.sha256. None has a name that contains
// [storage.TempMarker], and no directory the name of a session of partial saves,
// <path>.partial_save. In a save, a handler that is no [TreeHandler] also gives no entry
// at the top of the directory a name by which a pytree is recognised: _METADATA,
// _sharding, _strings.json, array_metadatas, d, manifest.ocdbt, manifest.<16 hexadecimal
// digits>, and names that begin with ocdbt.process_ or go-orbax.; nor commit_success.txt.
type WriteDir ckdir.WriteDir

// NewWriteDir creates the directory called name in stage. It calls digested with the
// SHA-256 of each file that is written and the file's name in the stage; several
// goroutines may make these calls. Package orbax makes the directories of its saves.
// Other packages need NewWriteDir to test a handler; it allows the names that a
// [TreeHandler] may use.
func NewWriteDir(ctx context.Context, stage storage.Files, name string, digested func(file string, sum [sha256.Size]byte)) (*WriteDir, error) {
	d, err := ckdir.NewWriteDir(ctx, nil, stage, name, digested)
	return (*WriteDir)(d), err
}

func (d *WriteDir) inner() *ckdir.WriteDir { return (*ckdir.WriteDir)(d) }

// WriteFile writes data to the file called name.
func (d *WriteDir) WriteFile(ctx context.Context, name string, data []byte) error {
	if err := layout.CheckFile(name, d.inner().IsTree()); err != nil {
		return err
	}
	return d.inner().WriteFile(ctx, name, data)
}

// Create starts the file called name, which the caller writes from beginning to end. The
// file is part of the checkpoint only after Close has returned nil.
func (d *WriteDir) Create(ctx context.Context, name string) (io.WriteCloser, error) {
	if err := layout.CheckFile(name, d.inner().IsTree()); err != nil {
		return nil, err
	}
	return d.inner().Create(ctx, name)
}

// ReadDir is the directory from which a checkpointable is loaded. File names are
// slash-separated and relative to it. It may have a file that no handler has written:
// commit_success.txt, in a checkpoint that was saved with orbax.CommitFile, and in any of
// Orbax v0. Several goroutines may use a ReadDir.
type ReadDir ckdir.ReadDir

// NewReadDir returns the directory called name of the checkpoint at root.
// digests are those of the checkpoint, nil if it has none. unchanged, if not nil, is
// called with the outcome of reading data. It returns that outcome, or an error if the
// checkpoint has been replaced meanwhile. Package orbax makes the directories of its
// loads. Other packages need NewReadDir to test a handler.
func NewReadDir(root storage.Location, name string, digests Digests, unchanged func(context.Context, error) error) *ReadDir {
	return (*ReadDir)(ckdir.NewReadDir(ckdir.Place{Root: root, Name: name, Digests: digests, Unchanged: unchanged}))
}

func (d *ReadDir) inner() *ckdir.ReadDir { return (*ckdir.ReadDir)(d) }

// Open opens the file called name, to be read from beginning to end. A file that
// [WriteDir.Create] has made can be larger than ReadFile allows. Read compares the file
// with its digest before it returns io.EOF, so data is known to be intact only after that.
// The errors are those of ReadFile. ctx governs all reads.
func (d *ReadDir) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	return d.inner().OpenFile(ctx, name)
}

// ReadFile returns the contents of the file called name. If the checkpoint's digests list
// the file and it is missing or differs, the error matches orbax.ErrCorrupt. For any
// other missing file it matches [fs.ErrNotExist]. A file may have 4 GiB, and one with the
// name of a document of a checkpoint less; Open has no limit.
func (d *ReadDir) ReadFile(ctx context.Context, name string) ([]byte, error) {
	return d.inner().ReadFile(ctx, name)
}

// List returns the entries of the directory called name. The top directory is ".".
func (d *ReadDir) List(ctx context.Context, name string) ([]storage.Info, error) {
	return d.inner().List(ctx, name)
}

// FS returns the directory as a file system. It reads and checks each file as a whole
// when the file is opened. ctx governs all reads.
func (d *ReadDir) FS(ctx context.Context) fs.ReadFileFS { return d.inner().FS(ctx) }

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

// Operation is the save in which a handler's Save takes part. It says how data is moved
// and which data is shared with the step before. Other packages pass it on; see
// [SaveOptions].Operation.
type Operation ckdir.Operation

// Processes returns the rank of this process among those that save together, and their
// number: 0 and 1 if no other process takes part. A handler that adds files of its own to
// those of a pytree writes them in one process only, for example in that with rank 0. A
// nil Operation has one process.
func (o *Operation) Processes() (rank, size int) {
	p := o.settings().Process
	return p.Rank, max(1, p.Size)
}

// settings returns the settings of the save that the handlers of this package use.
func (o *Operation) settings() ckdir.Settings { return (*ckdir.Operation)(o).Settings() }
