package union

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/treesave"
	"github.com/go-orbax/orbax/storage"
)

// FuzzUnion makes a union of two inputs, one of which has documents of arbitrary bytes.
func FuzzUnion(f *testing.F) {
	dir, item := writtenItem(f, planned(f, map[string]any{"w": []float32{1, 2, 3}, "s": "text"}, treesave.Storage{PlainFiles: true}, &ckdir.Settings{}))
	doc := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(item, name))
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	names := []string{"_METADATA", "_strings.json", "_sharding", "w/zarr.json", "w/c/0"}
	docs := make([][]byte, len(names))
	for i, name := range names {
		docs[i] = doc(name)
	}
	f.Add(docs[0], docs[1], docs[2], docs[3], docs[4])
	f.Add(bytes.ReplaceAll(docs[0], []byte("'w'"), []byte("'w', 'x'")), docs[1], docs[2], docs[3], docs[4])
	f.Add(docs[0], []byte(`{"s": {"t": "u"}}`), []byte("{}"), docs[3], []byte{})
	f.Fuzz(func(t *testing.T, tree, texts, shardings, array, chunk []byte) {
		files := fstest.MapFS{}
		for i, b := range [][]byte{tree, texts, shardings, array, chunk} {
			files["item/"+names[i]] = &fstest.MapFile{Data: b}
		}
		input := readDir(storage.FS(files), ".", nil)
		for _, inputs := range [][]Input{{{input, ""}}, {{dir, "a"}, {input, "b"}}} {
			u, err := Open(t.Context(), inputs...)
			if err == nil && (len(u.leaves) == 0 || u.Keys() > 0) {
				t.Errorf("a union of %d leaves and %d keys", len(u.leaves), u.Keys())
			}
		}
	})
}
