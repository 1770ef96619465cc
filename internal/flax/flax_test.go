package flax_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/flax"
	"github.com/go-orbax/orbax/tree"
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

// ext, bin and str are values of MessagePack, dict one of few values in turn with their
// keys.
func ext(typ int8, content string) string {
	return "\xc9" + string(binary.BigEndian.AppendUint32(nil, uint32(len(content)))) + string(byte(typ)) + content
}

func bin(content string) string {
	return "\xc6" + string(binary.BigEndian.AppendUint32(nil, uint32(len(content)))) + content
}

func str(text string) string {
	return "\xdb" + string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
}

func list(values ...string) string {
	return string([]byte{0x90 + byte(len(values))}) + strings.Join(values, "")
}

func dict(pairs ...string) string {
	return string([]byte{0x80 + byte(len(pairs)/2)}) + strings.Join(pairs, "")
}

// ndarray is what an extension of an array has in it.
func ndarray(dtype, content string, shape ...int) string {
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = "\xce" + string(binary.BigEndian.AppendUint32(nil, uint32(d)))
	}
	return list(list(dims...), str(dtype), bin(content))
}

// shown prints leaves in one line each, their elements from the file.
func shown(file string, leaves []flax.Leaf) (lines []string) {
	for _, l := range leaves {
		text := fmt.Sprintf("%s: %v", l.Path.ID(), l.Value)
		switch {
		case l.Err != nil:
			text = fmt.Sprintf("%s: %v", l.Path.ID(), l.Err)
		case l.Array != nil:
			text = fmt.Sprintf("%s: %v%v", l.Path.ID(), l.Array.DType, l.Array.Shape)
			for _, r := range l.Array.Runs {
				text += fmt.Sprintf(" %q", file[r.At:][:r.Length])
			}
		}
		lines = append(lines, text)
	}
	return lines
}

