package fault

import (
	"errors"
	"math"
	"testing"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"leaf params.w: shape [2, 3]": "leaf params.w: shape [2, 3]",
		"größe 大きさ 😀":                 "größe 大きさ 😀",
		"a\x1b[31mred":                `a\x1b[31mred`,
		"a\x07\r\x7f":                 `a\x07\x0d\x7f`,
		"c1 \u009b31m":                `c1 \u009b31m`,
		"bidi \u202egnp.exe":          `bidi \u202egnp.exe`,
		"hidden \u200b\u2066":         `hidden \u200b\u2066`,
		"tag \U000e0041":              `tag \U000e0041`,
		"two\nlines\tand a tab":       "two\n\tlines\tand a tab",
		"separator \u2028":            `separator \u2028`,
		"bytes \xff\x9b":              `bytes \xff\x9b`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLeafShowsItsName(t *testing.T) {
	for path, want := range map[string]string{
		"params.w": "leaf params.w: bad",
		"":         "leaf at the root: bad",
		"a\nOK  b": `leaf "a\nOK  b": bad`,
		"\x1b[2J":  `leaf "\x1b[2J": bad`,
	} {
		if got := (&Leaf{Path: path, Err: errors.New("bad")}).Error(); got != want {
			t.Errorf("leaf %q says %q, want %q", path, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 5 << 30: "5.0 GiB",
		math.MaxInt64: "8.0 EiB",
	} {
		if got := Size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
