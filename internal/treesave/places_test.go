package treesave

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/internal/reuse"
)

// anyDigests has a digest for each file of a list, and accepts any contents.
type anyDigests []string

func (d anyDigests) Has(file string) bool { return slices.Contains(d, file) }

func (d anyDigests) CheckSum(string, [sha256.Size]byte) error { return nil }

func (d anyDigests) Beginning(prefix string) []string {
	return slices.DeleteFunc(slices.Sorted(slices.Values(d)), func(file string) bool { return !strings.HasPrefix(file, prefix) })
}

// If a record fits its digest but not the arrays, the errors name the arrays.
func TestPlacesOfOtherArrays(t *testing.T) {
	t.Parallel()
	for form, s := range map[string]Storage{"database": {}, "files": {PlainFiles: true}} {
		r := newRun(t)
		r.options.storage = s
		r.save(map[string]any{"a": noise(1, 600), "b": noise(2, 600), "step": 1})
		file := filepath.Join(r.step(0), layout.PlacesFile)
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		saved, err := places.Parse(doc)
		if err != nil {
			t.Fatal(err)
		}
		for what, tc := range map[string]struct {
			change func(seals map[string][]places.Seal)
			want   string // in the error of a; "" for none
		}{
			"the same":           {func(map[string][]places.Seal) {}, ""},
			"an array less":      {func(s map[string][]places.Seal) { delete(s, "a") }, "not in go-orbax.places"},
			"a chunk less":       {func(s map[string][]places.Seal) { s["a"] = nil }, "saved in 0 chunks"},
			"a chunk more":       {func(s map[string][]places.Seal) { s["a"] = append(s["a"], places.Seal{}) }, "saved in 2 chunks"},
			"another chunk":      {func(s map[string][]places.Seal) { s["a"] = s["b"] }, "chunk c/0: corrupt data: this is the data of another chunk"},
			"of an array as old": {func(s map[string][]places.Seal) { s["old"] = []places.Seal{{}} }, ""},
		} {
			seals := map[string][]places.Seal{}
			for _, a := range saved {
				for n := 0; n < len(a.Seals); n += places.SealSize {
					seals[a.Name] = append(seals[a.Name], places.Seal([]byte(a.Seals[n:][:places.SealSize])))
				}
			}
			tc.change(seals)
			names := slices.Sorted(maps.Keys(seals))
			var all [][]places.Seal
			for _, name := range names {
				all = append(all, seals[name])
			}
			if err := os.WriteFile(file, places.Document(names, all), 0o666); err != nil {
				t.Fatal(err)
			}
			r.digested(anyDigests{"item/" + layout.TreeFile, "item/" + layout.PlacesFile})
			text := fmt.Sprint(errors.Join(pytree.Verify(t.Context(), r.reuse.Base, pytree.Options{})...))
			if tc.want == "" && text != "<nil>" || !strings.Contains(text, tc.want) || strings.Contains(text, "leaf b") || tc.want != "" && !strings.Contains(text, "leaf a") {
				t.Errorf("%s, %s: %v", form, what, text)
			}
		}
	}
}

// Chunks that a save shares with an earlier save keep their seals: each step that has the
// bytes of another chunk reports them.
func TestReuseKeepsPlaces(t *testing.T) {
	t.Parallel()
	for name, options := range shareOptions {
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
			if errs := pytree.Verify(t.Context(), r.reuse.Base, pytree.Options{}); errs != nil {
				t.Fatal(errs)
			}
			rec, err := reuse.Read(t.Context(), r.reuse.Base)
			if err != nil || len(rec.Files) != 1 {
				t.Fatalf("%+v, %v", rec, err)
			}
			chunks := rec.Files[0].Chunks // in the order of their offsets
			a, b := chunks[0], chunks[len(chunks)-1]
			if a.Length != b.Length { // they compress to different lengths
				return
			}
			file := filepath.Join(r.step(0), rec.Files[0].Name) // the next step has the same file
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
			text := fmt.Sprint(errors.Join(pytree.Verify(t.Context(), r.reuse.Base, pytree.Options{})...))
			for _, leaf := range []string{"leaf a: chunk", "leaf b: chunk"} {
				if !strings.Contains(text, leaf) {
					t.Errorf("no %q in %s", leaf, text)
				}
			}
			state["step"] = 3 // the step shares the damaged file, and its record has the right seals
			if err := r.try(t.Context(), state); err != nil || r.linked() != 1 {
				t.Fatal(err, r.linked())
			}
			if text := fmt.Sprint(errors.Join(pytree.Verify(t.Context(), r.reuse.Base, pytree.Options{})...)); !strings.Contains(text, "leaf a: chunk") {
				t.Error(text)
			}
		})
	}
}

// A base whose record has no seals, as earlier versions wrote it, shares nothing. The
// save writes everything, and the next save shares again.
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
	rec, err := reuse.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	// The only chunk of the only file ends with its seal.
	body, ok := bytes.CutSuffix(doc[len(layout.ChunksHeader)+2:len(doc)-32], rec.Files[0].Chunks[0].Seal[:])
	if !ok || len(rec.Files) != 1 || len(rec.Files[0].Chunks) != 1 {
		t.Fatalf("%+v", rec)
	}
	doc = append([]byte(layout.ChunksHeader+"1\n"), body...)
	sum := sha256.Sum256(doc)
	doc = append(doc, sum[:]...)
	old, err := reuse.Parse(doc)
	if err != nil || !old.Unsealed || old.Files[0].Chunks[0].Length != rec.Files[0].Chunks[0].Length {
		t.Fatalf("%+v, %v", old, err)
	}
	if err := os.WriteFile(file, doc, 0o666); err != nil {
		t.Fatal(err)
	}
	r.digested(anyDigests{"item/" + layout.ChunksFile})
	if n := r.save(state); n != 0 || r.problems != nil {
		t.Errorf("shares %d files, problems %v", n, r.problems)
	}
	if n := r.save(state); n != 1 {
		t.Errorf("the next save shares %d files", n)
	}
}