func TestRead(t *testing.T) {
	file := dict(
		str("a"), ext(1, ndarray("float32", "12345678", 2, 1)),
		str("b"), dict(),
		str("c"), list("\xc0", "\xc3", "\xfe", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", list()),
		str("d"), ext(2, list("\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "\x02")),
		str("e"), ext(3, ndarray("bfloat16", "12")),
		str("f"), ext(4, list("\x05", ext(4, list()), ext(1, ndarray("bool", "", 0)))),
		str("g"), str("text"),
		str("h"), bin("bytes"),
		str("i"), str("PLACEHOLDER://i"),
		str("j"), str("//GDAPlaceholder:j"),
		str("k"), ext(7, "new"),
		str("l"), ext(1, ndarray("datetime64[ns]", "12345678", 1)),
		str("m"), ext(1, ndarray("int4", "\x0f", 1)),
	)
	leaves, err := flax.Read(t.Context(), memory(file))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`"a": float32[2 1] "12345678"`,
		`"b": Dict`,
		`"c" "0": None`,
		`"c" "1": true`,
		`"c" "2": -2`,
		`"c" "3": 18446744073709551615`,
		`"c" "4": 1.5`,
		`"c" "5": List`,
		`"d": (1.5+2i)`,
		`"e": bfloat16[] "12"`,
		`"f" "0": 5`,
		`"f" "1": Tuple`,
		`"f" "2": bool[0] ""`,
		`"g": text`,
		`"h": uint8[5] "bytes"`,
		`"i": PLACEHOLDER://i`,
		`"j": unsupported: Flax stored the array of several processes apart, in a directory beside the file`,
		`"k": unsupported: MessagePack extension of type 7`,
		`"l": dtype mismatch: unknown dtype "datetime64[ns]"`,
		`"m": int4[1] "\x0f"`,
	}
	if got := shown(file, leaves); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i, kind := range map[int]tree.Kind{
		0: tree.KindArray, 1: tree.KindEmpty, 3: tree.KindScalar, 9: tree.KindScalar, 13: tree.KindString, 14: tree.KindBytes, 17: tree.KindInvalid,
	} {
		if leaves[i].Kind != kind {
			t.Errorf("%s is of kind %v, want %v", leaves[i].Path, leaves[i].Kind, kind)
		}
	}
	if p := leaves[10].Path; !p[1].Seq || !p[1].Tuple {
		t.Errorf("the keys of a tuple are %+v", p)
	}
	if p := leaves[2].Path; !p[1].Seq || p[1].Tuple {
		t.Errorf("the keys of a list are %+v", p)
	}
	if !leaves[15].IsPlaceholder() || leaves[13].IsPlaceholder() {
		t.Error("a placeholder is taken for a string, or a string for one")
	}
}

// chunked is a dict that stands for an array of int8 and shape (2, 3).
func chunked(pairs ...string) string {
	return dict(append([]string{str("__msgpack_chunked_array__"), "\xc3"}, pairs...)...)
}

func chunks(dtype string, contents ...string) string {
	var pairs []string
	for i, c := range contents {
		pairs = append(pairs, str(fmt.Sprint(i)), ext(1, ndarray(dtype, c, len(c))))
	}
	return dict(pairs...)
}

func TestReadChunked(t *testing.T) {
	shape := dict(str("1"), "\x03", str("0"), "\x02")
	for _, test := range [][2]string{
		{chunked(str("shape"), shape, str("chunks"), chunks("int8", "1234", "56")), `: int8[2 3] "1234" "56"`},
		{chunked(str("chunks"), chunks("int8", "123456"), str("shape"), shape), `: int8[2 3] "123456"`},
		{chunked(str("shape"), dict(), str("chunks"), chunks("int8", "1")), `: int8[] "1"`},
		{chunked(str("shape"), dict(str("0"), "\x00"), str("chunks"), chunks("int8", "")), `: int8[0] ""`},
		{chunked(str("shape"), shape), "no chunks"},
		{chunked(str("shape"), shape, str("chunks"), chunks("int8", "1234")), "4 bytes"},
		{chunked(str("shape"), shape, str("chunks"), dict(str("1"), ext(1, ndarray("int8", "123456", 6)))), "chunk 0"},
		{chunked(str("shape"), shape, str("chunks"), dict(str("0"), ext(1, ndarray("int8", "123456", 3, 2)))), "chunk 0"},
		{chunked(str("shape"), dict(str("0"), "\xff"), str("chunks"), chunks("int8", "1")), "dimension 0"},
		{chunked(str("shape"), dict(str("1"), "\x01"), str("chunks"), chunks("int8", "1")), "dimension 0"},
		{chunked(str("shape"), shape, str("chunks"), dict(str("0"), ext(1, ndarray("int8", "1234", 4)), str("1"), ext(1, ndarray("bool", "12", 2)))), "int8 and of bool"},
		{chunked(str("shape"), shape, str("chunks"), dict(str("0"), ext(9, ""))), "type 9"},
		{chunked(str("more"), "\x01"), "a value at more"},
	} {
		file := dict(str("w"), test[0])
		leaves, err := flax.Read(t.Context(), memory(file))
		if err != nil {
			t.Errorf("%s: %v", test[1], err)
			continue
		}
		if got := shown(file, leaves); len(got) != 1 || !strings.Contains(got[0], test[1]) || leaves[0].Path.String() != "w" {
			t.Errorf("got %q, want one leaf with %s", got, test[1])
		}
		if l := leaves[0]; l.Err == nil && l.Kind != tree.KindArray || l.Err != nil && l.Array != nil {
			t.Errorf("%s: %+v", test[1], l)
		}
	}
}

// What is not whole is an error of the leaf where that was seen.
func TestReadRefuses(t *testing.T) {
	deep := strings.Repeat("\x91", 1100) + "\xc0"
	for _, test := range []struct {
		file string
		is   error
		says string
	}{
		{"", fault.ErrCorrupt, "leaf at the root: corrupt data: the value at byte 0 goes on beyond the end of the file"},
		{dict(str("a"), dict(str("b"), "\xd9\x05x")), fault.ErrCorrupt, "leaf a.b: "},
		{dict(str("a"), ext(1, ndarray("int8", "123", 3)))[:20], fault.ErrCorrupt, "leaf a: "},
		{dict(str("a"), "\xc1"), fault.ErrCorrupt, "leaf a: "},
		{dict("\x01", "\x02"), fault.ErrCorrupt, "a key of a dict is int"},
		{dict(str("a"), "\x02", str("a"), "\x03"), fault.ErrCorrupt, `the key "a" is there twice`},
		{dict(str("\xff"), "\x02"), fault.ErrCorrupt, "not UTF-8"},
		{dict() + "\x00", fault.ErrCorrupt, "1 bytes follow the tree"},
		{ext(4, list("\x01")+"\x00"), fault.ErrCorrupt, "follow the values of a tuple"},
		{ext(4, "\x01"), fault.ErrCorrupt, "a tuple is stored as int"},
		{deep, fault.ErrUnsupported, "nested more than 1024 deep"},
	} {
		if leaves, err := flax.Read(t.Context(), memory(test.file)); !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("got %v, %v, want an error that says %q", leaves, err, test.says)
		}
	}
}

// What is wrong with one leaf keeps no other from being read.
func TestReadBrokenLeaf(t *testing.T) {
	for says, value := range map[string]string{
		"has 3 bytes": ext(1, ndarray("int8", "123", 2)),
		"shape [70000 70000 70000 70000 70000] has": ext(1, ndarray("int8", "123", 70000, 70000, 70000, 70000, 70000)),
		"unknown dtype":    ext(1, ndarray("str96", "123", 1)),
		"bytes follow":     ext(3, ndarray("int8", "1")+"x"),
		"a value is array": ext(1, list("\x01")),
		"no size":          ext(1, list(list("\xff"), str("int8"), bin("1"))),
		"length 65":        ext(1, list(list("\x01"), str(strings.Repeat("x", 65)), bin("1"))),
		"the elements":     ext(1, list(list("\x01"), str("int8"), "\x01")),
		"complex number":   ext(2, list(str("1"), "\x02")),
		"goes on beyond":   ext(2, "\x92\x01"),
		"not UTF-8":        str("\xff"),
	} {
		file := dict(str("a"), value, str("b"), "\x07")
		leaves, err := flax.Read(t.Context(), memory(file))
		if err != nil || len(leaves) != 2 || leaves[0].Err == nil || leaves[1].Value != int64(7) {
			t.Errorf("%s: got %+v, %v", says, leaves, err)
			continue
		}
		if !strings.Contains(leaves[0].Err.Error(), says) {
			t.Errorf("got %v, want an error that says %q", leaves[0].Err, says)
		}
	}
}

// A byte of a file can be a leaf, a short one can claim any length, and one long key is
// in the names of all leaves below it.
func TestReadBounded(t *testing.T) {
	long := func(n int) string {
		return "\xdb" + string(binary.BigEndian.AppendUint32(nil, uint32(n))) + strings.Repeat("k", n)
	}
	for _, file := range []string{
		"\x81" + long(1_000_000) + "\xdd\x00\x00\x27\x10" + strings.Repeat("\xc3", 10_000),
		"\x81" + long(100_000) + "\xdd\x00\x00\x27\x10" + strings.Repeat("\xc3", 10_000),
		strings.Repeat("\x81"+long(5_000), 500) + "\xdd\x00\x00\x27\x10" + strings.Repeat("\xc3", 10_000),
		"\xdd\x00\x80\x00\x00" + strings.Repeat("\xc0", 8<<20),
		strings.Repeat("\x91", 900) + "\xdd\x00\x10\x00\x00" + strings.Repeat("\xc0", 1<<20),
	} {
		leaves, err := flax.Read(t.Context(), memory(file))
		if !errors.Is(err, fault.ErrUnsupported) || leaves != nil {
			t.Errorf("got %d leaves, %v", len(leaves), err)
		}
	}
}

func TestBegins(t *testing.T) {
	for file, want := range map[string]bool{
		dict(str("a"), "\x01"):   true,
		"\x83\xa1a":              true,
		"\xde\x00\x20\xd9\x20":   true,
		"":                       false,
		"\x80":                   false, // a pickle
		"\x80\x04\x95":           false,
		"\x89PNG\r\n":            false,
		"model_checkpoint_path:": false,
	} {
		if got := flax.Begins([]byte(file)); got != want {
			t.Errorf("%q: got %v", file, got)
		}
	}
}

// Leaves lie in the file, whatever is in it, and have different paths.
func FuzzRead(f *testing.F) {
	f.Add([]byte(dict(str("a"), ext(1, ndarray("float32", "12345678", 2, 1)), str("b"), list("\xc0", ext(3, ndarray("bool", "\x01"))))))
	f.Add([]byte(dict(str("w"), chunked(str("shape"), dict(str("0"), "\x03"), str("chunks"), chunks("int8", "12", "3")))))
	f.Add([]byte(ext(4, list("\x05", ext(2, list("\x01", "\x02")), bin("x"), str("PLACEHOLDER://x")))))
	f.Fuzz(func(t *testing.T, file []byte) {
		leaves, err := flax.Read(t.Context(), memory(file))
		if err != nil {
			if !errors.Is(err, fault.ErrCorrupt) && !errors.Is(err, fault.ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		if len(leaves) == 0 {
			t.Fatal("no leaves")
		}
		seen := map[string]bool{}
		for _, l := range leaves {
			id := l.Path.ID()
			if seen[id] {
				t.Fatalf("%s is there twice", id)
			}
			seen[id] = true
			if (l.Kind == tree.KindInvalid) != (l.Err != nil) || l.Err != nil && (l.Array != nil || l.Value != nil) {
				t.Fatalf("%+v", l)
			}
			if l.Array != nil {
				checkArray(t, l.Array, int64(len(file)))
			}
		}
	})
}

func checkArray(t *testing.T, a *flax.Array, size int64) {
	n, err := array.NumElements(a.Shape)
	if err != nil {
		t.Fatal(err)
	}
	have := int64(0)
	for _, r := range a.Runs {
		if r.At < 0 || r.Length < 0 || r.At > size-r.Length || r.Length%int64(a.DType.Size()) != 0 {
			t.Fatalf("%+v of %d bytes", r, size)
		}
		have += r.Length
	}
	if n > math.MaxInt/16 || have != int64(n*a.DType.Size()) {
		t.Fatalf("%v%v has %d bytes", a.DType, a.Shape, have)
	}
}
