package orbax_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

// The documents of arrays that are values in a data file, as old releases of Orbax wrote
// them, are read together.
func TestRequestsOfDocumentsInFiles(t *testing.T) {
	ctx, r := t.Context(), newRequests(t)
	in := orbax.In(r.store)
	state := map[string]any{}
	const leaves = 300
	for i := range leaves {
		state[fmt.Sprint("w", i)] = []float32{float32(i)}
	}
	must(t, orbax.Save(ctx, "ck", state, in))

	put := func(name string, data []byte) {
		t.Helper()
		_, err := r.bucket.Put(ctx, "ck/state/"+name, [][]byte{data}, object.PutOptions{})
		must(t, err)
	}
	dir := ckdir.NewReadDir(ckdir.Place{Root: storage.At(r.store, "ck"), Name: "state"})
	db, err := ocdbt.Open(ctx, database.Source{Dir: dir, Name: "."})
	must(t, err)
	var entries []ocdbt.Entry
	var docs, nodes []byte
	for e, err := range db.Entries(ctx, "") {
		must(t, err)
		if strings.HasSuffix(e.Key, "/zarr.json") {
			at := int64(len(docs))
			docs = append(docs, e.Value.Inline...)
			docs = append(docs, make([]byte, 3000)...) // the chunk after it
			e.Value = ocdbt.Value{Ref: ocdbt.Ref{File: "d/docs", Offset: at, Length: int64(len(e.Value.Inline))}}
		}
		entries = append(entries, e)
	}
	root, err := ocdbt.WriteTree(slices.Values(entries), 0, func(node []byte) (ocdbt.Ref, error) {
		ref := ocdbt.Ref{File: "d/nodes", Offset: int64(len(nodes)), Length: int64(len(node))}
		nodes = append(nodes, node...)
		return ref, nil
	})
	must(t, err)
	put("d/docs", docs)
	put("d/nodes", nodes)
	put("manifest.ocdbt", ocdbt.Manifest(root, [16]byte{1}, time.Now()))
	must(t, r.bucket.Delete(ctx, []object.Ref{{Key: "ck/digests.sha256"}}))

	r.bucket.Take()
	got, err := orbax.LoadAs[map[string][]float32](ctx, "ck", in)
	r.most("load", err, 8, 7)
	if len(got) != leaves || len(got["w7"]) != 1 || got["w7"][0] != 7 {
		t.Errorf("w7 of %d leaves is %v", len(got), got["w7"])
	}
}
