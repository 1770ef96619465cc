// Package replica copies a complete checkpoint to another store. All bytes are equal but for
// the mark: the copy has its own.
package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// Options choose how a checkpoint is copied.
type Options struct {
	// Replace, if not nil, allows the copy to replace what is at its place; see
	// [storage.BeginOptions].
	Replace storage.Look
	// Accept, if not nil, is called when everything has been written, before the copy is
	// published. If it returns an error, there will be no copy.
	Accept func(ctx context.Context) error
	// Moved, if not nil, is called with the number of bytes of each piece that has been
	// written. Several goroutines call it.
	Moved func(n int64)
}

// ErrChanged is the error of a copy whose source was replaced or changed meanwhile.
var ErrChanged = fmt.Errorf("%w: the checkpoint was changed while it was copied", fault.ErrBusy)

// Copy copies the checkpoint at from, with every file in its directory, to the path to,
// where it appears as a whole. In a store that needs a marker, the marker is written last.
// It is one of its own, as in a save to such a store: no two marks there are equal. The
// digest file has its digest, and each checkpointable gets a marker too.
//
// Copy compares documents with their digests. It does not decode arrays: Accept verifies
// the source if that is wanted. If the source is replaced meanwhile, the error matches
// [ErrChanged]; if it is removed, fs.ErrNotExist. Nothing is left at the path after an
// error, unless that matches fault.ErrInPlace: then the copy is complete.
func Copy(ctx context.Context, from, to storage.Location, o Options) error {
	from.Store = storage.Confine(from.Store, from.Name, false)
	t, err := list(ctx, from)
	if err != nil {
		return err
	}
	identity, err := readIdentity(ctx, from, t)
	if err != nil {
		return err
	}
	digests, err := documents.ReadDigests(ctx, from, layout.DigestFile)
	if err != nil {
		return err
	}
	begin := storage.BeginOptions{Replace: o.Replace}
	needsMarker := to.Store.Properties().NeedsMarker()
	if needsMarker {
		begin.Marker = layout.CommitFile
	}
	stage, err := to.Store.Begin(ctx, to.Name, begin)
	if err != nil {
		return err
	}
	_ = proof.RemoveLeft(ctx, to) // remains that stay only take room
	c := &copier{from: from, stage: stage, digests: digests, moved: o.Moved}
	if needsMarker {
		c.mark = documents.Mark(stage.Properties(), to.Name)
	}
	err = c.copyAll(ctx, t)
	if err == nil && needsMarker {
		err = c.markItems(ctx, t, identity[layout.CheckpointFile], to.Name)
	}
	if err == nil && o.Accept != nil {
		err = o.Accept(ctx)
	}
	if err == nil {
		err = unchanged(ctx, from, t, identity)
	}
	if err == nil {
		err = c.copyMarker(ctx, t)
	}
	if err != nil {
		return errors.Join(err, stage.Abort())
	}
	return stage.Commit(ctx)
}

// markItems writes the marker of each checkpointable that has none.
func (c *copier) markItems(ctx context.Context, t *tree, metadata []byte, name string) error {
	if metadata == nil {
		return nil // of an old release, whose items are not known
	}
	m, err := layout.ParseCheckpoint(metadata)
	if err != nil {
		return err
	}
	for _, item := range t.items() {
		mark := path.Join(item, layout.CommitFile)
		if _, named := m.Handlers[item]; !named || t.has(mark) {
			continue
		}
		if err := transfer.WriteFile(ctx, c.stage, mark, documents.Mark(c.stage.Properties(), path.Join(name, item))); err != nil {
			return err
		}
	}
	return nil
}

// copyMarker copies the marker of the checkpoint, or writes that of the copy.
func (c *copier) copyMarker(ctx context.Context, t *tree) error {
	switch {
	case c.mark != nil:
		return c.write(ctx, t, layout.CommitFile, c.mark)
	case t.has(layout.CommitFile):
		return c.copyFiles(ctx, []file{t.file(layout.CommitFile)})
	}
	return nil
}

// identities are the documents by which two saves differ. Each save writes its time into
// the first.
var identities = []string{layout.CheckpointFile, layout.DigestFile, layout.TreeFile}

// readIdentity returns the documents that identify the save of a checkpoint.
func readIdentity(ctx context.Context, at storage.Location, t *tree) (map[string][]byte, error) {
	identity := map[string][]byte{}
	for _, name := range identities {
		if !t.has(name) {
			continue
		}
		doc, err := transfer.ReadFile(ctx, at, name, 0, -1)
		if err != nil {
			return nil, err
		}
		if doc == nil {
			doc = []byte{}
		}
		identity[name] = doc
	}
	return identity, nil
}

