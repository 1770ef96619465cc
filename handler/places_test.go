package handler

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

func TestPlacesDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chunks := rapid.MapOf(rapid.String(), rapid.SliceOfN(rapid.Uint32(), 0, 5)).Draw(t, "chunks")
		var names []string
		var seals [][]seal
		for name, numbers := range chunks {
			names = append(names, name)
			of := make([]seal, len(numbers))
			for i, n := range numbers {
				of[i] = seal{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
			}
			seals = append(seals, of)
		}
		doc := placesDocument(names, seals)
		arrays, err := parsePlaces(doc)
		if err != nil || len(arrays) != len(names) {
			t.Fatalf("%d of %d arrays, %v", len(arrays), len(names), err)
		}
		p := &places{arrays: arrays, all: true}
		for i, name := range names {
			got, err := p.of(name, len(seals[i]))
			if want := string(slices.Concat(toBytes(seals[i])...)); err != nil || got != want {
				t.Errorf("%q: %x, %v, want %x", name, got, err, want)
			}
			if _, err := p.of(name, len(seals[i])+1); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("%q with a chunk more: %v", name, err)
			}
		}
		if _, err := p.of("another of "+strings.Join(names, ""), 1); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("an array that was not saved: %v", err)
		}
		if _, err := parsePlaces(doc[:rapid.IntRange(0, len(doc)-1).Draw(t, "length")]); err == nil {
			t.Error("cut off")
		}
	})
}

func toBytes(seals []seal) (all [][]byte) {
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
		if _, err := parsePlaces([]byte(placesMagic + body)); !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", body, err, want)
		}
	}
	if _, err := parsePlaces([]byte("go-orbax places 9\n\x00")); !errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("a later version: %v", err)
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add(placesDocument([]string{"b", "a/x", ""}, [][]seal{{{1, 2}, {3}}, nil, {{}}})[len(placesMagic):])
	f.Fuzz(func(t *testing.T, body []byte) {
		arrays, err := parsePlaces(append([]byte(placesMagic), body...))
		if err != nil {
			if !errors.Is(err, fault.ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		size := 0
		for i, a := range arrays {
			if i > 0 && arrays[i-1].name >= a.name || len(a.seals)%sealSize != 0 {
				t.Errorf("%+v", arrays)
			}
			size += len(a.name) + len(a.seals)
		}
		if size > len(body) {
			t.Errorf("%d bytes of %d", size, len(body))
		}
	})
}

// anyDigests have the files of a directory, and find nothing wrong with them.
type anyDigests []string

func (d anyDigests) Has(file string) bool       { return slices.Contains(d, file) }
func (d anyDigests) Check(string, []byte) error { return nil }
func (d anyDigests) Beginning(prefix string) []string {
	return slices.DeleteFunc(slices.Sorted(slices.Values(d)), func(file string) bool { return !strings.HasPrefix(file, prefix) })
}

// Of a record that fits its digest and not the arrays, the errors name these.
func TestPlacesOfOtherArrays(t *testing.T) {
	t.Parallel()
	for form, s := range map[string]StorageOptions{"database": {}, "files": {PlainFiles: true}} {
		r := newRun(t)
		r.options.Storage = s
		r.save(map[string]any{"a": noise(1, 600), "b": noise(2, 600), "step": 1})
		file := filepath.Join(r.step(0), layout.PlacesFile)
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		saved, err := parsePlaces(doc)
		if err != nil {
			t.Fatal(err)
		}
		for what, tc := range map[string]struct {
			change func(seals map[string][]seal)
			want   string // in the error of a; "" for none
		}{
			"the same":           {func(map[string][]seal) {}, ""},
			"an array less":      {func(s map[string][]seal) { delete(s, "a") }, "not in go-orbax.places"},
			"a chunk less":       {func(s map[string][]seal) { s["a"] = nil }, "saved in 0 chunks"},
			"a chunk more":       {func(s map[string][]seal) { s["a"] = append(s["a"], seal{}) }, "saved in 2 chunks"},
			"another chunk":      {func(s map[string][]seal) { s["a"] = s["b"] }, "chunk c/0: corrupt data: these are the data of another chunk"},
			"of an array as old": {func(s map[string][]seal) { s["old"] = []seal{{}} }, ""},
		} {
			seals := map[string][]seal{}
			for _, a := range saved {
				for n := 0; n < len(a.seals); n += sealSize {
					seals[a.name] = append(seals[a.name], seal([]byte(a.seals[n:][:sealSize])))
				}
			}
			tc.change(seals)
			names := slices.Sorted(maps.Keys(seals))
			var all [][]seal
			for _, name := range names {
				all = append(all, seals[name])
			}
			if err := os.WriteFile(file, placesDocument(names, all), 0o666); err != nil {
				t.Fatal(err)
			}
			dir := NewReadDir(storage.Local(), filepath.ToSlash(filepath.Dir(r.step(0))), "item", anyDigests{"item/" + layout.TreeFile, "item/" + layout.PlacesFile}, nil)
			text := fmt.Sprint(errors.Join(VerifyTree(t.Context(), dir, OpenOptions{})...))
			if tc.want == "" && text != "<nil>" || !strings.Contains(text, tc.want) || strings.Contains(text, "leaf b") || tc.want != "" && !strings.Contains(text, "leaf a") {
				t.Errorf("%s, %s: %v", form, what, text)
			}
		}
	}
}

// What a save shares with an earlier one keeps its seals: bytes of another chunk are
// found in each step that has them.
func TestReuseKeepsPlaces(t *testing.T) {
	t.Parallel()
	for name, options := range reuseForms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t)
			r.options = options
			state := map[string]any{"a": noise(1, 6000), "b": noise(2, 6000), "step": 1}
			r.save(state)
			state["step"] = 2
			if n := r.save(state); n != 1 {
				t.Fatalf("shares %d files", n)
			}
			if errs := VerifyTree(t.Context(), r.reuse.Base, OpenOptions{}); errs != nil {
				t.Fatal(errs)
			}
			tree, err := openTree(t.Context(), r.reuse.Base, OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var chunks []chunk // out of line
			for _, a := range tree.opener.opened {
				for _, c := range a.chunks {
					if c.inline == nil {
						chunks = append(chunks, c)
					}
				}
			}
			a, b := chunks[0].extent, chunks[len(chunks)-1].extent
			if a.Length != b.Length { // compressed to different lengths
				return
			}
			file := filepath.Join(r.step(0), a.File) // the same file as in the step after it
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			was := bytes.Clone(data)
			copy(data[a.Offset:][:a.Length], was[b.Offset:])
			copy(data[b.Offset:][:b.Length], was[a.Offset:])
			if err := os.WriteFile(file, data, 0o666); err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprint(errors.Join(VerifyTree(t.Context(), r.reuse.Base, OpenOptions{})...))
			for _, leaf := range []string{"leaf a: chunk", "leaf b: chunk"} {
				if !strings.Contains(text, leaf) {
					t.Errorf("no %q in %s", leaf, text)
				}
			}
			state["step"] = 3 // it shares the damaged file, and says what belongs there
			if err := r.try(t.Context(), state); err != nil || r.linked() != 1 {
				t.Fatal(err, r.linked())
			}
			if text := fmt.Sprint(errors.Join(VerifyTree(t.Context(), r.reuse.Base, OpenOptions{})...)); !strings.Contains(text, "leaf a: chunk") {
				t.Error(text)
			}
		})
	}
}

