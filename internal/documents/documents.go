// Package documents writes the documents at the root of a checkpoint, which end every
// save. It also compares the files of an existing checkpoint with its digests.
package documents

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// Write writes the documents at the root of a checkpoint that will be at path. They are
// its metadata, the digest file, which covers the other documents and the files in
// digests, and last the commit mark. Write also writes the indicator, unless digests has
// it, because then it exists already.
func Write(ctx context.Context, e *transfer.Engine, stage storage.Files, meta *layout.CheckpointMetadata, digests *layout.Digests, digestFile, path string) error {
	doc, err := meta.Document()
	if err != nil {
		return err
	}
	mark := Mark(stage.Properties(), path)
	begun := digests.Has(layout.IndicatorFile)
	files := map[string][]byte{layout.IndicatorFile: nil, layout.CheckpointFile: doc, layout.CommitFile: mark}
	for name, data := range files {
		digests.Add(name, sha256.Sum256(data))
	}
	digests.AddCheckpoint(doc)
	if digestFile == layout.DigestFile && stage.Properties().NeedsMarker() {
		digests.Keep(layout.CheckpointFile, doc)
	}
	files[digestFile] = digests.Document()
	delete(files, layout.CommitFile)
	group, gctx := parallel.WithContext(ctx)
	if begun {
		delete(files, layout.IndicatorFile)
		group.SetLimit(1) // readers see each document appear, so the order is always the same
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		group.Go(func() error { return e.WriteFile(gctx, stage, name, files[name]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return e.WriteFile(ctx, stage, layout.CommitFile, mark)
}

// Mark returns the contents of the commit mark of a checkpoint at path, in a store with
// these properties. Where a save is committed by its mark, no two marks are equal: the
// version of an object may be that of its bytes, and a mark of the same version would hide
// that a checkpoint was replaced.
func Mark(p storage.Properties, path string) []byte {
	mark := "Checkpoint commit was successful to " + path
	if p.NeedsMarker() {
		mark += "\nsave " + rand.Text()
	}
	return []byte(mark)
}

// ReadDigests reads the digest file name in a directory. It returns nil if there is none.
func ReadDigests(ctx context.Context, at storage.Location, name string) (*layout.Digests, error) {
	doc, err := transfer.ReadFile(ctx, at, name, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return layout.ParseDigests(doc)
}

// Check compares a file of the checkpoint at a location with its digest. If the file is
// missing or differs, the error matches fault.ErrCorrupt.
func Check(ctx context.Context, at storage.Location, name string, digests *layout.Digests) error {
	h := sha256.New()
	err := transfer.HashFile(ctx, at, name, isDocument(name), h)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, name)
	}
	if err != nil {
		return err
	}
	if err := digests.CheckSum(name, [sha256.Size]byte(h.Sum(nil))); err != nil {
		return cmp.Or(transfer.CheckLFS(ctx, at, name), err)
	}
	return nil
}

// isDocument reports whether a file of a checkpoint is a document of Orbax or this package,
// and cannot be a file of a program's handler.
func isDocument(name string) bool {
	_, file, inItem := strings.Cut(name, "/")
	return !inItem || layout.CheckFile(file, false) != nil
}

// CheckStaged checks the files of a checkpoint that is at a location and has not been
// committed, as [CheckAll] does. Where the commit mark appears by the commit, it leaves that
// file out.
func CheckStaged(ctx context.Context, at storage.Location, digests *layout.Digests) []error {
	var errs []error
	for _, name := range digests.Names() {
		if name == layout.CommitFile && at.Store.Properties().NeedsMarker() {
			continue
		}
		if err := Check(ctx, at, name, digests); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// CheckAll calls [Check] for each file that has a digest, and returns the errors. If part
// is not "", it checks only the files of that item.
func CheckAll(ctx context.Context, at storage.Location, part string, digests *layout.Digests) []error {
	names := digests.Names()
	if part != "" {
		names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, part+"/") })
	}
	atOnce := 1
	if p := at.Store.Properties(); transfer.IsDear(p) {
		atOnce = transfer.AtOnce(p, maxChecks)
	}
	errs := make([]error, len(names))
	var group parallel.Group
	group.SetLimit(atOnce)
	for i, name := range names {
		group.Go(func() error {
			errs[i] = Check(ctx, at, name, digests)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return []error{err}
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// maxChecks is how many files are compared with their digests at the same time if each read
// is a request that takes its time.
const maxChecks = 16
