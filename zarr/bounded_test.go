package zarr

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/go-orbax/orbax/internal/fault"
)

// claiming returns the metadata of one uint8 chunk of n elements behind codecs.
func claiming(t *testing.T, n int, codecs ...string) *Metadata {
	t.Helper()
	m, err := Parse(3, fmt.Appendf(nil, `{"zarr_format":3,"node_type":"array","shape":[%d],"data_type":"uint8",
		"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[%d]}},
		"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},"fill_value":0,
		"codecs":[{"name":"bytes"}%s]}`, n, n, strings.Join(append([]string{""}, codecs...), ",")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const (
	zstdCodec  = `{"name":"zstd","configuration":{"level":1,"checksum":false}}`
	gzipCodec  = `{"name":"gzip","configuration":{"level":1}}`
	crcCodec   = `{"name":"crc32c"}`
	bloscCodec = `{"name":"blosc","configuration":{"cname":"lz4","clevel":1,"shuffle":"noshuffle","blocksize":0}}`
)

// repeated returns a zstd frame of blocks that each are one byte many times over: the
// densest form there is.
func repeated(blocks int) []byte {
	enc := append(binary.LittleEndian.AppendUint32(nil, zstdMagic), 0, 7<<3) // no size, window 128 KiB
	for i := range blocks {
		enc = append(appendBlockHeader(enc, blockRLE, zstdBlockSize, i == blocks-1), 'x')
	}
	return enc
}

// lying returns a frame that declares n bytes and holds one block.
func lying(n uint64) []byte {
	enc := append(binary.LittleEndian.AppendUint32(nil, zstdMagic), 3<<6, 7<<3)
	enc = binary.LittleEndian.AppendUint64(enc, n)
	return append(appendBlockHeader(enc, blockRLE, zstdBlockSize, true), 'x')
}

// bloscOf returns a container of one LZ4 block that claims n bytes.
func bloscOf(n uint32, stream []byte) []byte {
	enc := []byte{2, 1, bloscLZ4<<5 | bloscWhole, 1}
	enc = binary.LittleEndian.AppendUint32(enc, n)
	enc = binary.LittleEndian.AppendUint32(enc, n)
	enc = binary.LittleEndian.AppendUint32(enc, uint32(bloscHeader+8+len(stream)))
	enc = binary.LittleEndian.AppendUint32(enc, bloscHeader+4)
	enc = binary.LittleEndian.AppendUint32(enc, uint32(len(stream)))
	return append(enc, stream...)
}

// bloscShared returns a container of blocks that all are the same bytes.
func bloscShared(blocks int) []byte {
	const block = 32 << 20
	stream := repeated(block / zstdBlockSize)
	enc := []byte{2, 1, bloscZstd<<5 | bloscWhole, 1}
	enc = binary.LittleEndian.AppendUint32(enc, uint32(blocks*block))
	enc = binary.LittleEndian.AppendUint32(enc, block)
	enc = binary.LittleEndian.AppendUint32(enc, uint32(bloscHeader+4*blocks+4+len(stream)))
	for range blocks {
		enc = binary.LittleEndian.AppendUint32(enc, uint32(bloscHeader+4*blocks))
	}
	enc = binary.LittleEndian.AppendUint32(enc, uint32(len(stream)))
	return append(enc, stream...)
}

// What a chunk claims to be takes no memory before it is known that its bytes can
// stand for so much.
func TestCheckEncodedRefuses(t *testing.T) {
	garbage := bytes.Repeat([]byte("x"), 1<<20)
	gz := func(n int64) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.CopyN(w, zeros{}, n)
		w.Close()
		return b.Bytes()
	}
	for _, c := range []struct {
		name   string
		size   int
		codecs []string
		enc    []byte
	}{
		{"zstd, garbage", 1 << 36, []string{zstdCodec}, garbage},
		{"zstd, too few blocks", 1 << 30, []string{zstdCodec}, repeated(1 << 12)},
		{"zstd, a size that it cannot have", 1 << 30, []string{zstdCodec}, lying(1 << 30)},
		{"zstd, cut off", 1 << 27, []string{zstdCodec}, repeated(1 << 12)[:1<<13]},
		{"zstd, checksum", 1 << 36, []string{zstdCodec, crcCodec}, garbage},
		{"two zstd, garbage", 1 << 36, []string{zstdCodec, zstdCodec}, garbage},
		{"two zstd, garbage inside", 1 << 36, []string{zstdCodec, zstdCodec}, repeated(1 << 8)},
		{"three zstd", 1 << 36, []string{zstdCodec, zstdCodec, zstdCodec}, repeated(1 << 8)},
		{"zstd, gzip", 1 << 36, []string{zstdCodec, gzipCodec}, gz(1 << 20)},
		{"gzip, zstd", 1 << 33, []string{gzipCodec, zstdCodec}, repeated(1 << 8)},
		{"gzip, garbage", 1 << 33, []string{gzipCodec}, garbage},
		{"gzip, too short", 1 << 33, []string{gzipCodec}, gz(1 << 26)},
		{"blosc, garbage", 1 << 31, []string{bloscCodec}, bloscOf(1<<31, nil)},
		{"blosc, one block", 1 << 31, []string{bloscCodec}, bloscOf(1<<31, garbage[:1<<12])},
		{"blosc, shared blocks", 1 << 31, []string{bloscCodec}, bloscShared(1 << 6)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := claiming(t, c.size, c.codecs...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := m.CheckEncoded(c.enc)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, fault.ErrCorrupt) && !errors.Is(err, fault.ErrNoMemory) {
				t.Error(err)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
				t.Errorf("%d MiB allocated", n>>20)
			}
		})
	}
	// The case that was first: 64 bytes for 2^36, refused by their number alone.
	if err := claiming(t, 1<<36, zstdCodec, zstdCodec).CheckStored(64); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("64 bytes behind two codecs: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// What is dense and true passes, and decodes.
func TestCheckEncodedAccepts(t *testing.T) {
	const size = 10 << 20 // beyond what is not looked at
	chunk := make([]byte, size)
	deflated := func(open func(io.Writer) io.WriteCloser) []byte {
		var b bytes.Buffer
		w := open(&b)
		w.Write(chunk)
		w.Close()
		return b.Bytes()
	}
	gz := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, c := range []struct {
		name   string
		codecs []string
		enc    []byte
	}{
		{"zstd", []string{zstdCodec}, e.EncodeAll(chunk, nil)},
		{"zstd without a size", []string{zstdCodec}, deflated(func(w io.Writer) io.WriteCloser {
			z, _ := zstd.NewWriter(w)
			return z
		})},
		{"gzip", []string{gzipCodec}, deflated(gz)},
		{"zstd, gzip", []string{zstdCodec, gzipCodec}, func() []byte {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			w.Write(e.EncodeAll(chunk, nil))
			w.Close()
			return b.Bytes()
		}()},
		{"gzip, zstd", []string{gzipCodec, zstdCodec}, e.EncodeAll(deflated(gz), nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := claiming(t, size, c.codecs...)
			if err := m.CheckStored(int64(len(c.enc))); err != nil {
				t.Error(err)
			}
			if err := m.CheckEncoded(c.enc); err != nil {
				t.Error(err)
			}
			chunk[size-1] = 1
			if err := m.DecodeChunk([]int{0}, chunk, c.enc); err != nil || chunk[size-1] != 0 {
				t.Error(err)
			}
		})
	}
	// The codecs of format 2, by the filters themselves.
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(chunk)
	w.Close()
	if n, err := (zlibFilter{}).most(z.Bytes(), size); err != nil || n < size {
		t.Errorf("zlib: %d, %v", n, err)
	}
	// 64 MiB of zeros, as bzip2 -1 writes them.
	bz, err := base64.StdEncoding.DecodeString(bzip2Zeros)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := (bzip2Filter{}).most(bz, 64<<20); err != nil || n != 64<<20 {
		t.Errorf("bzip2: %d, %v", n, err)
	}
	if n, err := (bzip2Filter{}).most(bz, 65<<20); err != nil || n != 64<<20 {
		t.Errorf("bzip2, more claimed: %d, %v", n, err)
	}
}

const bzip2Zeros = "QlpoMTFBWSZTWX6yQ8QADQTAAMAAAAggACCkCDSoKjEqCo5igrJMprL9ZIeIABoJgAGAAAAQQABBSBBpUFRiVBUcxQVkmU1l+skPEAA0EwADAAAAIIAAgpAg0qCoxKgqOYoKyTKay/WSHiAAaCYABgAAAEEAAQUgQaVBUYlQVHMUFZJlNZfrJDxAANBMAAwAAACCAAIKQINKgqMSoKjmKCskymsv1kh4gAGgmAAYAAABBAAEFIEGlQVGJUFRzFBWSZTWX6yQ8QADQTAAMAAAAggACCkCDSoKjEqCo5igrJMprL9ZIeIABoJgAGAAAAQQABBSBBpUFRiVBUcxQVkmU1l+skPEAA0EwADAAAAIIAAgpAg0qCoxKgqOYoKyTKay/WSHiAAaCYABgAAAEEAAQUgQaVBUYlQVHMUFZJlNZfrJDxAANBMAAwAAACCAAIKQINKgqMSoKjmKCskymsv1kh4gAGgmAAYAAABBAAEFIEGlQVGJUFRzFBWSZTWX6yQ8QADQTAAMAAAAggACCkCDSoKjEqCo5igrJMprNgxn2OAAyPgAGAAAAQQABhAFI2MkItKQi4u5IpwoSDWIJJIA"
