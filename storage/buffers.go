package storage

import (
	"context"
	"unsafe"
)

// BuffersWriter is a Writer that writes several buffers in one operation. Use
// WriteBuffers and Alignment, which take any Writer.
type BuffersWriter interface {
	Writer
	// WriteBuffers writes bufs, one behind the other, from off on. Where the
	// addresses of all are multiples of Alignment, and the lengths of all and off
	// multiples of PageSize, it may bypass the page cache.
	WriteBuffers(ctx context.Context, off int64, bufs ...[]byte) error
	// Alignment is a number of bytes: the address of a buffer must be a multiple of
	// it for the buffer to be written past the page cache.
	Alignment() int
}

// WriteBuffers writes bufs, one behind the other, from off on: in one operation
// if w is a BuffersWriter, else one after the other. If it fails any part of
// them may have been written. Several goroutines may write ranges of w that do
// not overlap.
func WriteBuffers(ctx context.Context, w Writer, off int64, bufs ...[]byte) error {
	if w, ok := w.(BuffersWriter); ok {
		return w.WriteBuffers(ctx, off, bufs...)
	}
	for _, b := range bufs {
		if err := w.WriteAt(ctx, b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// Alignment returns what the address of a buffer should be a multiple of to be
// written to w from where it lies: what the device asks for if w knows it, as
// the local store does on Linux, else PageSize.
func Alignment(w Writer) int {
	if w, ok := w.(BuffersWriter); ok {
		return w.Alignment()
	}
	return PageSize
}

// BuffersReader is a Reader that fills several buffers in one operation. Use
// ReadBuffers, which takes any Reader.
type BuffersReader interface {
	Reader
	// ReadBuffers fills bufs, one behind the other, from off on, or fails as
	// ReadAt does.
	ReadBuffers(ctx context.Context, off int64, bufs ...[]byte) error
}

// ReadBuffers fills bufs, one behind the other, from off on, or fails as
// Reader.ReadAt does: in one operation if r is a BuffersReader, as files of the
// local store are on Linux, else one after the other. If it fails any part of
// them may have been filled. Several goroutines may read r.
func ReadBuffers(ctx context.Context, r Reader, off int64, bufs ...[]byte) error {
	if r, ok := r.(BuffersReader); ok {
		return r.ReadBuffers(ctx, off, bufs...)
	}
	for _, b := range bufs {
		if err := r.ReadAt(ctx, b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// aligned reports whether buffers can be written at off past the page cache by
// a device that wants memory aligned to align.
func aligned(align int, off int64, bufs ...[]byte) bool {
	var total int
	for _, b := range bufs {
		if len(b)%PageSize != 0 || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(align) != 0 {
			return false
		}
		total += len(b)
	}
	return total > 0 && off%PageSize == 0
}