// unchanged returns an error if a checkpoint is no longer the one with an identity.
func unchanged(ctx context.Context, at storage.Location, t *tree, identity map[string][]byte) error {
	now, err := readIdentity(ctx, at, t)
	if err == nil && !sameIdentity(identity, now) {
		err = ErrChanged
	}
	return err
}

func sameIdentity(a, b map[string][]byte) bool {
	for _, name := range identities {
		docA, inA := a[name]
		docB, inB := b[name]
		if inA != inB || !bytes.Equal(docA, docB) {
			return false
		}
	}
	return true
}

// Same reports whether a copy, as [Copy] makes it, has the files of a checkpoint: the same
// names and sizes, and equal documents that differ from save to save. It does not read
// arrays.
func Same(ctx context.Context, checkpoint, copied storage.Location) (bool, error) {
	checkpoint.Store = storage.Confine(checkpoint.Store, checkpoint.Name, false)
	copied.Store = storage.Confine(copied.Store, copied.Name, false)
	a, err := list(ctx, checkpoint)
	if err != nil {
		return false, err
	}
	b, err := list(ctx, copied)
	if err != nil {
		return false, err
	}
	if !slices.Equal(a.unmarked(), b.unmarked()) {
		return false, nil
	}
	inA, err := readIdentity(ctx, checkpoint, a)
	if err != nil {
		return false, err
	}
	inB, err := readIdentity(ctx, copied, b)
	return err == nil && sameIdentity(unmarked(inA), unmarked(inB)), err
}

// unmarked returns an identity without the digest of the marker.
func unmarked(identity map[string][]byte) map[string][]byte {
	if digests, err := layout.ParseDigests(identity[layout.DigestFile]); err == nil {
		digests.Forget(layout.CommitFile)
		identity[layout.DigestFile] = digests.Document()
	}
	return identity
}

// Size returns the number of bytes that the files of a checkpoint have together.
func Size(ctx context.Context, at storage.Location) (int64, error) {
	at.Store = storage.Confine(at.Store, at.Name, false)
	t, err := list(ctx, at)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, f := range t.files {
		n += f.size
	}
	return n, nil
}

// tree is the content of a directory.
type tree struct {
	files []file   // by name
	empty []string // directories without entries
}

type file struct {
	name string
	size int64
}

// list returns the content of a checkpoint.
func list(ctx context.Context, at storage.Location) (*tree, error) {
	t := &tree{}
	var below func(dir string) error
	below = func(dir string) error {
		infos, err := at.Join(dir).List(ctx)
		if err != nil {
			return err
		}
		if len(infos) == 0 && dir != "" {
			t.empty = append(t.empty, dir)
		}
		for _, info := range infos {
			name := path.Join(dir, info.Name)
			if !info.Dir {
				t.files = append(t.files, file{name, info.Size})
			} else if err := below(name); err != nil {
				return err
			}
		}
		return nil
	}
	if err := below(""); err != nil {
		return nil, err
	}
	if len(t.files) == 0 {
		return nil, fmt.Errorf("%s: %w", at, fs.ErrNotExist)
	}
	slices.SortFunc(t.files, compareFiles)
	return t, nil
}

func compareFiles(a, b file) int { return strings.Compare(a.name, b.name) }

// at returns the position of a file.
func (t *tree) at(name string) (int, bool) {
	return slices.BinarySearchFunc(t.files, file{name: name}, compareFiles)
}

func (t *tree) has(name string) bool {
	_, ok := t.at(name)
	return ok
}

// file returns a file that the tree has.
func (t *tree) file(name string) file {
	i, _ := t.at(name)
	return t.files[i]
}

// items returns the names of the directories of the checkpoint itself.
func (t *tree) items() []string {
	var all []string
	for _, f := range t.files {
		if item, _, in := strings.Cut(f.name, "/"); in && !slices.Contains(all, item) {
			all = append(all, item)
		}
	}
	return all
}

// unmarked returns the files without the markers of the checkpoint and of its items. The
// digest file has no size: it has the digest of a marker.
func (t *tree) unmarked() []file {
	files := slices.DeleteFunc(slices.Clone(t.files), func(f file) bool {
		return path.Base(f.name) == layout.CommitFile && strings.Count(f.name, "/") < 2
	})
	for i := range files {
		if files[i].name == layout.DigestFile {
			files[i].size = 0
		}
	}
	return files
}
