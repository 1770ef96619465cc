package storage

import (
	"context"
	"unsafe"
)

// BuffersWriter is a [Writer] that writes several buffers in one operation. Call the
// functions [WriteBuffers] and [Alignment], which accept any Writer.
type BuffersWriter interface {
	Writer
	// WriteBuffers writes bufs one after the other, beginning at off. It may bypass the
	// page cache if the addresses of all buffers are multiples of Alignment, and off and
	// all lengths are multiples of [PageSize].
	WriteBuffers(ctx context.Context, off int64, bufs ...[]byte) error
	// Alignment returns the unit of addresses for writes that bypass the page cache: the
	// address of each buffer must be a multiple of it.
	Alignment() int
}

// WriteBuffers writes bufs to w one after the other, beginning at off. It takes one
// operation if w is a [BuffersWriter]. If it fails, any part of bufs may have been
// written. Several goroutines may write ranges of w that do not overlap.
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

// Alignment returns the alignment that a buffer needs to be written to w without a copy.
// The local store on Linux asks the device; for other Writers it is [PageSize].
func Alignment(w Writer) int {
	if w, ok := w.(BuffersWriter); ok {
		return w.Alignment()
	}
	return PageSize
}

// BuffersReader is a [Reader] that fills several buffers in one operation. Call the
// function [ReadBuffers], which accepts any Reader.
type BuffersReader interface {
	Reader
	// ReadBuffers fills bufs one after the other, beginning at off. It fails as ReadAt
	// does.
	ReadBuffers(ctx context.Context, off int64, bufs ...[]byte) error
}

// ReadBuffers fills bufs one after the other from offset off of r. It takes one operation
// if r is a [BuffersReader], as files of the local store are on Linux. It fails as
// [Reader].ReadAt does; any part of bufs may then have been filled. Several goroutines
// may read r.
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

// aligned reports whether buffers can be written at off without the page cache, to a
// device that needs memory aligned to align.
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
