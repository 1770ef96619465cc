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
	"github.com/go-orbax/orbax/internal/memory"
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

func (f gzipFilter) most(enc []byte, limit int64) (int64, error) {
	return mostOf(enc, limit, func(in *bytes.Reader) (io.Reader, error) { return gzip.NewReader(in) })
}

func (f zlibFilter) most(enc []byte, limit int64) (int64, error) {
	return mostOf(enc, limit, func(in *bytes.Reader) (io.Reader, error) { return zlib.NewReader(in) })
}

func (f bzip2Filter) most(enc []byte, limit int64) (int64, error) {
	return mostOf(enc, limit, func(in *bytes.Reader) (io.Reader, error) { return bzip2.NewReader(in), nil })
}

// usualRatio is the number of bytes that one byte of a stream may decode to without a
// closer look, after the first unlooked bytes: only constants compress better.
const (
	usualRatio = 64
	unlooked   = 8 << 20
)

// mostOf bounds the length of the decoded form of a stream whose header does not state
// it. If the stream would have to be very dense to decode to limit bytes, mostOf decodes
// it, without keeping the result.
func mostOf(enc []byte, limit int64, open func(*bytes.Reader) (io.Reader, error)) (int64, error) {
	if usual := int64(len(enc))*usualRatio + unlooked; limit <= usual {
		return usual, nil
	}
	if err := memory.Check(limit); err != nil {
		return 0, err // before the stream is decoded at length
	}
	r, err := open(bytes.NewReader(enc))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", fault.ErrCorrupt, err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(r, limit))
	if err != nil {
		return 0, fmt.Errorf("%w: after %d bytes: %w", fault.ErrCorrupt, n, err)
	}
	return n, nil
}

// readAll reads the bytes that r decodes from in into buf. It reads to the end, where the
// checksum is verified, and requires that in ends there too.
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
	// ReadFull turns an early end into ErrUnexpectedEOF, but so does a decoder whose
	// input is cut off. Only another read distinguishes the two.
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
