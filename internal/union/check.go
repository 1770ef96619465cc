package union

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/ocdbt"
)

// Check returns nil if dir has a complete pytree that a [Union] was written to. The index
// must have every key of the databases, and every array and string of the documents must
// exist with all chunks, in files that are long enough. Check reads no array data. If
// something is missing or differs, the error matches orbax.ErrCorrupt.
func Check(ctx context.Context, dir *ckdir.ReadDir) error {
	u, err := Open(ctx, Input{Dir: dir})
	if err != nil {
		return err
	}
	return u.checkIndex(ctx, dir)
}

// Check is the function [Check], and also checks that dir holds exactly this union. Call
// it for a directory to which the union was written, before its inputs are removed.
func (u *Union) Check(ctx context.Context, dir *ckdir.ReadDir) error {
	w, err := Open(ctx, Input{Dir: dir})
	if err != nil {
		return err
	}
	size := func(files []plainFile) map[string]int64 {
		sizes := map[string]int64{}
		for _, f := range files {
			sizes[f.name] = f.size
		}
		return sizes
	}
	for what, equal := range map[string]bool{
		"leaves":      reflect.DeepEqual(w.leaves, u.leaves),
		"strings":     maps.Equal(w.strings, u.strings),
		"shardings":   len(w.shardings) == len(u.shardings),
		"shapes":      reflect.DeepEqual(w.arrays, u.arrays),
		"plain files": maps.Equal(size(w.files), size(u.files)),
		"places":      maps.Equal(size(w.places), size(u.places)),
		"values":      maps.EqualFunc(w.values, u.values, sameValue),
	} {
		if !equal {
			return fmt.Errorf("%w: the written tree has other %s than its parts", fault.ErrCorrupt, what)
		}
	}
	return w.checkIndex(ctx, dir)
}

func sameValue(a, b database.Value) bool {
	return a.Ref == b.Ref && a.IsInline() == b.IsInline() && bytes.Equal(a.Inline, b.Inline)
}

// checkIndex compares the index in dir with the values in the databases.
func (u *Union) checkIndex(ctx context.Context, dir *ckdir.ReadDir) error {
	if len(u.values) == 0 {
		return nil
	}
	db, err := ocdbt.Open(ctx, database.Source{Dir: dir, Name: "."})
	if ckdir.NotExist(err) {
		return fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, ocdbt.ManifestName)
	}
	if err != nil {
		return err
	}
	found := 0
	for e, err := range db.Entries(ctx, "") {
		if err != nil {
			return err
		}
		want, ok := u.values[e.Key]
		if !ok || !sameValue(want, database.Value{Value: e.Value}) {
			return fmt.Errorf("%w: the index has another value for %s than its databases", fault.ErrCorrupt, e.Key)
		}
		found++
	}
	if found != len(u.values) {
		return fmt.Errorf("%w: the index has %d of the %d keys of its databases", fault.ErrCorrupt, found, len(u.values))
	}
	return nil
}
