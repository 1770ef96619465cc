package zarr

import (
	"bytes"
	"compress/bzip2"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"github.com/go-orbax/orbax/internal/fault"
)

var gzipReaders, zlibReaders sync.Pool

// gzipFilter is one gzip member.
type gzipFilter struct{}

func (gzipFilter) decode(buf, enc []byte) ([]byte, error) {
	in := bytes.NewReader(enc)
	r, _ := gzipReaders.Get().(*gzip.Reader)
	if r == nil {
		r = new(gzip.Reader)
	}
	defer gzipReaders.Put(r)
	if err := r.Reset(in); err != nil {
		return nil, fmt.Errorf("%w: gzip: %w", fault.ErrCorrupt, err)
	}
	r.Multistream(false)
	return readAll("gzip", buf, r, in)
}

// zlibFilter is one zlib stream.
type zlibFilter struct{}

func (zlibFilter) decode(buf, enc []byte) ([]byte, error) {
	in := bytes.NewReader(enc)
	r, _ := zlibReaders.Get().(io.ReadCloser)
	var err error
	if r == nil {
		r, err = zlib.NewReader(in)
	} else {
		err = r.(zlib.Resetter).Reset(in, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: zlib: %w", fault.ErrCorrupt, err)
	}
	defer zlibReaders.Put(r)
	return readAll("zlib", buf, r, in)
}

// bzip2Filter is a bzip2 file.
type bzip2Filter struct{}

func (bzip2Filter) decode(buf, enc []byte) ([]byte, error) {
	in := bytes.NewReader(enc)
	return readAll("bzip2", buf, bzip2.NewReader(in), in)
}

// readAll reads what r decodes from in into buf. It reads to the end, where the
// checksum is verified, and demands that in ends there too.
func readAll(what string, buf []byte, r io.Reader, in *bytes.Reader) ([]byte, error) {
	n, err := io.ReadFull(r, buf)
	if err == nil {
		var more [1]byte
		var extra int
		extra, err = io.ReadFull(r, more[:])
		if extra > 0 {
			return nil, fmt.Errorf("%w: %s: more than %d bytes", fault.ErrCorrupt, what, len(buf))
		}
	}
	// ReadFull turns an early end into ErrUnexpectedEOF, but so does a
	// decoder whose input is cut off: only another read tells them apart.
	if err == io.ErrUnexpectedEOF {
		var more [1]byte
		_, err = r.Read(more[:])
	}
	if err != io.EOF {
		return nil, fmt.Errorf("%w: %s: %w", fault.ErrCorrupt, what, err)
	}
	if in.Len() > 0 {
		return nil, fmt.Errorf("%w: %s: %d bytes after the end", fault.ErrCorrupt, what, in.Len())
	}
	return buf[:n], nil
}
