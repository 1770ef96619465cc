package gcs

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"sync"
)

// body is the body of a request, in several buffers.
type body [][]byte

func (b *body) size() (n int64) {
	for _, buf := range *b {
		n += int64(len(buf))
	}
	return n
}

// reader returns a reader of the whole body.
func (b *body) reader() *bodyReader { return &bodyReader{rest: *b} }

// bodyReader reads buffers one after the other. It does not change them.
type bodyReader struct {
	mu   sync.Mutex
	rest [][]byte
	at   int   // in the first of rest
	err  error // of Read at the end
}

// errDetached is the error of a Read after the request has ended.
var errDetached = errors.New("the request has ended")

func (r *bodyReader) Read(p []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(p) && len(r.rest) > 0 {
		m := copy(p[n:], r.rest[0][r.at:])
		n, r.at = n+m, r.at+m
		if r.at == len(r.rest[0]) {
			r.rest, r.at = r.rest[1:], 0
		}
	}
	switch {
	case n > 0 || len(p) == 0:
		return n, nil
	case r.err != nil:
		return 0, r.err
	}
	return 0, io.EOF
}

func (r *bodyReader) Close() error { return nil }

// detach makes every further Read fail. An HTTP transport may go on reading the body of a
// request that has ended, when the caller has its buffers back.
func (r *bodyReader) detach() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest, r.err = nil, errDetached
}

// multipartBody returns the body of an upload of data with its attributes in one request,
// and its content type. The body has data itself, no copy.
func multipartBody(a attributes, data [][]byte) (*body, string, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, "", err
	}
	var random [24]byte // so long that the data does not have it
	rand.Read(random[:])
	boundary := "orbax-" + hex.EncodeToString(random[:])
	head := "--" + boundary + "\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n" + string(text) +
		"\r\n--" + boundary + "\r\nContent-Type: " + a.ContentType + "\r\n\r\n"
	b := make(body, 0, len(data)+2)
	b = append(b, []byte(head))
	b = append(b, data...)
	b = append(b, []byte("\r\n--"+boundary+"--\r\n"))
	return &b, "multipart/related; boundary=" + boundary, nil
}
