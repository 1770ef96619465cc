package orbax_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

// An array of more parts than are planned together is loaded, hashed and verified to the
// last, however they lie.
func TestManyParts(t *testing.T) {
	const n = 1<<17 + 1<<16 + 3
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	var sums []string
	for _, backwards := range []bool{false, true} {
		stored := bytes.Clone(data)
		index := make([]byte, 0, 16*n)
		for i := range n {
			at := i
			if backwards {
				at = n - 1 - i
			}
			stored[at] = data[i]
			index = binary.LittleEndian.AppendUint64(index, uint64(at))
			index = binary.LittleEndian.AppendUint64(index, 1)
		}
		dir := t.TempDir()
		doc := `{"zarr_format":3,"node_type":"array","shape":[196611],"data_type":"uint8",
			"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[196611]}},
			"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},"fill_value":0,
			"codecs":[{"name":"sharding_indexed","configuration":{"chunk_shape":[1],"codecs":[{"name":"bytes"}],
			"index_codecs":[{"name":"bytes","configuration":{"endian":"little"}}]}}]}`
		write := func(name string, b []byte) {
			t.Helper()
			name = filepath.Join(dir, "a", name)
			if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		write("zarr.json", []byte(doc))
		write("c/0", append(stored, index...))
		v, err := orbax.Load(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.(map[string]any)["a"].(*array.Array).Bytes(); !bytes.Equal(got, data) {
			t.Error("other elements")
		}
		// All but the first and the last: by the inner chunks.
		into := array.Of(make([]uint8, n-2))
		ck, err := orbax.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer ck.Close()
		tree, err := ck.Tree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, leaf := range tree.Leaves() {
			err := leaf.ReadRegion(t.Context(), into.Bytes(), []int{1}, []int{n - 2})
			if err != nil || !bytes.Equal(into.Bytes(), data[1:n-1]) {
				t.Errorf("a region: %v", err)
			}
		}
		sum, err := orbax.Hash(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum.String())
		if err := orbax.Verify(t.Context(), dir); err != nil {
			t.Error(err)
		}
		// One part that lies nowhere, among the last.
		binary.LittleEndian.PutUint64(index[16*(n-5):], 1<<40)
		write("c/0", append(stored[:n:n], index...))
		if err := orbax.Verify(t.Context(), dir); err == nil {
			t.Error("damage among the last parts is not found")
		}
	}
	if sums[0] != sums[1] {
		t.Error("two hashes")
	}
}
