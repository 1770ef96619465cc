package training

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// customFormat is a name format made of two functions.
type customFormat struct {
	name func(int) string
	step func(string) (int, bool)
}

func (f customFormat) Name(step int) string         { return f.name(step) }
func (f customFormat) Step(name string) (int, bool) { return f.step(name) }

func TestStandardNameFormat(t *testing.T) {
	for _, c := range []struct {
		format StandardNameFormat
		name   string
		step   int // -1: none
	}{
		{StandardNameFormat{}, "7", 7},
		{StandardNameFormat{}, "0", 0},
		{StandardNameFormat{}, "", -1},
		{StandardNameFormat{}, "007", -1},
		{StandardNameFormat{}, "9223372036854775808", -1},
		{StandardNameFormat{}, "99999999999999999999999999", -1},
		{StandardNameFormat{}, "7\n", -1}, // which Python's $ lets pass
		{StandardNameFormat{}, "7\u0663", -1},
		{StandardNameFormat{Length: 6}, "000007", 7},
		{StandardNameFormat{Length: 6}, "1234567", 1234567},
		{StandardNameFormat{Length: 6}, "0000007", -1},
		{StandardNameFormat{Length: 18}, strconv.Itoa(math.MaxInt), math.MaxInt},
		{StandardNameFormat{Prefix: "ck", Length: 6}, "ck_000007", 7},
		{StandardNameFormat{Prefix: "ck"}, "7", -1},
		{StandardNameFormat{Prefix: "ck"}, "ck_-7", -1},
		{StandardNameFormat{Prefix: "a.b"}, "a.b_7", 7},
		{StandardNameFormat{Prefix: "a.b"}, "axb_7", -1}, // a prefix is no pattern
		{StandardNameFormat{Prefix: "a+"}, "a+_7", 7},
		{StandardNameFormat{Prefix: "x" + storage.TempMarker}, "x" + storage.TempMarker + "_7", -1},
	} {
		step, ok := c.format.Step(c.name)
		if ok != (c.step >= 0) || ok && step != c.step {
			t.Errorf("%+v: %q is (%d, %t), want %d", c.format, c.name, step, ok, c.step)
		}
		if ok && c.format.Name(step) != c.name {
			t.Errorf("%+v: step %d of %q is called %q", c.format, step, c.name, c.format.Name(step))
		}
	}
}

func TestNameFormatErrors(t *testing.T) {
	for _, c := range []struct {
		format NameFormat
		want   string
	}{
		{StandardNameFormat{Prefix: "a/b"}, `contains "/"`},
		{StandardNameFormat{Prefix: `a\b`}, `contains "\\"`},
		{StandardNameFormat{Prefix: "a\x00"}, "contains"},
		{StandardNameFormat{Prefix: "a" + storage.TempMarker}, storage.TempMarker},
		{StandardNameFormat{Length: -1}, "Length is -1"},
		{StandardNameFormat{Length: 19}, "Length is 19"},
		{CompositeNameFormat{}, "Write is nil"},
		{CompositeNameFormat{Write: StandardNameFormat{}, Read: []NameFormat{nil}}, "Read 0 is nil"},
		{CompositeNameFormat{Write: StandardNameFormat{}, Read: []NameFormat{StandardNameFormat{Length: -1}}}, "Length is -1"},
		{CompositeNameFormat{Write: StandardNameFormat{Length: 99}}, "Length is 99"},
	} {
		checkMentions(t, validate(c.format), c.want)
	}
	if err := validate(StandardNameFormat{Prefix: "step"}); err != nil {
		t.Error(err)
	}
}

func TestCompositeNameFormat(t *testing.T) {
	plain, padded, prefixed := StandardNameFormat{}, StandardNameFormat{Length: 4}, StandardNameFormat{Prefix: "ck"}
	steps := []string{"7", "0007", "ck_7"}
	for _, c := range []struct {
		name   string
		format CompositeNameFormat
		writes string
		ranks  [3]int // of steps; -1: no step
	}{
		{"write first where it is not read", CompositeNameFormat{padded, []NameFormat{plain, prefixed}}, "0007", [3]int{1, 0, 2}},
		{"the order of Read", CompositeNameFormat{padded, []NameFormat{plain, padded}}, "0007", [3]int{0, 1, -1}},
		{"alone", CompositeNameFormat{Write: prefixed}, "ck_7", [3]int{-1, -1, 0}},
		{"nested", CompositeNameFormat{CompositeNameFormat{padded, []NameFormat{plain}}, []NameFormat{prefixed}}, "0007", [3]int{1, 0, 2}},
		{"nested and read", CompositeNameFormat{plain, []NameFormat{CompositeNameFormat{padded, []NameFormat{plain}}, plain}}, "7", [3]int{1, 0, -1}},
	} {
		if err := validate(c.format); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := c.format.Name(7); got != c.writes {
			t.Errorf("%s: writes %q, want %q", c.name, got, c.writes)
		}
		for i, name := range steps {
			step, ok := c.format.Step(name)
			if ok != (c.ranks[i] >= 0) || ok && (step != 7 || nameRank(c.format, name) != c.ranks[i]) {
				t.Errorf("%s: %q is (%d, %t), rank %d; want %d", c.name, name, step, ok, nameRank(c.format, name), c.ranks[i])
			}
		}
	}
	if nameRank(plain, "7") != 0 {
		t.Error("a format that is not composite prefers one of its names")
	}
}

func TestNamesOfOtherFormats(t *testing.T) {
	always := func(step int) func(string) (int, bool) {
		return func(string) (int, bool) { return step, true }
	}
	for _, c := range []struct {
		name string
		step func(string) (int, bool)
		want string
	}{
		{"", always(7), `""`},
		{".", always(7), `"."`},
		{"..", always(7), `".."`},
		{"a/7", always(7), `contains "/"`},
		{"7" + storage.TempMarker, always(7), "contains"},
		{"7", always(8), "(8, true)"},
		{"7", always(-7), "false"},
		{"7", func(string) (int, bool) { return 0, false }, "false"},
	} {
		_, err := nameOf(customFormat{func(int) string { return c.name }, c.step}, 7)
		checkMentions(t, err, "step 7", c.want)
		if !errors.Is(err, fault.ErrReservedName) {
			t.Errorf("%v is no ErrReservedName", err)
		}
	}
	if _, err := nameOf(StandardNameFormat{}, -1); err == nil {
		t.Error("a negative step has a name")
	}
	if step, ok := stepOf(customFormat{step: always(3)}, "3"+storage.TempMarker); ok {
		t.Errorf("a temporary name is step %d", step)
	}
}

func FuzzStandardNameFormat(f *testing.F) {
	f.Add("", 0, 7, "7")
	f.Add("ck", 6, 7, "ck_000007")
	f.Add("a_", 18, math.MaxInt, "a__9223372036854775808")
	f.Add("", 3, 12, "+12")
	f.Add("ck", 1, 0, "ck_00")
	f.Fuzz(func(t *testing.T, prefix string, length, step int, name string) {
		format := StandardNameFormat{Prefix: prefix, Length: length}
		if s, ok := format.Step(name); ok && (s < 0 || format.Name(s) != name || strings.Contains(name, storage.TempMarker)) {
			t.Errorf("%+v: %q is step %d, which is called %q", format, name, s, format.Name(s))
		}
		if validate(format) != nil || step < 0 {
			return
		}
		made, err := nameOf(format, step)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := format.Step(made); !ok || s != step {
			t.Errorf("%+v: step %d is called %q, which is (%d, %t)", format, step, made, s, ok)
		}
	})
}
