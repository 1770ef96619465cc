package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// seed adds the golden documents called name to the corpus.
func seed(f *testing.F, name string) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "documents", "*", name))
	if err != nil || len(files) == 0 {
		f.Fatal(name, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("{}"))
	f.Add([]byte("[[[[{\"a\":NaN}]]]]"))
}

func FuzzParseTree(f *testing.F) {
	seed(f, "METADATA")
	f.Fuzz(func(t *testing.T, doc []byte) {
		if m, rich, ok := scanTree(doc); ok {
			want, wantRich, err := decodeTree(doc)
			if err != nil || !reflect.DeepEqual(byDocument(m), byDocument(want)) || rich != wantRich {
				t.Fatalf("%s\nis %+v, %q\nencoding/json has %+v, %q, %v", doc, m, rich, want, wantRich, err)
			}
		}
		m, err := ParseTree(doc)
		if err != nil {
			return
		}
		ocdbt := m.OCDBT != nil && *m.OCDBT
		m.OCDBT = &ocdbt
		again, err := ParseTree(m.Document())
		if err != nil {
			t.Fatalf("%s\nbecame %s\n%v", doc, m.Document(), err)
		}
		if repeatedNames(m.Leaves) { // two entries of one path become one
			return
		}
		if !reflect.DeepEqual(sortLeaves(again.Leaves), sortLeaves(m.Leaves)) || again.Zarr3 != m.Zarr3 || *again.OCDBT != ocdbt {
			t.Fatalf("%s\nbecame %+v\nand then %+v", doc, m, again)
		}
	})
}

// byDocument sorts the leaves by all that is written of them.
func byDocument(m *TreeMetadata) *TreeMetadata {
	text := func(l TreeLeaf) string { return fmt.Sprintf("%#v", l) }
	slices.SortFunc(m.Leaves, func(a, b TreeLeaf) int { return strings.Compare(text(a), text(b)) })
	return m
}

// repeatedNames reports whether two leaves have the same name in the document.
func repeatedNames(leaves []TreeLeaf) (repeated bool) {
	seen := map[string]bool{}
	for _, l := range leaves {
		name := string(appendTuple(nil, l.Path))
		repeated = repeated || seen[name]
		seen[name] = true
	}
	return repeated
}

func FuzzParseCheckpoint(f *testing.F) {
	seed(f, "CHECKPOINT_METADATA")
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := ParseCheckpoint(doc)
		if err != nil {
			return
		}
		custom, err := CheckCustom(m.Custom)
		if err != nil {
			return // a number of too many digits can be read and not written
		}
		m.Custom = custom
		written, err := m.Document()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseCheckpoint(written)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := CheckCustom(again.Custom)
		if err != nil {
			t.Fatal(err)
		}
		again.Custom, m.Custom = nil, nil
		if !reflect.DeepEqual(again, m) || string(raw) != string(custom) {
			t.Fatalf("%s\nbecame %s\n%+v\n%+v", doc, written, m, again)
		}
	})
}

func FuzzParseStrings(f *testing.F) {
	seed(f, "strings")
	f.Add([]byte(`{"a": {"b": "x"}, "c~1d": "y"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := ParseStrings(doc)
		if err != nil {
			return
		}
		for name := range s.root {
			s.Get(name)
			if v, ok := s.Get(name + "/" + name); ok && !utf8.ValidString(v) {
				t.Fatalf("%q is not UTF-8", v)
			}
		}
	})
}

func FuzzParseArrays(f *testing.F) {
	seed(f, "process_0")
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := ParseArrays(doc)
		if scanned, ok := scanArrays(doc); ok {
			if want, err := decodeArrays(doc); err != nil || !reflect.DeepEqual(scanned, want) {
				t.Fatalf("%s\nis %+v\nencoding/json has %+v, %v", doc, scanned, want, err)
			}
		}
		if err != nil {
			return
		}
		var list []ArrayMetadata
		for _, a := range m {
			a.WriteShape, a.ChunkShape = append([]int{}, a.WriteShape...), append([]int{}, a.ChunkShape...)
			m[a.Name] = a
			list = append(list, a)
		}
		written := ArraysDocument(list)
		again, err := ParseArrays(written)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%s\nbecame %s\n%+v, %v", doc, written, again, err)
		}
	})
}

func FuzzParseDigests(f *testing.F) {
	f.Add(digestsOf(digestDocs).Document())
	f.Add((&Digests{}).Document())
	f.Fuzz(func(t *testing.T, doc []byte) {
		d, err := ParseDigests(doc)
		if err != nil {
			return
		}
		again, err := ParseDigests(d.Document())
		if err != nil || !slices.Equal(again.Names(), d.Names()) {
			t.Fatalf("%q\nbecame %q, %v", doc, d.Document(), err)
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	seed(f, "CHECKPOINT_METADATA")
	f.Add([]byte(`[NaN, -Infinity, "NaN", 1e400, 99999999999999999999, 0e00000000]`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		v, err := DecodeJSON(doc)
		if err != nil {
			return
		}
		written, err := EncodeJSON(v)
		if err != nil {
			return // not finite
		}
		again, err := DecodeJSON(written)
		if err != nil {
			t.Fatalf("%q\nbecame %q, %v", doc, written, err)
		}
		// 1.0 is written as 1, so values are compared as they are written.
		if b, err := EncodeJSON(again); err != nil || string(b) != string(written) {
			t.Fatalf("%q\nbecame %q\nand then %q, %v", doc, written, b, err)
		}
	})
}
