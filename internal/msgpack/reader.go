package msgpack

import (
	"context"
	"fmt"
	"io"

	"github.com/go-orbax/orbax/internal/fault"
)

// Source is a file that can be read at any offset.
type Source interface {
	// ReadAt fills p with the bytes of the file from off on, or returns an error.
	ReadAt(ctx context.Context, p []byte, off int64) error
	Size() int64
}

// windowBytes is the number of bytes of the file that a Reader holds in memory.
const windowBytes = 64 << 10

// Reader reads a file from its beginning. Its errors match orbax.ErrCorrupt, except
// errors of the file itself and of ctx.
type Reader struct {
	ctx    context.Context
	src    Source
	off    int64 // offset of the next byte
	end    int64 // offset at which reading must stop
	window []byte
	at     int64 // offset of the window in the file
}

// NewReader returns a reader of all of src. It reads nothing yet.
func NewReader(ctx context.Context, src Source) *Reader {
	return &Reader{ctx: ctx, src: src, end: src.Size()}
}

// Offset returns the offset of the next byte in the file.
func (r *Reader) Offset() int64 { return r.off }

// Left returns the number of bytes that may still be read.
func (r *Reader) Left() int64 { return r.end - r.off }

// Next reads the head of the next value. It checks the length in the head: so many bytes
// must be left, and at least one byte for each value that follows.
func (r *Reader) Next() (Head, error) {
	b, err := r.peek(min(maxHead, r.Left()))
	if err != nil {
		return Head{}, err
	}
	h, n := ParseHead(b)
	switch {
	case n == 0:
		return Head{}, r.truncated()
	case h.Kind == Invalid:
		return Head{}, fmt.Errorf("%w: byte %#x at %d begins no value of MessagePack", fault.ErrCorrupt, b[0], r.off)
	}
	need := h.Len
	if h.Kind == Map {
		need *= 2
	}
	if need > r.Left()-int64(n) {
		return Head{}, r.truncated()
	}
	r.off += int64(n)
	return h, nil
}

// truncated returns the error about a value at the current offset that is longer than the
// bytes that are left.
func (r *Reader) truncated() error {
	if r.end < r.src.Size() {
		return fmt.Errorf("%w: the value at byte %d goes on beyond byte %d, where what it is a part of ends", fault.ErrCorrupt, r.off, r.end)
	}
	return fmt.Errorf("%w: the value at byte %d goes on beyond the end of the file, which has %d bytes: the file is truncated", fault.ErrCorrupt, r.off, r.end)
}

// peek returns the next n bytes, at most windowBytes. The caller knows that they exist.
func (r *Reader) peek(n int64) ([]byte, error) {
	if r.off >= r.at && r.off+n <= r.at+int64(len(r.window)) {
		return r.window[r.off-r.at:][:n], nil
	}
	if err := r.ctx.Err(); err != nil {
		return nil, err
	}
	size := min(windowBytes, r.src.Size()-r.off)
	if int64(cap(r.window)) < size {
		r.window = make([]byte, size)
	}
	r.window, r.at = r.window[:size], r.off
	if err := r.read(r.window, r.off); err != nil {
		r.window = r.window[:0]
		return nil, err
	}
	return r.window[:n], nil
}

func (r *Reader) read(p []byte, off int64) error {
	err := r.src.ReadAt(r.ctx, p, off)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: the file has become shorter than %d bytes", fault.ErrCorrupt, r.src.Size())
	}
	return err
}

// Skip skips n bytes. The caller knows from the head before them that they exist.
func (r *Reader) Skip(n int64) { r.off += n }

// Text returns the next n bytes. The caller knows from the head before them that they
// exist.
func (r *Reader) Text(n int64) (string, error) {
	if n <= windowBytes {
		b, err := r.peek(n)
		if err != nil {
			return "", err
		}
		r.off += n
		return string(b), nil
	}
	b := make([]byte, n)
	if err := r.read(b, r.off); err != nil {
		return "", err
	}
	r.off += n
	return string(b), nil
}

// Within calls f, which can read only the next n bytes. Reading then continues after
// these bytes, however many f has read.
func (r *Reader) Within(n int64, f func() error) error {
	end, next := r.end, r.off+n
	r.end = next
	err := f()
	r.off, r.end = next, end
	return err
}
