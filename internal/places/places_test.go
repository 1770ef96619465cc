package places

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
)

func TestPlacesDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chunks := rapid.MapOf(rapid.String(), rapid.SliceOfN(rapid.Uint32(), 0, 5)).Draw(t, "chunks")
		var names []string
		var seals [][]Seal
		for name, numbers := range chunks {
			names = append(names, name)
			of := make([]Seal, len(numbers))
			for i, n := range numbers {
				of[i] = Seal{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
			}
			seals = append(seals, of)
		}
		doc := Document(names, seals)
		arrays, err := Parse(doc)
		if err != nil || len(arrays) != len(names) {
			t.Fatalf("%d of %d arrays, %v", len(arrays), len(names), err)
		}
		p := &Places{Arrays: arrays, All: true}
		for i, name := range names {
			got, err := p.Of(name, len(seals[i]))
			if want := string(slices.Concat(toBytes(seals[i])...)); err != nil || got != want {
				t.Errorf("%q: %x, %v, want %x", name, got, err, want)
			}
			if _, err := p.Of(name, len(seals[i])+1); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("%q with a chunk more: %v", name, err)
			}
		}
		if _, err := p.Of("another of "+strings.Join(names, ""), 1); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("an array that was not saved: %v", err)
		}
		if _, err := Parse(doc[:rapid.IntRange(0, len(doc)-1).Draw(t, "length")]); err == nil {
			t.Error("cut off")
		}
	})
}

func toBytes(seals []Seal) (all [][]byte) {
	for _, s := range seals {
		all = append(all, s[:])
	}
	return all
}

func TestPlacesRefused(t *testing.T) {
	const huge = "\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
	for body, want := range map[string]string{
		"":                           "a number",
		huge:                         "a number",
		"\x02\x01a\x00":              "a number",
		"\x01" + huge:                "a number",
		"\x01\x01a" + huge:           "a number",
		"\x01\x01a\x02seal":          "a number",
		"\x00more":                   "more follows",
		"\x02\x01b\x00\x01a\x00":     "not in order",
		"\x02\x01a\x00\x01a\x00":     "not in order",
		"\x01\x01a\x01sealand more.": "more follows",
	} {
		if _, err := Parse([]byte(magic + body)); !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", body, err, want)
		}
	}
	if _, err := Parse([]byte("go-orbax places 9\n\x00")); !errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("a later version: %v", err)
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add(Document([]string{"b", "a/x", ""}, [][]Seal{{{1, 2}, {3}}, nil, {{}}})[len(magic):])
	f.Fuzz(func(t *testing.T, body []byte) {
		arrays, err := Parse(append([]byte(magic), body...))
		if err != nil {
			if !errors.Is(err, fault.ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		size := 0
		for i, a := range arrays {
			if i > 0 && arrays[i-1].Name >= a.Name || len(a.Seals)%SealSize != 0 {
				t.Errorf("%+v", arrays)
			}
			size += len(a.Name) + len(a.Seals)
		}
		if size > len(body) {
			t.Errorf("%d bytes of %d", size, len(body))
		}
	})
}
