package object

import (
	"context"
	"time"
)

// Bucket is the interface of an object store: objects with versions under keys, and
// writes with preconditions. A driver of a cloud implements it; package
// [github.com/go-orbax/orbax/storage/object/buckettest] tests it.
//
// A call makes as few requests as the service allows, and does not try again: [Store] does
// that. Errors are described at [Error]. A call that has returned, for whatever reason, uses
// the buffers of its caller no more: they may have other contents then. A write to a key that
// the service would change, or cannot have, is an error that matches orbax.ErrReservedName.
// Several goroutines may use a Bucket at the same time.
type Bucket interface {
	// Limits returns the limits and wishes of the service, which never change.
	Limits() Limits

	// Get fills the buffers of p, one after the other, with the bytes of an object from
	// offset off on. It returns how many bytes it has filled: fewer than p has without an
	// error if the object ends. If off is at the end of the object or behind it, n is 0, and
	// info is complete all the same.
	//
	// If version is not "", Get fails with [ErrPrecondition] if the object has another
	// version now. If it fails with n > 0, the first n bytes of p are those of info.Version.
	// A missing object is an error that matches io/fs.ErrNotExist, or, if a version is
	// given, perhaps ErrPrecondition.
	Get(ctx context.Context, key, version string, p [][]byte, off int64) (n int, info Info, err error)
	// Stat describes an object. A missing object is an error that matches
	// io/fs.ErrNotExist.
	Stat(ctx context.Context, key string) (Info, error)
	// List returns one page of the objects whose keys begin with o.Prefix, in the order of
	// the bytes of their keys.
	List(ctx context.Context, o ListOptions) (Page, error)

	// Put makes an object of the bytes of body, one buffer after the other. It sends a
	// checksum of the bytes, by which the service refuses damaged ones. It fails with
	// [ErrPrecondition] if the conditions of o do not hold; the service checks them when it
	// makes the object. After a failure without an answer the object may exist all the same:
	// its Writer says who has made it.
	Put(ctx context.Context, key string, body [][]byte, o PutOptions) (Info, error)
	// Upload begins an object that is uploaded in parts. size is the expected number of
	// bytes, or -1. The conditions of o are those of [Upload].Complete.
	Upload(ctx context.Context, key string, size int64, o PutOptions) (Upload, error)
	// Copy makes the object to of the bytes of from, without moving them through this
	// process. It fails with [ErrPrecondition] if from.Version is not "" and the source has
	// another version, or if the conditions of o do not hold for the target. The service
	// checks the version of the source when it makes the copy. A service that cannot check
	// the conditions of o in a copy ignores them. A missing source is an error that matches
	// io/fs.ErrNotExist. The result may lack Size and Writer, which the answer of a service
	// need not have.
	Copy(ctx context.Context, from Ref, to string, o PutOptions) (Info, error)
	// Delete removes objects, as many at once as the service can. An object that is missing
	// is no error, and neither is one that has another version than its Ref asks for: it
	// stays, if the service can compare versions in a deletion (see Limits.ComparesDeletes).
	Delete(ctx context.Context, refs []Ref) error
	// AbortUploads removes the parts of all uploads of keys with this prefix that were
	// neither completed nor aborted: those of processes that have died. Where the service
	// removes such parts itself after some days and cannot list them, it does nothing.
	AbortUploads(ctx context.Context, prefix string) error
}

// Upload is an object that is being uploaded in parts. Several goroutines may call Part.
type Upload interface {
	// Part uploads a part: the bytes of body, which belong at offset off of the object. No
	// two parts overlap, and in the end there are no gaps. There is at least one part, which
	// may be empty. Each part but the last one of the object has at least Limits.MinPart
	// bytes, and number is its position among the parts: from 1, greater for a greater
	// offset, at most Limits.MaxParts. A number may be left out. A part may be uploaded again
	// after an error, under the same number. Part sends a checksum of the bytes, by which the
	// service refuses damaged ones.
	Part(ctx context.Context, number int, off int64, body [][]byte) error
	// Complete makes the object of the parts. It fails with [ErrPrecondition] if the
	// conditions of the upload do not hold. It may be called again after an error. If an
	// earlier call has made the object and its answer was lost, the next one may fail with
	// ErrPrecondition or an error that matches io/fs.ErrNotExist: the Writer of the object
	// says who has made it.
	Complete(ctx context.Context) (Info, error)
	// Abort removes the parts. No part that is under way may be left. Abort after Complete
	// has returned nil does nothing, nor does an Abort of an upload that is gone.
	Abort(ctx context.Context) error
}

// Limits are the limits and wishes of a service.
type Limits struct {
	MinPart int64 // the fewest bytes of a part that is not the last one of its object
	MaxPart int64 // the most bytes of a part, and of a Put
	// MaxParts is the greatest number of a part.
	MaxParts int
	// Concurrency is how many requests of one save or load suit the service at the same
	// time; 0 leaves the choice to the Store.
	Concurrency int
	// ComparesDeletes says that Delete compares versions.
	ComparesDeletes bool
	// VersionOfBytes says that the version of an object is that of its bytes, as an ETag of
	// S3 is: objects of the same bytes that two writers have made have the same version.
	VersionOfBytes bool
}

// Ref names an object, and perhaps a version of it.
type Ref struct {
	Key     string
	Version string // "" is any
}

// PutOptions are the conditions of a write, and what is recorded with the object.
type PutOptions struct {
	// IfAbsent demands that there is no object with the key.
	IfAbsent bool
	// IfVersion, if not "", demands that the object with the key has this version.
	IfVersion string
	// Writer is recorded with the object, in its user metadata, under a name that the
	// service allows: letters and digits. It identifies who has written the object. Copy
	// records that of the source if Writer is "".
	Writer string
}

// Info describes an object.
type Info struct {
	Key  string
	Size int64
	// Modified is when the object was made, by the clock of the service. After Put, Copy and
	// Complete it may be the time of the answer.
	Modified time.Time
	// Version changes whenever other bytes are written: an ETag or a generation. See
	// Limits.VersionOfBytes for what it does when the same bytes are written. A writer whose
	// writes must be told apart writes other bytes each time.
	Version string
	// Writer is PutOptions.Writer of the object. List leaves it out.
	Writer string
	// Now is the time of the answer by the clock of the service. It is zero in a Page, which
	// has its own.
	Now time.Time
}

// ListOptions choose the objects of a [Page].
type ListOptions struct {
	Prefix string
	// Flat lists all objects. Without it, the keys that have a slash after the prefix are
	// grouped up to that slash, as Page.Prefixes.
	Flat bool
	// Token is Page.Next of the page before; "" begins.
	Token string
	// Limit is the most entries of the page; 0 leaves it to the service.
	Limit int
}

// Page is a part of a listing.
type Page struct {
	Objects  []Info   // in the order of their keys
	Prefixes []string // with their slashes, in order
	Next     string   // the Token of the next page; "" if this is the last one
	Now      time.Time
}
