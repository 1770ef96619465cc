package database

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"iter"
	"path"
	"time"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/ocdbt"
)

// WriteIndex writes the tree of a database over entries, which are sorted, and the
// manifest of the database. The nodes have their own checksums; the digest of their file
// covers its length.
func WriteIndex(ctx context.Context, dir *ckdir.WriteDir, entries iter.Seq[ocdbt.Entry]) error {
	file := layout.DataDir + "/" + RandomName()
	w, err := dir.Create(ctx, file)
	if err != nil {
		return err
	}
	var size int64
	root, err := ocdbt.WriteTree(entries, 0, func(node []byte) (ocdbt.Ref, error) {
		ref := ocdbt.Ref{File: file, Offset: size, Length: int64(len(node))}
		size += ref.Length
		_, err := w.Write(node)
		return ref, err
	})
	if err != nil {
		return errors.Join(err, w.Close())
	}
	// Both become durable at the same time. Neither counts before the whole checkpoint
	// does.
	group, gctx := parallel.WithContext(ctx)
	group.Go(w.Close)
	group.Go(func() error {
		manifest := ocdbt.Manifest(root, randomID(), time.Now())
		if dir.Keeps() { // a copy of it needs its digest
			return dir.WriteFile(gctx, ocdbt.ManifestName, manifest)
		}
		return dir.Engine().WriteFile(gctx, dir.Stage(), path.Join(dir.Name(), ocdbt.ManifestName), manifest)
	})
	return group.Wait()
}

func randomID() (id [16]byte) {
	rand.Read(id[:])
	return id
}

// RandomName returns a random name for a data file, as Orbax chooses them.
func RandomName() string {
	id := randomID()
	return hex.EncodeToString(id[:])
}
