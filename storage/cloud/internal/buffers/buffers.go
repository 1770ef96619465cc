// Package buffers sends and fills several buffers as one body of a request, without a copy
// of them.
package buffers

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Size returns the number of bytes of buffers.
func Size(buffers [][]byte) (size int64) {
	for _, p := range buffers {
		size += int64(len(p))
	}
	return size
}

// Fill reads most bytes into buffers, or as many as they hold. It is io.ErrUnexpectedEOF if
// r has fewer. If they come too slowly, it is a [*SlowError].
func Fill(buffers [][]byte, r io.Reader, most int64) (n int, err error) {
	most = min(most, Size(buffers))
	start, had := time.Now(), 0 // of the window
	for _, p := range buffers {
		p = p[:max(0, min(int64(len(p)), most-int64(n)))]
		for len(p) > 0 {
			m, err := r.Read(p)
			n, p = n+m, p[m:]
			switch took := time.Since(start); {
			case len(p) > 0 && errors.Is(err, io.EOF):
				return n, io.ErrUnexpectedEOF
			case len(p) > 0 && err != nil:
				return n, err
			case took < window || int64(n) == most:
			case float64(n-had) < leastRate*took.Seconds():
				return n, &SlowError{n - had, took}
			default:
				start, had = time.Now(), n
			}
		}
	}
	return n, nil
}

// An answer must move leastRate bytes a second, counted over a window. A slower connection is
// given up: another one may be faster. The rate is so low that many reads may share a slow
// line. package object has the same rate.
const (
	leastRate = 1 << 10
	window    = 20 * time.Second
)

// SlowError is the error of an answer whose bytes come too slowly. Like the error of a
// connection that is silent, it is a net.Error that is a timeout.
type SlowError struct {
	Bytes int // that came in Time
	Time  time.Duration
}

func (e *SlowError) Error() string {
	return fmt.Sprintf("the service has sent %d bytes in %v, less than %d a second", e.Bytes, e.Time.Round(time.Second), leastRate)
}
func (e *SlowError) Timeout() bool   { return true }
func (e *SlowError) Temporary() bool { return true }

// Reader reads buffers one after the other. It is the body of a request.
type Reader struct {
	size int64

	mu       sync.Mutex
	buffers  [][]byte
	off      int64 // of the next byte
	at       int   // the buffer with the next byte
	in       int   // the next byte in it
	detached bool
}

// NewReader returns a reader of buffers. The caller calls Detach before others may use them.
func NewReader(buffers [][]byte) *Reader {
	return &Reader{buffers: buffers, size: Size(buffers)}
}

// Size returns the number of bytes of the whole body.
func (r *Reader) Size() int64 { return r.size }

var errDetached = errors.New("the request has ended")

func (r *Reader) Read(p []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.detached {
		return 0, errDetached
	}
	for n < len(p) && r.at < len(r.buffers) {
		m := copy(p[n:], r.buffers[r.at][r.in:])
		n, r.in = n+m, r.in+m
		if r.in == len(r.buffers[r.at]) {
			r.at, r.in = r.at+1, 0
		}
	}
	r.off += int64(n)
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Seek implements [io.Seeker]. Only offsets of the body are allowed.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 || offset > r.size {
		return r.off, errors.New("seek outside of the body")
	}
	r.off, r.at, r.in = offset, 0, 0
	for rest := offset; r.at < len(r.buffers); r.at++ {
		size := int64(len(r.buffers[r.at]))
		if rest < size {
			r.in = int(rest)
			break
		}
		rest -= size
	}
	return offset, nil
}

// Close does nothing.
func (r *Reader) Close() error { return nil }

// Detach makes every further Read fail. An HTTP transport may go on reading the body of a
// request that has ended, when the caller has its buffers back.
func (r *Reader) Detach() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.detached, r.buffers = true, nil
}
