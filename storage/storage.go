// Package storage says where checkpoints live: an interface, and the local
// disk behind it.
//
// A checkpoint is a directory that is written once, as a whole. Store.Begin
// starts one in a place that readers do not see; Stage.Commit makes it appear,
// complete and durable, at its path. What a program usually needs is
//
//	loc, err := storage.Resolve(ctx, "/ckpt/step_100")
//	info, err := loc.Store.List(ctx, loc.Name)
//
// Names inside a store are slash-separated. Other stores register a scheme, as
// drivers of database/sql do.
package storage

import (
	"context"
	"net/url"
	"os"
	"sync"
	"time"
)

// Store holds checkpoints under slash-separated names. A missing name is an
// error that matches fs.ErrNotExist. A Store may be used by several goroutines.
//
// Embed [Base] in a new store, and implement what the store can do. Embed a Store in a
// store that wraps another one, and implement what differs, and Confined, which has to wrap
// what the other returns: nothing else is lost.
type Store interface {
	// Properties returns how the store works. They do not change.
	Properties() Properties
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
	// Entries returns all entries of a directory, without following links, in the
	// order of their names. It does not look at what they are beyond their type. A
	// store without links fails with an error that matches errors.ErrUnsupported, and
	// [Entries] lists instead.
	Entries(ctx context.Context, dir string) ([]Entry, error)
	// Confined is for [Confine], which says what it returns: nil from a store that has
	// no links.
	Confined(root string, outside bool) Store

	// Begin starts to write the directory dir, creating its parents, which
	// stay whatever becomes of dir. It fails with ErrExist if dir exists and the options
	// do not let it, with ErrInvalidCheckpoint if they do and dir is no directory,
	// and with ErrBusy if another writer has begun the same
	// dir and has neither committed nor aborted.
	Begin(ctx context.Context, dir string, o BeginOptions) (Stage, error)
	// Join returns what writes to a stage that has been begun elsewhere, by this process
	// or another one, and whose Ticket has come here. The stage is still committed by
	// whoever has begun it. Join fails with ErrNotExist if the stage has ended, and with
	// ErrReservedName if the ticket is not one of this store.
	Join(ctx context.Context, ticket string) (Joined, error)
	// Edit claims the directory dir: until the Edit is closed, Begin and Edit of
	// the same dir fail with ErrBusy. So does Edit itself if a writer has begun
	// dir and has neither committed nor aborted, and if dir is the temporary
	// directory of such a writer. It fails with ErrInvalidCheckpoint if dir is no
	// directory, or a link to one, and as Stat does if nothing is there.
	Edit(ctx context.Context, dir string) (Edit, error)

	// Locks reports whether the store can distinguish the temporary directories of live
	// writers in dir, which exists, from those of dead ones, for all that write there.
	Locks(ctx context.Context, dir string) bool
	// Left returns the temporary directories of writers of dir that have died, except
	// one that holds what was at dir, if dir is missing now. Where dead writers cannot
	// be distinguished from live ones there are none.
	Left(ctx context.Context, dir string) ([]string, error)
	// Room returns how many bytes the files of a new directory dir could have,
	// whether dir or its parents exist or not. Others may take the room
	// meanwhile, and quotas may leave less of it. A store that cannot say, or has no
	// limit, fails with an error that matches errors.ErrUnsupported.
	Room(ctx context.Context, dir string) (int64, error)
}

