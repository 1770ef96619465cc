package convert

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// TestExtraRoundTrip checks that parsing the entry gives back its contents.
func TestExtraRoundTrip(t *testing.T) {
	kinds := []tree.Kind{tree.KindArray, tree.KindScalar, tree.KindString, tree.KindBytes, tree.KindEmpty}
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.Custom(func(t *rapid.T) tree.Key {
			if rapid.Bool().Draw(t, "seq") {
				return tree.Key{Name: rapid.StringMatching(`0|[1-9][0-9]{0,5}`).Draw(t, "position"), Seq: true}
			}
			return tree.Key{Name: rapid.String().Draw(t, "name")}
		})
		m := view.LeafMetadata{
			Path: rapid.SliceOfN(key, 0, 4).Draw(t, "path"),
			Kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
		}
		if m.Kind == tree.KindEmpty {
			m.Empty = rapid.SampledFrom(emptyKinds).Draw(t, "empty")
		}
		var e extraTree
		e.add(&m)
		text, err := e.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if text == "" {
			if m.Kind != tree.KindArray || !slices.Equal(m.Path, nestedPath(m.Path.String(), dot)) {
				t.Fatalf("%+v is not listed", m)
			}
			return
		}
		got, err := parseExtra(text)
		if err != nil {
			t.Fatal(err)
		}
		l := got.Leaves[0]
		if !slices.Equal(l.path, m.Path) {
			t.Fatalf("path %v, want %v", l.path, m.Path)
		}
		if i := l.empty(); (i >= 0) != (m.Kind == tree.KindEmpty) || i >= 0 && emptyKinds[i] != m.Empty {
			t.Fatalf("kind %q of %+v", l.Kind, m)
		}
	})
}

func FuzzParseExtra(f *testing.F) {
	f.Add(`{"version":1,"leaves":[{"keys":["a",0],"kind":"scalar"},{"keys":[],"prng":"rbg"}],"custom":{"x":1}}`)
	f.Add(`{"version":2}`)
	f.Add(`{"version":1,"leaves":[{"keys":[-1,1.5,null]}]}`)
	f.Add(`{"version":1} x`)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseExtra(text)
		if err != nil {
			if !errors.Is(err, orbax.ErrCorrupt) && !errors.Is(err, orbax.ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		again, err := e.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if again == "" {
			return
		}
		e2, err := parseExtra(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if !reflect.DeepEqual(e.Leaves, e2.Leaves) && len(e.Leaves)+len(e2.Leaves) > 0 {
			t.Fatalf("%v, then %v", e.Leaves, e2.Leaves)
		}
	})
}
