package layout

import (
	"encoding/json"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/tree"
)

func readFile(t testing.TB, parts ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPyTupleAsCPython(t *testing.T) {
	var table [][2]any
	if err := json.Unmarshal(readFile(t, "repr.json"), &table); err != nil {
		t.Fatal(err)
	}
	for _, row := range table {
		var p tree.Path
		for _, k := range row[0].([]any) {
			p = append(p, tree.Key{Name: k.(string)})
		}
		if got := string(appendTuple(nil, p)); got != row[1] {
			t.Errorf("%q\n got %s\nwant %s", row[0], got, row[1])
		}
	}
}

// goldenPaths are the paths of the leaves of each golden checkpoint.
func goldenPaths(t testing.TB) map[string][]tree.Path {
	t.Helper()
	var table map[string][][][2]any
	if err := json.Unmarshal(readFile(t, "documents.json"), &table); err != nil {
		t.Fatal(err)
	}
	all := map[string][]tree.Path{}
	for name, leaves := range table {
		for _, steps := range leaves {
			p := tree.Path{}
			for _, s := range steps {
				k := tree.Key{Seq: s[1].(bool)}
				k.Name, _ = s[0].(string)
				p = append(p, k)
			}
			all[name] = append(all[name], p)
		}
	}
	return all
}

func sortLeaves(leaves []TreeLeaf) []TreeLeaf {
	slices.SortFunc(leaves, func(a, b TreeLeaf) int { return a.Path.Compare(b.Path) })
	return leaves
}

func TestGoldenTrees(t *testing.T) {
	for name, want := range goldenPaths(t) {
		t.Run(name, func(t *testing.T) {
			doc := readFile(t, "documents", name, "METADATA")
			m, err := ParseTree(doc)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, ok := scanTree(doc); !ok {
				t.Error("it is read by encoding/json")
			}
			if wantZarr3 := name != "kinds_zarr2"; m.Zarr3 != wantZarr3 {
				t.Errorf("Zarr3 is %v", m.Zarr3)
			}
			if wantOCDBT := name != "kinds_files"; m.OCDBT == nil || *m.OCDBT != wantOCDBT {
				t.Errorf("OCDBT is %v", m.OCDBT)
			}
			sortLeaves(m.Leaves)
			slices.SortFunc(want, tree.Path.Compare)
			var got []tree.Path
			for _, l := range m.Leaves {
				got = append(got, l.Path)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("paths\n got %v\nwant %v", got, want)
			}
			again, err := ParseTree(m.Document())
			if err != nil {
				t.Fatalf("its own document: %v", err)
			}
			sortLeaves(again.Leaves)
			if !reflect.DeepEqual(again, m) {
				t.Errorf("reading what is written\n got %+v\nwant %+v", again, m)
			}
			sameJSON(t, name, m.Document(), doc)
		})
	}
}

// sameJSON compares documents as JSON: the order of members is free.
func sameJSON(t testing.TB, name string, got, want []byte) {
	t.Helper()
	g, gerr := DecodeJSON(got)
	w, werr := DecodeJSON(want)
	if gerr != nil || werr != nil {
		t.Fatal(gerr, werr)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s\n got %s\nwant %s", name, got, want)
	}
}

func TestGoldenKinds(t *testing.T) {
	m, err := ParseTree(readFile(t, "documents", "kinds_zarr3", "METADATA"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]TreeLeaf{}
	for _, l := range m.Leaves {
		name := l.Path.String()
		l.Path = nil
		got[name] = l
	}
	want := map[string]TreeLeaf{
		"dict.a":     {ValueType: NumPyArray},
		"dict.it's":  {ValueType: Scalar},
		"dict.a.b\n": {ValueType: Scalar},
		"list.0":     {ValueType: NumPyArray},
		"list.1":     {ValueType: Scalar},
		"list.2":     {ValueType: String},
		"tuple.0":    {ValueType: Scalar},
		"tuple.1":    {ValueType: NoneNode, Empty: true},
		"empty.d":    {ValueType: DictNode, Empty: true},
		"empty.l":    {ValueType: ListNode, Empty: true},
		"empty.t":    {ValueType: TupleNode, Empty: true},
		"empty.n":    {ValueType: NoneNode, Empty: true},
		"jax":        {ValueType: JaxArray, WriteShape: []int{4, 2}},
		"key":        {ValueType: JaxArray, WriteShape: []int{2}},
		"slash/name": {ValueType: String},
	}
	for name, w := range want {
		t.Run(name, func(t *testing.T) {
			if !reflect.DeepEqual(got[name], w) {
				t.Errorf("got %+v, want %+v", got[name], w)
			}
		})
	}
	if len(got) != len(want) {
		t.Errorf("%d leaves, want %d", len(got), len(want))
	}
}

func TestGoldenStrings(t *testing.T) {
	for file, want := range map[string]map[string]string{
		"strings_zarr3": {"a": "x", "b.0": "", "b.1": "y\n\"", "b.2": "é日😀", "deep.c.d": "z"},
		"kinds_zarr3":   {"list.2": "text", "slash/name": "nested"},
	} {
		t.Run(file, func(t *testing.T) {
			doc := readFile(t, "documents", file, "strings")
			s, err := ParseStrings(doc)
			if err != nil {
				t.Fatal(err)
			}
			for name, w := range want {
				if got, ok := s.Get(name); !ok || got != w {
					t.Errorf("%s is %q %v, want %q", name, got, ok, w)
				}
			}
			ours, err := StringsDocument(want)
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, file, ours, doc)
		})
	}
}

func TestGoldenArrays(t *testing.T) {
	doc := readFile(t, "documents", "kinds_zarr3", "process_0")
	if _, ok := scanArrays(doc); !ok {
		t.Error("it is read by encoding/json")
	}
	got, err := ParseArrays(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]ArrayMetadata{
		"jax": {Name: "jax", WriteShape: []int{4, 2}, ChunkShape: []int{4, 2}},
		"key": {Name: "key", WriteShape: []int{2}, ChunkShape: []int{2}, PRNGImpl: "threefry2x32"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v\nwant %+v", got, want)
	}
	ours := ArraysDocument([]ArrayMetadata{want["jax"], want["key"]})
	again, err := ParseArrays(ours)
	if err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("reading %s: %+v, %v", ours, again, err)
	}
}

func TestGoldenCheckpointMetadata(t *testing.T) {
	m, err := ParseCheckpoint(readFile(t, "documents", "kinds_zarr3", "CHECKPOINT_METADATA"))
	if err != nil {
		t.Fatal(err)
	}
	custom := m.Custom.(map[string]any)
	if nan, _ := custom["nan"].(float64); !math.IsNaN(nan) {
		t.Errorf("nan is %v", custom["nan"])
	}
	delete(custom, "nan")
	want := map[string]any{
		"epoch": 3, "inf": math.Inf(-1), "big": new(big.Int).Lsh(big.NewInt(1), 70), "é": "NaN", "list": []any{1, 2.5, nil, true},
	}
	if !reflect.DeepEqual(custom, want) {
		t.Errorf("custom metadata %#v\nwant %#v", custom, want)
	}
	if m.InitTime.IsZero() || !m.CommitTime.After(m.InitTime) {
		t.Errorf("times %v, %v", m.InitTime, m.CommitTime)
	}
	wantHandlers := map[string]string{"state": "orbax.checkpoint.experimental.v1._src.handlers.pytree_handler.PyTreeHandler"}
	if !reflect.DeepEqual(m.Handlers, wantHandlers) {
		t.Errorf("handlers %v", m.Handlers)
	}
}
