package msgpack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/msgpack"
)

// memory is a file in memory.
type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }

func (m memory) ReadAt(_ context.Context, p []byte, off int64) error {
	if n := copy(p, m[off:]); n < len(p) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Every first byte of the specification of MessagePack.
func TestParseHead(t *testing.T) {
	float := math.Float64bits
	tests := []struct {
		in string
		h  msgpack.Head
	}{
		{"\x00", msgpack.Head{Kind: msgpack.Uint}},
		{"\x7f", msgpack.Head{Kind: msgpack.Uint, Bits: 127}},
		{"\x80", msgpack.Head{Kind: msgpack.Map}},
		{"\x8f", msgpack.Head{Kind: msgpack.Map, Len: 15}},
		{"\x9f", msgpack.Head{Kind: msgpack.Array, Len: 15}},
		{"\xbf", msgpack.Head{Kind: msgpack.String, Len: 31}},
		{"\xc0", msgpack.Head{Kind: msgpack.Nil}},
		{"\xc1", msgpack.Head{}},
		{"\xc2", msgpack.Head{Kind: msgpack.Bool}},
		{"\xc3", msgpack.Head{Kind: msgpack.Bool, Bits: 1}},
		{"\xc4\xff", msgpack.Head{Kind: msgpack.Binary, Len: 255}},
		{"\xc5\x01\x02", msgpack.Head{Kind: msgpack.Binary, Len: 0x102}},
		{"\xc6\xff\x01\x02\x03", msgpack.Head{Kind: msgpack.Binary, Len: 0xff010203}},
		{"\xc7\x05\xff", msgpack.Head{Kind: msgpack.Ext, Len: 5, Ext: -1}},
		{"\xc8\x01\x02\x03", msgpack.Head{Kind: msgpack.Ext, Len: 0x102, Ext: 3}},
		{"\xc9\x01\x02\x03\x04\x05", msgpack.Head{Kind: msgpack.Ext, Len: 0x1020304, Ext: 5}},
		{"\xca\x3f\x80\x00\x00", msgpack.Head{Kind: msgpack.Float, Bits: float(1)}},
		{"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", msgpack.Head{Kind: msgpack.Float, Bits: float(math.Inf(1))}},
		{"\xcc\xff", msgpack.Head{Kind: msgpack.Uint, Bits: 255}},
		{"\xcd\xff\xfe", msgpack.Head{Kind: msgpack.Uint, Bits: 0xfffe}},
		{"\xce\xff\xfe\xfd\xfc", msgpack.Head{Kind: msgpack.Uint, Bits: 0xfffefdfc}},
		{"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", msgpack.Head{Kind: msgpack.Uint, Bits: math.MaxUint64}},
		{"\xd0\x80", msgpack.Head{Kind: msgpack.Int, Bits: 1<<64 - 128}},
		{"\xd0\x7f", msgpack.Head{Kind: msgpack.Uint, Bits: 127}},
		{"\xd1\x80\x00", msgpack.Head{Kind: msgpack.Int, Bits: 1<<64 - 1<<15}},
		{"\xd2\x80\x00\x00\x00", msgpack.Head{Kind: msgpack.Int, Bits: 1<<64 - 1<<31}},
		{"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", msgpack.Head{Kind: msgpack.Int, Bits: 1 << 63}},
		{"\xd4\x01", msgpack.Head{Kind: msgpack.Ext, Len: 1, Ext: 1}},
		{"\xd5\x01", msgpack.Head{Kind: msgpack.Ext, Len: 2, Ext: 1}},
		{"\xd6\x01", msgpack.Head{Kind: msgpack.Ext, Len: 4, Ext: 1}},
		{"\xd7\x01", msgpack.Head{Kind: msgpack.Ext, Len: 8, Ext: 1}},
		{"\xd8\x80", msgpack.Head{Kind: msgpack.Ext, Len: 16, Ext: -128}},
		{"\xd9\xff", msgpack.Head{Kind: msgpack.String, Len: 255}},
		{"\xda\x01\x02", msgpack.Head{Kind: msgpack.String, Len: 0x102}},
		{"\xdb\x01\x02\x03\x04", msgpack.Head{Kind: msgpack.String, Len: 0x1020304}},
		{"\xdc\x01\x02", msgpack.Head{Kind: msgpack.Array, Len: 0x102}},
		{"\xdd\x01\x02\x03\x04", msgpack.Head{Kind: msgpack.Array, Len: 0x1020304}},
		{"\xde\x01\x02", msgpack.Head{Kind: msgpack.Map, Len: 0x102}},
		{"\xdf\x01\x02\x03\x04", msgpack.Head{Kind: msgpack.Map, Len: 0x1020304}},
		{"\xe0", msgpack.Head{Kind: msgpack.Int, Bits: 1<<64 - 32}},
		{"\xff", msgpack.Head{Kind: msgpack.Int, Bits: math.MaxUint64}},
	}
	for _, test := range tests {
		h, n := msgpack.ParseHead([]byte(test.in + "rest"))
		if h != test.h || n != len(test.in) {
			t.Errorf("%x: got %+v of %d bytes, want %+v of %d", test.in, h, n, test.h, len(test.in))
		}
		for cut := range test.in {
			if h, n := msgpack.ParseHead([]byte(test.in[:cut])); n != 0 || h != (msgpack.Head{}) {
				t.Errorf("%x: got %+v of %d bytes, want none", test.in[:cut], h, n)
			}
		}
	}
}

func reader(t testing.TB, file string) *msgpack.Reader {
	return msgpack.NewReader(t.Context(), memory(file))
}

func TestReader(t *testing.T) {
	long := strings.Repeat("x", 70000) // more than the reader has in memory at a time
	r := reader(t, "\x93\xdb\x00\x01\x11\x70"+long+"\xc6\x00\x01\x11\x70"+long+"\xa2ab")
	heads := func(want msgpack.Head) {
		t.Helper()
		if h, err := r.Next(); err != nil || h != want {
			t.Fatalf("got %+v, %v, want %+v", h, err, want)
		}
	}
	heads(msgpack.Head{Kind: msgpack.Array, Len: 3})
	heads(msgpack.Head{Kind: msgpack.String, Len: 70000})
	if s, err := r.Text(70000); err != nil || s != long {
		t.Fatalf("got %d bytes, %v", len(s), err)
	}
	heads(msgpack.Head{Kind: msgpack.Binary, Len: 70000})
	if r.Offset() != 70011 {
		t.Errorf("the contents are at %d", r.Offset())
	}
	r.Skip(70000)
	heads(msgpack.Head{Kind: msgpack.String, Len: 2})
	if s, err := r.Text(2); err != nil || s != "ab" || r.Left() != 0 {
		t.Errorf("got %q, %v, and %d bytes left", s, err, r.Left())
	}
	if _, err := r.Next(); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("at the end: %v", err)
	}
}

