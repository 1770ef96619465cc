package handler

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
)

// ownDatabase is the name of the database of the only process of a save that
// somebody will merge.
const ownDatabase = layout.ProcessPrefix + "0"

// Unmerged puts the database of a pytree that is written to d into a directory of its
// own, as one of several processes of a save does. The pytree can be read when a [Union]
// has been made of it.
func (d *WriteDir) Unmerged() { d.database = ownDatabase }

// Databases returns the names of the databases that the processes of a save have
// written in dir, one each, in order. Merging them puts one more at the top, which
// refers to their files.
func Databases(ctx context.Context, dir *ReadDir) ([]string, error) {
	infos, err := dir.List(ctx, ".")
	if isNotExist(err) {
		return nil, nil
	}
	var names []string
	for _, info := range infos {
		if info.Dir && strings.HasPrefix(info.Name, layout.ProcessPrefix) {
			names = append(names, info.Name)
		}
	}
	slices.Sort(names)
	return names, err
}

// readDatabases returns the union of the databases of processes in dir, in the
// order of its keys. Values refer to files relative to dir. A key that two of them
// give different values is an error that matches orbax.ErrKeyCollision: processes
// write different keys, but for equal documents, and which of two values Orbax's own
// merge takes is a matter of chance (observed).
func readDatabases(ctx context.Context, dir *ReadDir) ([]ocdbt.Entry, error) {
	names, err := Databases(ctx, dir)
	if err != nil {
		return nil, err
	}
	all := valueSet{}
	for _, name := range names {
		if err := all.addDatabase(ctx, dir, name, name); err != nil {
			return nil, err
		}
	}
	return all.entries(), nil
}

// ownedValue is a value, and the database or file that it comes from.
type ownedValue struct {
	ocdbt.Value
	owner string
}

// valueSet is the union of databases.
type valueSet map[string]ownedValue

// addDatabase adds the entries of the database called name in dir, which is to be
// called as. A database without a manifest is one to which nothing was written.
func (s valueSet) addDatabase(ctx context.Context, dir *ReadDir, name, as string) error {
	db, err := ocdbt.Open(ctx, databaseSource{dir, name})
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for e, err := range db.Entries(ctx, "") {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !e.Value.IsInline() {
			e.Value.Ref.File = path.Join(as, e.Value.Ref.File)
		}
		if err := s.add(e.Key, ownedValue{e.Value, as}); err != nil {
			return err
		}
	}
	return nil
}

// all returns the values, in no order.
func (s valueSet) all() iter.Seq[ocdbt.Value] {
	return func(yield func(ocdbt.Value) bool) {
		for _, v := range s {
			if !yield(v.Value) {
				return
			}
		}
	}
}

func (s valueSet) add(key string, v ownedValue) error {
	old, taken := s[key]
	if taken && (old.Ref != v.Ref || !bytes.Equal(old.Inline, v.Inline)) {
		return fmt.Errorf("%w: %s and %s have different values for %s", fault.ErrKeyCollision, old.owner, v.owner, key)
	}
	s[key] = v
	return nil
}

// entries returns the union as WriteTree takes it.
func (s valueSet) entries() []ocdbt.Entry {
	entries := make([]ocdbt.Entry, 0, len(s))
	for _, key := range slices.Sorted(maps.Keys(s)) {
		entries = append(entries, ocdbt.Entry{Key: key, Value: s[key].Value})
	}
	return entries
}

// databaseSource reads the files of the database called name in dir, "." for the one
// that dir is itself.
type databaseSource struct {
	dir  *ReadDir
	name string
}

func (s databaseSource) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	return transfer.ReadFile(ctx, s.dir.store, path.Join(s.dir.path(), s.name), name, off, n)
}

func (s databaseSource) List(ctx context.Context, prefix string) ([]string, error) {
	infos, err := s.dir.List(ctx, s.name)
	var names []string
	for _, info := range infos {
		if strings.HasPrefix(info.Name, prefix) {
			names = append(names, info.Name)
		}
	}
	return names, err
}

// wroteDatabase reports whether this package wrote the data files in the directory
// called name: then it has a file of nodes, whose digest is known. A merged tree
// can also have data files of Orbax, and plain files.
func (d *ReadDir) wroteDatabase(ctx context.Context, name string) (bool, error) {
	if path.Base(name) != layout.DataDir {
		return false, nil
	}
	infos, err := d.List(ctx, name)
	if isNotExist(err) {
		return false, nil // the reads of its values tell
	}
	return slices.ContainsFunc(infos, func(i storage.Info) bool {
		return len(i.Name) == len(randomName()) && d.digests.Has(path.Join(d.name, name, i.Name))
	}), err
}