// Info describes a file or directory.
type Info struct {
	Name    string // last element of its name
	Size    int64  // bytes, for a file
	Dir     bool
	ModTime time.Time
	// Version differs for two files that had the same name one after the other, and
	// changes when a file is written anew. Otherwise it stays the same, also when the
	// file is linked elsewhere. It means nothing but that; "" is unknown.
	Version string
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

// BeginOptions say what a stage is for. Without any, it becomes a directory that
// does not exist yet.
type BeginOptions struct {
	// Replace, if not nil, lets the stage take the place of a directory, as far as
	// Replace lets that go: see [Edit].RemoveAll. What is there stays until Commit, which
	// exchanges the two in one step, looks again at what it has replaced, and removes it;
	// if Replace refuses then, it stays under another name, which the error has. Begin
	// fails if the directory cannot be replaced, where the store can know that.
	Replace Look
	// Into, if not nil, makes the stage an entry of the directory instead of the
	// directory itself. The directory is created if it is missing and keeps what it
	// has. Into is called once, after the directory has been claimed, and returns the
	// name of the entry, or an error that Begin returns. Commit fails with ErrExist if
	// there is such an entry. It goes with no other option.
	Into func(ctx context.Context) (entry string, err error)
	// Marker, if not "", has the directory written where readers find it. It is complete
	// when the file with that name is in it, which Commit gives its name.
	// Every other file directly in the directory appears when its Writer is closed:
	// whole, and after everything is durable that was closed before. What is deeper may
	// be seen half written.
	//
	// What is at the path goes before anything is written, if Replace lets it go. A
	// process that dies leaves the directory without the marker, or a temporary one
	// beside it. A store whose Properties lack Marker refuses.
	Marker string
}

// Files is a directory that is being written: what those get who write to a [Stage] and
// do not publish it. Its methods may be called by several goroutines.
type Files interface {
	// Properties returns those of the store.
	Properties() Properties
	// Mkdir creates a directory, and its parents.
	Mkdir(ctx context.Context, name string) error
	// Create creates a file, which must not exist yet, and
	// the directories that it needs. size is about how long the file will be,
	// seldom less, or -1 if that is not known; more may be written. A store may set
	// the room aside, and fails with ErrNoSpace if there is not as much.
	Create(ctx context.Context, name string, size int64) (Writer, error)
	// Link puts the regular file called from, of the same store, into the directory
	// as name, with the directories that it needs: it shares the file's
	// bytes where the store can, and copies them elsewhere. Neither name may be
	// written to afterwards.
	Link(ctx context.Context, from, name string, o LinkOptions) error
}

// LinkOptions say how a file is linked.
type LinkOptions struct {
	// Share says that the file is one of a checkpoint that has been committed, whose
	// bytes the two are to share. It is never copied: where the bytes cannot
	// be shared Link fails with an error that matches errors.ErrUnsupported, and leaves no file.
	Share bool
}

// Stage is a directory being written that Commit publishes. Commit and Abort may be
// called only after every Writer and every [Joined] is closed.
type Stage interface {
	Files
	// Dir returns where the store has what was written so far, until Commit: a
	// directory that its methods read like any other.
	Dir() string
	// Ticket returns what Store.Join takes, in this process or another one that has the
	// same store, as long as the stage has not ended. It is a line of text.
	Ticket() string
	// Commit makes the directory durable and then visible, as the BeginOptions say. It
	// fails if a Writer is still open or failed to close. An error
	// that matches orbax.ErrInPlace is about what comes after that. The stage is
	// finished, whatever Commit returns.
	Commit(ctx context.Context) error
	// Abort removes everything that was written. After Commit it does nothing.
	Abort() error
}

// Joined is a [Stage] that has been begun elsewhere. A file or directory may be made by
// one of those who write to a stage only, except that all may make the same directories.
type Joined interface {
	Files
	// Close makes everything durable that was written through this Joined, and ends it.
	// It fails if a Writer is still open or failed to close, and if the stage has ended:
	// then it has not got, or may not have got, what was written. The stage may be
	// committed only after it has returned without an error.
	Close(ctx context.Context) error
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
	open map[string]OpenFunc
}{open: map[string]OpenFunc{}}

// OpenFunc opens the store that a URL belongs to, and returns it with the name in it that
// the URL stands for. It is called for each path that is resolved.
type OpenFunc func(ctx context.Context, u *url.URL) (Store, string, error)

// Register makes Resolve pass paths that begin with scheme + "://" to open. It is meant
// to be called from init functions; a scheme registered twice is a panic. A program that
// has made a store itself needs no scheme: it gives the store to orbax.In.
func Register(scheme string, open OpenFunc) {
	schemes.Lock()
	defer schemes.Unlock()
	if _, dup := schemes.open[scheme]; dup {
		panic("storage: scheme " + scheme + " registered twice")
	}
	schemes.open[scheme] = open
}
