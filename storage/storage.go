// Package storage defines where checkpoints are kept: the interface [Store], and the
// store of the local disk.
//
// A checkpoint is a directory that is written once, as a whole. [Store].Begin starts a
// directory in a place that readers do not see. [Stage].Commit makes it durable and
// publishes it at its path. A program that has a path resolves it first:
//
//	loc, err := storage.Resolve(ctx, "/ckpt/step_100")
//	info, err := loc.List(ctx)
//
// Names in a store have slashes between their elements. Other stores [Register] a scheme,
// as drivers of database/sql do, or a program gives its store to orbax.In.
//
// # A new store
//
// Embed [Base] and implement Open, Stat and List: that is a store that can be read. Add
// Properties, Begin, Join and Revoke for saves, and Edit for deletions. Package storetest tests
// all that the [Properties] of a store promise.
package storage

import (
	"context"
	"io"
	"net/url"
	"os"
	"sync"
	"time"
)

// Store keeps files and directories under names with slashes. Several goroutines may use
// a Store at the same time.
//
// Errors named without a package, such as ErrBusy, are those of package orbax. A missing
// name is an error that matches [io/fs.ErrNotExist]. If its context has ended, a method
// returns an error that matches that of the context.
//
// A new store embeds [Base] and implements the methods for what it can do. A wrapper
// embeds the store that it wraps, and implements the methods that differ. It must also
// implement Confined and Snapshot: call the method of the wrapped store, and wrap the
// result unless it is nil.
type Store interface {
	// Properties returns the properties of the store, which never change.
	Properties() Properties
	// Open opens a regular file for reading. Anything else is an error.
	Open(ctx context.Context, name string) (Reader, error)
	// Stat describes a file or a directory. It follows links.
	Stat(ctx context.Context, name string) (Info, error)
	// List returns the entries of a directory in the order of their names. It follows
	// links, and leaves out links that lead nowhere.
	//
	// An entry that exists before the call and after it is in the result, whatever else
	// comes and goes. If entry a appears, and then entry b goes, the result has a or b or
	// both. If the directory changes too fast for this, List fails with
	// ErrBusy.
	List(ctx context.Context, dir string) ([]Info, error)
	// Entries returns all entries of a directory in the order of their names, and follows
	// no links. Of each entry it reports the name and the type. A store without links
	// fails with an error that matches errors.ErrUnsupported; the function [Entries] then
	// calls List.
	Entries(ctx context.Context, dir string) ([]Entry, error)
	// Confined returns the Store that [Confine] describes, or nil if this store has no
	// links.
	Confined(root string, outside bool) Store
	// Snapshot returns a Store for reading the directory dir as it is now, for a caller that
	// looks at many of its files. There, Stat, List and Entries of dir and of the names below
	// it answer as at the time of the call, and Open opens the files of that time. If a file
	// was removed or written anew since, Open or ReadAt fails with an error that matches
	// ErrBusy: no bytes of another version are returned. Other names, and the methods that
	// write, are those of this store, with its bounds if it is confined.
	//
	// Snapshot returns nil without an error if it would save nothing, because looks cost
	// little, because files have no versions, or because dir holds too many files. The
	// caller then reads from this store. It may return nil too, or fail with ErrNotExist,
	// if dir is missing or a file.
	Snapshot(ctx context.Context, dir string) (Store, error)

	// Begin starts to write the directory dir. It creates the missing parents of dir,
	// which stay even if the stage is aborted.
	//
	// Begin fails with ErrExist if something is at dir and o does not allow that, and
	// with ErrInvalidCheckpoint if o allows a directory and something else is there. It
	// fails with ErrUnsupported if the store cannot do what o asks for, and with ErrBusy
	// while another stage or an [Edit] of dir has not ended. Without Locks it may not
	// notice those of other processes.
	Begin(ctx context.Context, dir string, o BeginOptions) (Stage, error)
	// Join returns the [Joined] that writes to the stage with this ticket. This process
	// or another one may have begun the stage, and only it can commit. Join fails with
	// ErrNotExist if the stage has ended, and with ErrReservedName if the store has made
	// no such ticket.
	Join(ctx context.Context, ticket string) (Joined, error)
	// Revoke ends the stage with this ticket for a caller that cannot wait for its owner:
	// the owner hangs, is stopped, is out of reach, or has died. The owner need not notice.
	// After Revoke has returned nil, the owner's Create and Commit, and the Create and
	// Close of every [Joined], fail with ErrNotExist, whenever they are called. Everything
	// that they had written is removed, and any process can Begin the same directory.
	//
	// If the owner commits at the same time, either Revoke fails and the new directory is
	// complete, or Commit fails and the old one is as it was. Of several Revoke of one
	// stage at most one returns nil.
	//
	// Revoke fails with ErrNotExist if the stage has ended, however it ended, and with
	// ErrReservedName if the store has made no such ticket; it then removes nothing. It
	// fails with ErrBusy if others work on the directory all the time, and with
	// ErrUnsupported if the store cannot take a stage away from its owner. After another
	// error the stage may be revoked or not: call Revoke again, until it returns nil or
	// ErrNotExist.
	Revoke(ctx context.Context, ticket string) error
	// Edit claims the directory dir. Until the [Edit] is closed, Begin and Edit of dir
	// fail with ErrBusy. Edit itself fails with ErrBusy while a stage of dir has not
	// ended, or if dir is the temporary directory of a live writer. It fails with
	// ErrInvalidCheckpoint if dir is a file or a link, and with ErrNotExist if nothing is
	// there. If nothing is there because Edit has undone what a dead writer had begun, it
	// returns an Edit whose Recovered says so, and by which there is nothing to do.
	Edit(ctx context.Context, dir string) (Edit, error)

	// Locks reports whether the store can distinguish live writers in the directory dir
	// from dead ones. That must hold for all processes that write there. dir exists.
	Locks(ctx context.Context, dir string) bool
	// Left returns the names in the store of the temporary directories that dead writers
	// of dir have left. A writer that dies while it exchanges directories can leave dir
	// missing and its old contents in a temporary directory; Left does not return that one.
	// A store that cannot distinguish dead writers from
	// live ones returns none.
	Left(ctx context.Context, dir string) ([]string, error)
	// Work returns what a writer does to the directory dir, or was doing when it died. dir
	// may also be a name that Left returns. Work returns nil if nobody has claimed dir, and
	// in a store in which readers see nothing of a claim.
	Work(ctx context.Context, dir string) (*Work, error)
	// Room returns how many bytes the files of a new directory dir could have. Neither
	// dir nor its parents need to exist. The number is an estimate: other programs may
	// take the room meanwhile, and a quota may leave less. A store that has no limit, or
	// does not know it, fails with an error that matches errors.ErrUnsupported.
	Room(ctx context.Context, dir string) (int64, error)
}

