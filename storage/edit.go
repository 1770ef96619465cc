package storage

import "context"

// Edit is a directory that one writer has claimed. Only one goroutine may use an Edit at
// a time. A process that dies leaves the directory as the calls that had returned made
// it, with no other files.
//
// Names are relative to the directory. A name that is not valid by [io/fs.ValidPath] is
// an error that matches ErrReservedName.
type Edit interface {
	// Put writes data to the file name. It fails with ErrNotExist if the directory of the
	// file is missing, and with ErrExist if the file exists and replace is false. Readers
	// see all of data or the old contents, even after a crash. The change is durable when
	// Put returns.
	Put(ctx context.Context, name string, data []byte, replace bool) error
	// Remove removes a file or a link if look is nil, and otherwise a directory. It
	// removes only the entries of the directory that look lists; any other entry stays,
	// and the error matches ErrInvalidCheckpoint. A missing name is no error. The removal
	// is durable when Remove returns; a crash before that may leave a part of the
	// directory. "." is no name for Remove, and an error that matches ErrReservedName.
	Remove(ctx context.Context, name string, look Look) error
	// RemoveAll removes the claimed directory, for readers in one step if the store can
	// do that. Other stores remove the file commit_success.txt first, so that the rest is no
	// checkpoint, and the files called last after everything else, so that the rest can be
	// recognised after a crash.
	//
	// RemoveAll removes only the entries that look lists. It calls look before the
	// directory disappears for readers, and again with its new name if it has renamed it. If look
	// refuses, the directory stays as it is, or gets its name back, and RemoveAll returns
	// the error of look. If something else has the name by then, the directory stays under
	// its new name, and the error contains that name.
	//
	// A RemoveAll that succeeds may give up the claim before Close does.
	RemoveAll(ctx context.Context, look Look, last ...string) error
	// Recovered returns the work of a dead writer that [Store].Edit has finished or undone
	// when it took over the claim, or nil if there was none.
	Recovered() *Work
	// Close gives up the claim.
	Close() error
}
