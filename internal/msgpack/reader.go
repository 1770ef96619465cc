package msgpack

import (
	"context"
	"fmt"
	"io"

	"github.com/go-orbax/orbax/internal/fault"
)

// Source is a file of which any part can be read.
type Source interface {
	// ReadAt fills p with what is in the file from off on, or returns an error.
	ReadAt(ctx context.Context, p []byte, off int64) error
	Size() int64
}

// windowBytes is how much of the file a Reader has in memory.
const windowBytes = 64 << 10

// Reader reads a file from its beginning. Its errors match orbax.ErrCorrupt, but for
// those of the file itself and of ctx.
type Reader struct {
	ctx    context.Context
	src    Source
	off    int64 // of the next byte
	end    int64 // of what may be read
	window []byte
	at     int64 // where in the file the window is
}

// NewReader returns a reader of all of src. It reads nothing yet.
func NewReader(ctx context.Context, src Source) *Reader {
	return &Reader{ctx: ctx, src: src, end: src.Size()}
}

// Offset returns where in the file the next byte is.
func (r *Reader) Offset() int64 { return r.off }

// Left returns how many bytes may still be read.
func (r *Reader) Left() int64 { return r.end - r.off }

// Next reads the head of the next value. What the head says of its length is checked:
// so many bytes are there, and at least one for each value that follows.
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

// truncated is the error of a value at the current place that is longer than what there
// is.
func (r *Reader) truncated() error {
	if r.end < r.src.Size() {
		return fmt.Errorf("%w: the value at byte %d goes on beyond byte %d, where what it is a part of ends", fault.ErrCorrupt, r.off, r.end)
	}
	return fmt.Errorf("%w: the value at byte %d goes on beyond the end of the file, which has %d bytes: the file is truncated", fault.ErrCorrupt, r.off, r.end)
}

// peek returns the next n bytes, at most windowBytes, of which it knows that they are
// there.
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

// Skip passes over n bytes. That they are there is known from the head before them.
func (r *Reader) Skip(n int64) { r.off += n }

// Text returns the next n bytes. That they are there is known from the head before them.
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

// Within calls f, which can read the next n bytes and no more, and goes on behind them
// however many f has read.
func (r *Reader) Within(n int64, f func() error) error {
	end, next := r.end, r.off+n
	r.end = next
	err := f()
	r.off, r.end = next, end
	return err
}
