package storage

import "context"

// Edit is a directory that one writer has claimed. Its methods may not be called
// by several goroutines at once. Of a process that dies between them nothing is
// left in the directory but what they have done.
type Edit interface {
	// Put makes data the contents of a file, which exists already only if
	// replace is true; otherwise it fails with ErrExist. Readers see all of it
	// or what was there before, also after a crash; it is durable when Put
	// returns.
	Put(ctx context.Context, name string, data []byte, replace bool) error
	// Remove removes a file, or, if look is not nil, a directory with what look
	// finds in it: if there is anything else, that stays, with an error that matches
	// ErrInvalidCheckpoint. What is missing is no error. It is durable when Remove
	// returns; a crash before may leave a part of a directory.
	Remove(ctx context.Context, name string, look Look) error
	// RemoveAll removes the claimed directory, in one instant for its readers,
	// where the store can do that. Where it cannot, the files called last go
	// after everything else, so that what a crash leaves can be recognised.
	//
	// It removes what look finds, which looks before that instant and again after
	// it. If look refuses, the directory stays as it is, or is put back.
	RemoveAll(ctx context.Context, look Look, last ...string) error
	// Close gives the directory back.
	Close() error
}