// Info describes a file or a directory.
type Info struct {
	Name string // last element of the name
	Size int64  // in bytes; unspecified for a directory
	Dir  bool
	// ModTime is the time of the last write to a file. For a directory it is the time when
	// an entry was last added or removed; runs find a replaced step by it. Zero is unknown:
	// each look at a run then opens all its steps, or, in a store that commits by marker and
	// makes snapshots, lists the whole run.
	ModTime time.Time
	// Version identifies the contents of a file. It changes when the file is written
	// anew, or when another file takes its name; in some stores not if the bytes are the
	// same. It stays the same when the file gets a second name. It has no other meaning; ""
	// means that the version is unknown.
	Version string
}

// Reader reads a file. Several goroutines may use it at the same time.
type Reader interface {
	// ReadAt fills p from offset off. If the file ends before p is full, it fails with
	// io.ErrUnexpectedEOF.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Size returns the size of the file when it was opened.
	Size() int64
	Close() error
}

// BytesReader is the [Reader] of a file whose contents are in memory. Closing it does
// nothing.
type BytesReader []byte

func (r BytesReader) Size() int64  { return int64(len(r)) }
func (r BytesReader) Close() error { return nil }

func (r BytesReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < 0 || off > int64(len(r)) || copy(p, r[off:]) < len(p) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// FileReader is a [Reader] of a file of the operating system, as the local store returns
// it.
type FileReader interface {
	Reader
	// File returns the open file, for callers that map it into memory, or nil if there is
	// none. The file is open for reading until the Reader is closed. Callers must neither
	// move its position nor close it.
	File() *os.File
}

// BeginOptions choose how a stage is written and published. With the zero value it
// becomes a new directory.
type BeginOptions struct {
	// Replace, if not nil, allows the stage to replace the directory at its path. It
	// decides whether that directory may be removed, as in [Edit].RemoveAll. If nothing
	// is at the path, Replace is not called.
	//
	// The old directory stays until Commit. Commit exchanges the two in one step, calls
	// Replace with the new name of the old directory, and removes the entries that
	// Replace lists. If Replace refuses then, the old directory stays under that name,
	// and the error of Commit names it. Begin does not call Replace, except with a
	// Marker. It fails if the store knows already that it cannot replace the directory.
	Replace Look
	// Into, if not nil, makes the stage an entry of the directory instead of the
	// directory itself. The directory is created if it is missing, and keeps its other
	// entries. Begin calls Into once, after it has claimed the directory. Into returns
	// the name of the entry, or an error that Begin returns; Begin then removes the
	// directory again if it has made it. The name has one element, which Begin checks: any
	// other name is ErrReservedName. If the directory already has that entry, Commit fails
	// with ErrExist, or Begin if the stage has a Marker.
	//
	// Into excludes Replace. It goes together with Marker in stores that cannot rename, and
	// there alone: the entry is then written in its place, and is complete once it has the
	// marker. The directory is claimed until the stage ends, as without a marker.
	Into func(ctx context.Context) (entry string, err error)
	// Marker, if not "", makes Begin write the directory at its path, where readers find
	// it. The directory is complete once it has the file with the name Marker. The owner
	// of the stage creates that file like any other; a [Joined] must not. Commit
	// publishes the file, and fails without it.
	//
	// Every other file directly in the directory appears when its Writer is closed. It
	// then has all its contents, and every file that was closed before is durable.
	// Readers may find files in subdirectories half written.
	//
	// A store with the property Rename removes a directory that is at the path already in
	// Begin, if Replace allows that. Any other store asks Replace in Begin, and keeps the
	// directory until Commit, which removes its marker first. A process that dies leaves the
	// old directory, or the directory without the marker, and perhaps a temporary directory
	// beside it. A store without the property Marker refuses this option.
	Marker string
}

// Files is a directory that is being written. It has the methods of a [Stage] that write
// and do not publish. Several goroutines may call them at the same time.
//
// Names are relative to the directory. A name that is not valid by [io/fs.ValidPath] is
// an error that matches ErrReservedName.
type Files interface {
	// Properties returns the properties of the store.
	Properties() Properties
	// Mkdir creates a directory and its missing parents. The directory exists even if it
	// stays empty. A directory that this Files has made already is no error.
	Mkdir(ctx context.Context, name string) error
	// Create creates a file and the directories that it needs. It fails with ErrExist if
	// the file exists. For a file that appears when its Writer is closed, see
	// [BeginOptions].Marker, Close may report that instead.
	//
	// size is the expected length in bytes, or -1 if it is unknown. The real length is
	// seldom greater, but it may be. A store may reserve size bytes, and fails with
	// ErrNoSpace if there is not as much room.
	Create(ctx context.Context, name string, size int64) (Writer, error)
	// Link adds a second name for an existing regular file to this directory, with the
	// directories that it needs. from is the name of the file in the store. The two names
	// share their bytes where the store can do that; elsewhere the bytes are copied. The
	// caller must not write to either name afterwards. Link fails with ErrExist if name
	// exists.
	Link(ctx context.Context, from, name string, o LinkOptions) error
}

// LinkOptions choose how a file is linked.
type LinkOptions struct {
	// Share forbids that the bytes pass through this process, for a file of a committed
	// checkpoint: the two names share them or, with [LinkCopy], the store copies them. If
	// neither is possible, Link leaves no file and fails with an error that matches
	// errors.ErrUnsupported.
	Share bool
	// Source, if it has a Version, is the file as a look at it has found it. If it is another
	// one when it is linked, Link leaves no file and fails with an error that matches ErrBusy.
	Source Info
}

// Stage is a directory that is being written and that Commit publishes. The caller closes
// every [Writer] and every [Joined] before it calls Commit or Abort.
type Stage interface {
	Files
	// Dir returns the name in the store of the directory that is being written: with a
	// Marker the path itself, unless the directory there stays until Commit, and otherwise a
	// temporary name. Until Commit the methods of the store read it like any other directory.
	Dir() string
	// Ticket returns a line of text for [Store].Join and [Store].Revoke. It is valid until
	// the stage ends, in every process that has the same store.
	Ticket() string
	// Commit makes the directory durable, then publishes it as the [BeginOptions] say. It
	// fails if a [Writer] is still open or failed to close, and if the parent of the path
	// was removed since Begin, even if another directory has its name now. It fails with
	// ErrNotExist if the stage was revoked. The stage has ended, whatever Commit returns.
	//
	// If Commit fails, everything that was written is removed. The exception is an error
	// that matches ErrInPlace: the new directory is at its path, and a later step failed.
	Commit(ctx context.Context) error
	// Abort removes everything that was written, with the files of Writers that are still
	// open. It does nothing if the stage has ended.
	Abort() error
}

// Joined writes to a [Stage] that was begun elsewhere. Only one of the writers of a stage
// may make a given file. All of them may make the same directories.
type Joined interface {
	Files
	// Close makes durable everything that was written through this Joined, and ends it.
	// It fails if a [Writer] is still open or failed to close. It fails with ErrNotExist
	// if the stage has ended; the stage then may lack files of this Joined. The owner of
	// the stage may commit only after every Joined has closed without an error.
	Close(ctx context.Context) error
}

// Writer writes a file of a [Stage] or a [Joined]. Several goroutines may call WriteAt
// for ranges that do not overlap. If [Properties].Sequential is true, the caller writes
// the ranges in their order, one at a time.
type Writer interface {
	// WriteAt writes p at off. It may bypass the page cache if the address of p is a
	// multiple of [Alignment], and off and the length of p are multiples of [PageSize].
	WriteAt(ctx context.Context, p []byte, off int64) error
	// Close makes the file durable and closes it. The file ends after the last byte that
	// was written.
	Close() error
}

// PageSize is the unit of offsets and lengths for writes that bypass the page cache.
// Memory that is aligned to PageSize always suits such writes.
const PageSize = 4096

// TempMarker is part of the name of every unfinished directory, in Orbax and in this
// package. A store puts it into the names of its temporary directories. Neither Orbax nor
// this module loads a checkpoint whose own name contains it.
const TempMarker = ".orbax-checkpoint-tmp"

var schemes = struct {
	sync.RWMutex
	open map[string]OpenFunc
}{open: map[string]OpenFunc{}}

// OpenFunc returns the store of a URL and the name in that store. [Resolve] calls it for
// each path with its scheme.
type OpenFunc func(ctx context.Context, u *url.URL) (Store, string, error)

// Register makes [Resolve] pass paths that begin with scheme + "://" to open. Call it
// from an init function; it panics if scheme is registered already. A program that has
// made a store gives it to orbax.In and needs no scheme.
func Register(scheme string, open OpenFunc) {
	schemes.Lock()
	defer schemes.Unlock()
	if _, dup := schemes.open[scheme]; dup {
		panic("storage: scheme " + scheme + " registered twice")
	}
	schemes.open[scheme] = open
}
