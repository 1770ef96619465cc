// Package database reads and writes the OCDBT databases in the directory of a pytree. It
// has the keys of documents and chunks, the values of several databases as one set, the
// data files that hold them, and the index over them.
package database

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
)

// NameOf returns the name of the database that a process writes if it will be merged
// later, or if several processes save together.
func NameOf(rank int) string { return fmt.Sprint(layout.ProcessPrefix, rank) }

// Names returns, in order, the names of the databases in dir that the processes of a save
// have written, one each. Merging the databases adds one at the top, which refers to
// their files and is not in the list.
func Names(ctx context.Context, dir *ckdir.ReadDir) ([]string, error) {
	infos, err := dir.List(ctx, ".")
	if ckdir.NotExist(err) {
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

// ReadAll returns the union of the databases of processes in dir, in the order of its
// keys. Values refer to files relative to dir. If two databases give one key different
// values, the error matches orbax.ErrKeyCollision. Processes write different keys, or
// equal documents. Of two different values, Orbax's own merge takes one by chance
// (observed).
func ReadAll(ctx context.Context, dir *ckdir.ReadDir) ([]ocdbt.Entry, error) {
	names, err := Names(ctx, dir)
	if err != nil {
		return nil, err
	}
	all := Values{}
	for _, name := range names {
		if err := all.AddFrom(ctx, dir, name, name); err != nil {
			return nil, err
		}
	}
	return all.Entries(), nil
}

// Value is a value with the name of the database or file that it comes from.
type Value struct {
	ocdbt.Value
	Owner string
}

// Values is the union of databases, by key.
type Values map[string]Value

// AddFrom adds the entries of the database called name in dir. as is the name of the
// database in the union. A database without a manifest is empty.
func (s Values) AddFrom(ctx context.Context, dir *ckdir.ReadDir, name, as string) error {
	db, err := ocdbt.Open(ctx, Source{dir, name})
	if ckdir.NotExist(err) {
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
		if err := s.Add(e.Key, Value{e.Value, as}); err != nil {
			return err
		}
	}
	return nil
}

// All yields the values, in no particular order.
func (s Values) All() iter.Seq[ocdbt.Value] {
	return func(yield func(ocdbt.Value) bool) {
		for _, v := range s {
			if !yield(v.Value) {
				return
			}
		}
	}
}

// Add adds the value of a key. If the key has a different value already, the error
// matches orbax.ErrKeyCollision.
func (s Values) Add(key string, v Value) error {
	old, taken := s[key]
	if taken && (old.Ref != v.Ref || !bytes.Equal(old.Inline, v.Inline)) {
		return fmt.Errorf("%w: %s and %s have different values for %s", fault.ErrKeyCollision, old.Owner, v.Owner, key)
	}
	s[key] = v
	return nil
}

// Entries returns the union in the form that WriteTree takes.
func (s Values) Entries() []ocdbt.Entry {
	entries := make([]ocdbt.Entry, 0, len(s))
	for _, key := range slices.Sorted(maps.Keys(s)) {
		entries = append(entries, ocdbt.Entry{Key: key, Value: s[key].Value})
	}
	return entries
}

// Source reads the files of the database called name in dir. "." names the database in
// dir itself.
type Source struct {
	Dir  *ckdir.ReadDir
	Name string
}

// Read returns n bytes from offset off of the file called name. With n < 0 it returns the
// whole file.
func (s Source) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	return transfer.ReadFile(ctx, s.Dir.At().Join(s.Name), name, off, n)
}

// List returns the names of the files whose names begin with prefix.
func (s Source) List(ctx context.Context, prefix string) ([]string, error) {
	infos, err := s.Dir.List(ctx, s.Name)
	var names []string
	for _, info := range infos {
		if strings.HasPrefix(info.Name, prefix) {
			names = append(names, info.Name)
		}
	}
	return names, err
}

// Wrote reports whether this package wrote the data files in the directory called name.
// Then the directory has a file of nodes with a known digest. A merged tree can also have
// data files of Orbax, and plain files.
func Wrote(ctx context.Context, d *ckdir.ReadDir, name string) (bool, error) {
	if path.Base(name) != layout.DataDir {
		return false, nil
	}
	infos, err := d.List(ctx, name)
	if ckdir.NotExist(err) {
		return false, nil // reading its values reports the missing files
	}
	return slices.ContainsFunc(infos, func(i storage.Info) bool {
		return len(i.Name) == len(RandomName()) && d.Covered(path.Join(name, i.Name))
	}), err
}