// A head that promises more than there is, is refused before anything is made of it.
func TestReaderRefuses(t *testing.T) {
	for file, says := range map[string]string{
		"":                          "the file is truncated",
		"\xc1":                      "begins no value",
		"\xa2a":                     "the file is truncated",
		"\xdb\xff\xff\xff\xff":      "the file is truncated",
		"\xc9\x00\x00\x00\x02\x01a": "the file is truncated",
		"\x92\xc0":                  "the file is truncated",
		"\x81\xa0":                  "the file is truncated",
		"\xdf\xff\xff\xff\xff":      "the file is truncated",
		"\xcf\x00":                  "the file is truncated",
	} {
		if h, err := reader(t, file).Next(); !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), says) {
			t.Errorf("%x: got %+v, %v, want an error that says %q", file, h, err, says)
		}
	}
}

func TestReaderWithin(t *testing.T) {
	r := reader(t, "\xa3abc\xa3def\xc3")
	err := r.Within(5, func() error {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		r.Skip(3)
		_, err := r.Next()
		return err
	})
	if !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), "a part of ends") {
		t.Errorf("beyond the end: %v", err)
	}
	r.Skip(3)
	if h, err := r.Next(); err != nil || h.Kind != msgpack.Bool {
		t.Errorf("got %+v, %v", h, err)
	}
}

type failing struct{ memory }

var errDisk = errors.New("broken disk")

func (failing) ReadAt(context.Context, []byte, int64) error { return errDisk }

func TestReaderErrors(t *testing.T) {
	if _, err := msgpack.NewReader(t.Context(), failing{memory("\xc0")}).Next(); !errors.Is(err, errDisk) || errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("broken disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := msgpack.NewReader(ctx, memory("\xc0")).Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// Reading goes forward and stays within the file, whatever is in it.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\x82\xa1a\x92\x01\xc0\xa1b\xc7\x03\x01abc"))
	f.Add([]byte("\xdf\xff\xff\xff\xff\xa1a"))
	f.Fuzz(func(t *testing.T, file []byte) {
		r := msgpack.NewReader(t.Context(), memory(file))
		for r.Left() > 0 {
			at := r.Offset()
			h, err := r.Next()
			if err != nil {
				if !errors.Is(err, fault.ErrCorrupt) {
					t.Fatal(err)
				}
				return
			}
			if r.Offset() <= at || h.Len < 0 || h.Len > r.Left() {
				t.Fatalf("%+v at %d, the next at %d of %d", h, at, r.Offset(), len(file))
			}
			if h.Kind == msgpack.String {
				s, err := r.Text(h.Len)
				if err != nil || !bytes.Equal([]byte(s), file[r.Offset()-h.Len:r.Offset()]) {
					t.Fatalf("%q, %v", s, err)
				}
			}
		}
	})
}
