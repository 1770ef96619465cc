package union

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/treesave"
	"github.com/go-orbax/orbax/ocdbt"
)

// Write writes the union as one pytree, in the form that Orbax's merge leaves. There are
// the databases of the inputs, and one more that refers to them. It links the array data
// instead of copying it; see [storage.Files].
func (u *Union) Write(ctx context.Context, dir *ckdir.WriteDir) error {
	for _, db := range u.databases {
		if err := u.linkDatabase(ctx, dir, db, "."); err != nil {
			return err
		}
	}
	for _, f := range slices.Concat(u.files, u.places) {
		if err := dir.Link(ctx, f.input.Dir, f.name, f.name, f.document); err != nil {
			return err
		}
	}
	if err := u.WriteIndex(ctx, dir); err != nil {
		return err
	}
	if err := u.checkStrings(); err != nil {
		return err
	}
	meta := layout.TreeMetadata{Leaves: u.leaves, OCDBT: &u.ocdbt, Zarr3: u.zarr3}
	return treesave.WriteDocuments(ctx, dir, &meta, u.strings, u.shardings, u.arrays)
}

// linkDatabase links the files in the directory called name of a database.
func (u *Union) linkDatabase(ctx context.Context, dir *ckdir.WriteDir, db inputDatabase, name string) error {
	infos, err := db.input.Dir.List(ctx, path.Join(db.name, name))
	if err != nil {
		return err
	}
	for _, info := range infos {
		entry := path.Join(name, info.Name)
		if info.Dir {
			err = u.linkDatabase(ctx, dir, db, entry)
		} else {
			err = dir.Link(ctx, db.input.Dir, path.Join(db.name, entry), path.Join(db.as, entry), entry == ocdbt.ManifestName)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// WriteIndex writes the database that unites the others: its tree and its manifest. dir
// has the files of the union already. WriteIndex writes nothing if all arrays are plain
// files, or there are no arrays.
func (u *Union) WriteIndex(ctx context.Context, dir *ckdir.WriteDir) error {
	if len(u.values) == 0 {
		return nil
	}
	return database.WriteIndex(ctx, dir, slices.Values(u.values.Entries()))
}

// checkStrings checks that the strings can be read back under their names. Not all
// strings that Orbax writes fit in one document.
func (u *Union) checkStrings() error {
	doc, err := layout.StringsDocument(u.strings)
	if err != nil {
		return err
	}
	s, err := layout.ParseStrings(doc)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(u.strings)) {
		if got, ok := s.Get(name); !ok || got != u.strings[name] {
			err := cmp.Or(layout.CheckStringName(name), fmt.Errorf("%w: it cannot be stored beside the others", fault.ErrKeyCollision))
			errs = append(errs, &fault.Leaf{Path: name, Err: err})
		}
	}
	return errors.Join(errs...)
}