// A base whose record has no seals, as earlier versions wrote it, has nothing to share:
// the save writes all of it, and the next one shares again.
func TestReuseWithoutSeals(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	state := map[string]any{"a": array.Of([]int64{1, 2, 3}), "w": noise(1, 3000)}
	r.save(state)
	file := filepath.Join(r.step(0), layout.ChunksFile)
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := parseRecord(doc)
	if err != nil {
		t.Fatal(err)
	}
	// The only chunk of the only file ends with its seal.
	body, ok := bytes.CutSuffix(doc[len(recordMagic):len(doc)-32], rec.files[0].chunks[0].seal[:])
	if !ok || len(rec.files) != 1 || len(rec.files[0].chunks) != 1 {
		t.Fatalf("%+v", rec)
	}
	doc = withSum(unsealedMagic, string(body))
	old, err := parseRecord(doc)
	if err != nil || !old.unsealed || old.files[0].chunks[0].length != rec.files[0].chunks[0].length {
		t.Fatalf("%+v, %v", old, err)
	}
	if err := os.WriteFile(file, doc, 0o666); err != nil {
		t.Fatal(err)
	}
	r.reuse.Base.digests = anyDigests{"item/" + layout.ChunksFile}
	if n := r.save(state); n != 0 || r.problems != nil {
		t.Errorf("shares %d files, problems %v", n, r.problems)
	}
	if n := r.save(state); n != 1 {
		t.Errorf("the next save shares %d files", n)
	}
}
