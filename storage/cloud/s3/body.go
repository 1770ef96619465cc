package s3

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"
)

// body reads buffers one after the other. It is the body of a request.
type body struct {
	mu    sync.Mutex
	all   [][]byte
	size  int64
	off   int64    // of what Read returns next
	left  [][]byte // what Read returns next
	ended bool
}

// newBody returns the body of buffers. The caller calls end before others may use them.
func newBody(buffers [][]byte) *body {
	return &body{all: buffers, left: buffers, size: sizeOf(buffers)}
}

// sizeOf returns the number of bytes of buffers.
func sizeOf(buffers [][]byte) (size int64) {
	for _, p := range buffers {
		size += int64(len(p))
	}
	return size
}

// end makes Read fail. The connection of a request that was given up may read its body for
// a while, when the buffers have been used again.
func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended, b.all, b.left = true, nil, nil
}

var errEnded = errors.New("the request has ended")

func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, errEnded
	}
	for len(b.left) > 0 && n < len(p) {
		k := copy(p[n:], b.left[0])
		n += k
		b.off += int64(k)
		if b.left[0] = b.left[0][k:]; len(b.left[0]) == 0 {
			b.left = b.left[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.off
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 || offset > b.size {
		return 0, errors.New("seek outside of the body")
	}
	b.off, b.left = offset, nil
	for i, p := range b.all {
		if offset < int64(len(p)) {
			b.left = append([][]byte{p[offset:]}, b.all[i+1:]...)
			break
		}
		offset -= int64(len(p))
	}
	return b.off, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc returns the CRC32C of all bytes, as S3 writes it.
func (b *body) crc() string {
	var sum uint32
	for _, p := range b.all {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}
