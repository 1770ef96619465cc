package ocdbt_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-orbax/orbax/ocdbt"
)

// This example writes a database of two keys to a directory, and reads it.
func Example() {
	dir, err := os.MkdirTemp("", "ocdbt")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// Large values are stored first, in any files. Here, one file holds a value
	// and, after it, the nodes of the tree.
	data := []byte("a value that lies outside the tree")
	entries := []ocdbt.Entry{
		{Key: "w/c/0", Value: ocdbt.Value{Ref: ocdbt.Ref{File: "data", Offset: 0, Length: int64(len(data))}}},
		{Key: "w/zarr.json", Value: ocdbt.Value{Inline: []byte("{}")}},
	}
	root, err := ocdbt.WriteTree(slices.Values(entries), 0, func(node []byte) (ocdbt.Ref, error) {
		ref := ocdbt.Ref{File: "data", Offset: int64(len(data)), Length: int64(len(node))}
		data = append(data, node...)
		return ref, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data"), data, 0o666); err != nil {
		log.Fatal(err)
	}
	var uuid [16]byte // random in earnest
	manifest := ocdbt.Manifest(root, uuid, time.Now())
	if err := os.WriteFile(filepath.Join(dir, ocdbt.ManifestName), manifest, 0o666); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	db, err := ocdbt.Open(ctx, ocdbt.FS(os.DirFS(dir)))
	if err != nil {
		log.Fatal(err)
	}
	for e, err := range db.Entries(ctx, "w/") {
		if err != nil {
			log.Fatal(err)
		}
		if e.Value.IsInline() {
			fmt.Printf("%s is %q\n", e.Key, e.Value.Inline)
		} else {
			fmt.Printf("%s has %d bytes in %s\n", e.Key, e.Value.Len(), e.Value.Ref.File)
		}
	}
	// Output:
	// w/c/0 has 34 bytes in data
	// w/zarr.json is "{}"
}
