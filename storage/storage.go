// Package storage says where checkpoints live: an interface, and the local
// disk behind it.
//
// A checkpoint is a directory that is written once, as a whole. Store.Begin
// starts one in a place that readers do not see; Stage.Commit makes it appear,
// complete and durable, at its path. What a program usually needs is
//
//	store, dir, err := storage.Resolve("/ckpt/step_100")
//	info, err := store.List(ctx, dir)
//
// Names inside a store are slash-separated. Other stores register a scheme, as
// drivers of database/sql do.
package storage

import (
	"context"
	"os"
	"sync"
	"time"
)

// Store holds checkpoints under slash-separated names. A missing name is an
// error that matches fs.ErrNotExist. A Store may be used by several goroutines.
type Store interface {
	// Open opens a regular file for reading.
	Open(ctx context.Context, name string) (Reader, error)
	// Stat describes a file or directory.
	Stat(ctx context.Context, name string) (Info, error)
	// List returns the entries of a directory in the order of their names. What is
	// there before the call and after it is among them, whatever else comes and goes
	// meanwhile; and if an entry comes before another one goes, at least one of the
	// two is. Where that cannot be had, as the directory changes too fast, List fails
	// with ErrBusy. Links that lead nowhere are left out.
	List(ctx context.Context, dir string) ([]Info, error)
	// Begin starts to write the directory dir, creating its parents, which
	// stay whatever becomes of dir. It fails with ErrExist if dir exists and
	// overwrite is false, with ErrInvalidCheckpoint if dir is no directory and
	// overwrite is true, and with ErrBusy if another writer has begun the same
	// dir and has neither committed nor aborted.
	Begin(ctx context.Context, dir string, overwrite bool) (Stage, error)
}

// Info describes a file or directory.
type Info struct {
	Name    string // last element of its name
	Size    int64  // bytes, for a file
	Dir     bool
	ModTime time.Time
}

// Reader reads a file. It may be used by several goroutines.
type Reader interface {
	// ReadAt fills p from offset off, or fails: io.ErrUnexpectedEOF if the
	// file ends before p is full.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Size returns the size that the file had when it was opened.
	Size() int64
	Close() error
}

// FileReader is a Reader of a file of the operating system, as those of the
// local store are.
type FileReader interface {
	Reader
	// File returns the open file, for one who maps it into memory, or nil if
	// there is none. It is open for reading until the Reader is closed; its
	// position and its closing belong to the Reader.
	File() *os.File
}

// Stage is a directory being written. Its methods may be called by several
// goroutines, but Commit and Abort only after every Writer is closed.
type Stage interface {
	// Dir returns where the store has what was written so far, until Commit: a
	// directory that its methods read like any other.
	Dir() string
	// Mkdir creates a directory, and its parents, below the stage.
	Mkdir(ctx context.Context, name string) error
	// Create creates a file below the stage, which must not exist yet, and
	// the directories that it needs. size is about how long the file will be,
	// seldom less, or -1 if that is not known; more may be written. A store may set
	// the room aside, and fails with ErrNoSpace if there is not as much.
	Create(ctx context.Context, name string, size int64) (Writer, error)
	// Link puts the regular file called from, of the same store, below the
	// stage as name, with the directories that it needs: it shares the file's
	// bytes where the store can, and copies them elsewhere. Neither name may be
	// written to afterwards.
	Link(ctx context.Context, from, name string) error
	// Commit makes the directory durable and then visible at its path; an
	// existing directory there is replaced in the same instant and removed
	// afterwards. It fails if a Writer is still open or failed to close. An error
	// that matches orbax.ErrInPlace is about what comes after that. The stage is
	// finished, whatever Commit returns.
	Commit(ctx context.Context) error
	// CommitInto is Commit, but the directory becomes visible as the entry
	// called name of the stage's path: a directory, which is created if it is
	// missing and keeps what it has. An entry that exists is ErrExist.
	CommitInto(ctx context.Context, name string) error
	// Abort removes everything that was written. After Commit it does nothing.
	Abort() error
}

// Replacer is a Stage that can look at what it replaces. Use [CommitOver], which takes
// any Stage.
type Replacer interface {
	Stage
	// CanReplace reports why Commit could not replace what is at the path, where
	// that can be known before anything is written.
	CanReplace(ctx context.Context) error
	// CommitOver is Commit that removes what it has replaced only as far as look
	// says of it, when it has got another name and others cannot reach it any more
	// by its path. If look refuses, it stays under that name, which the error has.
	CommitOver(ctx context.Context, look Look) error
}

// CommitOver commits a stage that replaces what is at its path, of which look has said
// before that it may go. Where the store can, it looks again after the exchange.
func CommitOver(ctx context.Context, stage Stage, look Look) error {
	if r, ok := stage.(Replacer); ok {
		return r.CommitOver(ctx, look)
	}
	return stage.Commit(ctx)
}

// CanReplace returns why a commit of the stage could not replace what is at its path,
// if that is known.
func CanReplace(ctx context.Context, stage Stage) error {
	if r, ok := stage.(Replacer); ok {
		return r.CanReplace(ctx)
	}
	return nil
}

// MarkerStore is a Store that can write a directory where it will be. A store that
// cannot need not be one.
type MarkerStore interface {
	Store
	// BeginInPlace is Begin for a directory that is written where readers find it, and
	// is complete when the file called marker is in it, which Commit gives its name.
	// Every other file directly in the directory appears when its Writer is closed:
	// whole, and after all is durable that was closed before. What is deeper may be
	// seen half written.
	//
	// What is at the path goes before anything is written, if look is not nil and lets
	// it go; see Edit.RemoveAll. A process that dies leaves the directory without the
	// marker, or a temporary one beside it.
	BeginInPlace(ctx context.Context, dir, marker string, look Look) (Stage, error)
}

// Sharer is a Stage whose store can let checkpoints share bytes.
type Sharer interface {
	// Share is Link for the regular file called from of a checkpoint that has been
	// committed, and never copies: where the bytes cannot be shared it fails, and
	// leaves no file.
	Share(ctx context.Context, from, name string) error
}

// Writer writes a file of a Stage. WriteAt may be called by several
// goroutines for ranges that do not overlap.
type Writer interface {
	// WriteAt writes p at off. Where p's address is a multiple of Alignment, and
	// its length and off are multiples of PageSize, it may bypass the page cache.
	WriteAt(ctx context.Context, p []byte, off int64) error
	// Close makes what was written durable and closes the file, which ends where
	// the last byte was written.
	Close() error
}

// PageSize is the alignment of lengths and offsets, and an alignment of memory
// that is always enough, for writes that bypass the page cache.
const PageSize = 4096

// TempMarker is contained in the name of every unfinished directory, in
// Orbax's as in ours; Orbax refuses to load such a path.
const TempMarker = ".orbax-checkpoint-tmp"

var schemes = struct {
	sync.RWMutex
	open map[string]func(url string) (Store, string, error)
}{open: map[string]func(string) (Store, string, error){}}

// Register makes Resolve pass paths that begin with scheme + "://" to open,
// which returns the store and the name within it. It is meant to be called
// from init functions; a scheme registered twice is a panic.
func Register(scheme string, open func(url string) (Store, string, error)) {
	schemes.Lock()
	defer schemes.Unlock()
	if _, dup := schemes.open[scheme]; dup {
		panic("storage: scheme " + scheme + " registered twice")
	}
	schemes.open[scheme] = open
}
