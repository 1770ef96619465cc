package azure

import (
	"errors"
	"hash/crc64"
	"io"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
)

// body reads the buffers of a request one after the other, without a copy of them.
type body struct {
	size int64

	mu       sync.Mutex
	buffers  [][]byte
	off      int64 // of the next byte
	at       int   // the buffer with the next byte
	in       int   // the next byte in it
	detached bool
}

func newBody(buffers [][]byte) *body {
	b := &body{buffers: buffers}
	for _, p := range buffers {
		b.size += int64(len(p))
	}
	return b
}

// errDetached is the error of a Read after the request has ended.
var errDetached = errors.New("the request has ended")

func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.detached {
		return 0, errDetached
	}
	for n < len(p) && b.at < len(b.buffers) {
		m := copy(p[n:], b.buffers[b.at][b.in:])
		n, b.in = n+m, b.in+m
		if b.in == len(b.buffers[b.at]) {
			b.at, b.in = b.at+1, 0
		}
	}
	b.off += int64(n)
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
		return b.off, errors.New("seek outside of the body")
	}
	b.off, b.at, b.in = offset, 0, 0
	for rest := offset; b.at < len(b.buffers); b.at++ {
		if size := int64(len(b.buffers[b.at])); rest < size {
			b.in = int(rest)
			break
		} else {
			rest -= size
		}
	}
	return offset, nil
}

func (b *body) Close() error { return nil }

// detach makes every further Read fail. An HTTP transport may go on reading the body of a
// request that has ended, when the caller has its buffers back.
func (b *body) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.detached, b.buffers = true, nil
}

// crcTable is the table of the CRC64 that Azure uses.
var crcTable = crc64.MakeTable(0x9A6C9329AC4BC9B5)

// checksum returns the CRC64 of buffers. It goes with the request, and the service refuses
// bytes that do not fit.
func checksum(buffers [][]byte) blob.TransferValidationType {
	var sum uint64
	for _, p := range buffers {
		sum = crc64.Update(sum, crcTable, p)
	}
	return blob.TransferValidationTypeCRC64(sum)
}
