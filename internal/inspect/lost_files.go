package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// lostFiles returns an error for each of names that is a checkpointable other than a
// pytree and has lost a file. The digests say which files it had. Without digests only the
// document of a JSON or proto checkpointable can be missed. lostFiles reads no file of a
// checkpointable.
func (in Inspector) lostFiles(ctx context.Context, ck *orbax.Checkpoint, m *orbax.CheckpointMetadata, names []string) (map[string]error, error) {
	lost := map[string]error{}
	var digests *layout.Digests
	for _, name := range names {
		if name == "" || TreeOf(m, name) != nil {
			continue
		}
		root, err := in.rootOf(ctx, m.Path, name)
		if err == nil && m.Digests && digests == nil {
			digests, err = documents.ReadDigests(ctx, root, layout.DigestFile)
		}
		if err == nil && digests != nil {
			err = missingFiles(ctx, root, name, digests)
		} else if err == nil {
			err = in.missingDocument(ctx, root, m, name)
		}
		switch {
		case err == nil:
		case IsDamage(err):
			lost[name] = fault.InItem(name, err)
		default:
			return nil, InCheckpoint(m.Path, err)
		}
	}
	if len(lost) > 0 {
		if _, err := ck.Info(ctx); err != nil { // such as that another checkpoint has replaced it
			return nil, err
		}
	}
	return lost, nil
}

// rootOf returns the location of the checkpoint that has a checkpointable called name. The
// path is that of the checkpoint, or of the checkpointable.
func (in Inspector) rootOf(ctx context.Context, path, name string) (storage.Location, error) {
	at, err := in.Locate(ctx, path)
	if err != nil {
		return at, err
	}
	if name == at.Base() {
		_, err := at.Join(layout.CheckpointFile).Stat(ctx)
		outer, inside, _ := layout.Enclosing(ctx, at)
		if errors.Is(err, fs.ErrNotExist) && inside && outer.Name == at.Dir().Name {
			at = outer
		}
	}
	at.Store = storage.Confine(at.Store, at.Name, in.FollowLinks)
	return at, nil
}

// missingFiles returns an error that matches fault.ErrCorrupt if files of a checkpointable
// that the digests list do not exist.
func missingFiles(ctx context.Context, root storage.Location, name string, digests *layout.Digests) error {
	listed := map[string]map[string]bool{} // the names in each directory
	var missing []string
	for _, file := range digests.Beginning(name + "/") {
		dir, base := path.Split(file)
		if listed[dir] == nil {
			listed[dir] = map[string]bool{}
			entries, err := root.Join(dir).List(ctx)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			for _, e := range entries {
				listed[dir][e.Name] = true
			}
		}
		if !listed[dir][base] {
			missing = append(missing, file)
		}
	}
	switch len(missing) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, missing[0])
	}
	return fmt.Errorf("%w: missing files %s", fault.ErrCorrupt, fault.List(missing))
}

// missingDocument returns an error that matches fault.ErrCorrupt if the directory of a
// checkpointable whose kind has a document is empty.
func (in Inspector) missingDocument(ctx context.Context, root storage.Location, m *orbax.CheckpointMetadata, name string) error {
	if kind := in.KindOf(ctx, m, name); kind != KindJSON && kind != KindProto {
		return nil
	}
	entries, err := root.Join(name).List(ctx)
	if err != nil || len(entries) > 0 {
		return err
	}
	return fmt.Errorf("%w: it has no document", fault.ErrCorrupt)
}
