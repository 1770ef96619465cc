package union

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/internal/zarray"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/zarr"
)

// findArrays finds the documents and chunks of all arrays and decides how the union
// stores them.
func (o *unionOpener) findArrays(ctx context.Context) error {
	formats := map[string][]string{} // by the name of the document
	var errs []error
	for _, l := range o.leaves {
		if l.Empty || l.ValueType == layout.String {
			continue
		}
		name := l.Path.String()
		m, err := o.findArray(ctx, name)
		if err != nil {
			errs = append(errs, &fault.Leaf{Path: name, Err: err})
			continue
		}
		formats[m.MetadataName()] = append(formats[m.MetadataName()], name)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	two, three := formats[zarr.DocumentName(2)], formats[zarr.DocumentName(3)]
	if len(two) > 0 && len(three) > 0 {
		return fmt.Errorf("%w: arrays are in zarr format 2 (%s) and in format 3 (%s); Orbax loads only one of them",
			fault.ErrUnsupported, fault.List(two), fault.List(three))
	}
	o.ocdbt, o.zarr3 = len(o.values) > 0, len(three) > 0
	if len(two)+len(three) == 0 { // no array is stored: take the form that the inputs declare
		o.ocdbt, o.zarr3 = o.declared()
	}
	if len(o.values) > 0 {
		return o.indexFiles()
	}
	return nil
}

// indexFiles adds arrays in plain files to the index, as values that are stored
// elsewhere, like all large values.
func (o *unionOpener) indexFiles() error {
	for _, f := range o.files {
		v := ocdbt.Value{Ref: ocdbt.Ref{File: f.name, Length: f.size}}
		if err := o.values.Add(f.name, database.Value{Value: v, Owner: "file " + f.name}); err != nil {
			return err
		}
	}
	return nil
}

// declared returns the form in which the last input says that its arrays are stored.
func (o *unionOpener) declared() (ocdbt, zarr3 bool) {
	for _, m := range slices.Backward(o.metas) {
		if m != nil {
			return m.OCDBT == nil || *m.OCDBT, m.Zarr3
		}
	}
	return true, true
}

// findArray finds an array and checks that all its chunks exist.
func (o *unionOpener) findArray(ctx context.Context, name string) (*zarray.Meta, error) {
	var found *zarray.Meta
	for _, format := range []int{3, 2} {
		if v, ok := o.values[database.JoinKey(name, zarr.DocumentName(format))]; ok {
			m, err := o.findValues(ctx, format, name, v)
			if err != nil || !o.repeated[name] {
				return m, err
			}
			found = m
		}
		for _, input := range o.inputs {
			m, err := o.findFiles(ctx, input, format, name)
			switch {
			case err != nil:
				return nil, err
			case m == nil:
			case !o.repeated[name]:
				return m, nil
			case found != nil:
				return nil, fmt.Errorf("%w: it is stored twice", fault.ErrKeyCollision)
			default:
				found = m
			}
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, database.JoinKey(name, zarr.DocumentName(3)))
	}
	return found, nil
}

// findValues checks that the databases have all chunks of the array whose document is v.
func (o *unionOpener) findValues(ctx context.Context, format int, name string, v database.Value) (*zarray.Meta, error) {
	m, err := o.parse(ctx, format, v)
	if err != nil || o.sparse {
		return m, err // chunks may be missing, and it does not matter which
	}
	for key := range m.Keys() {
		key := database.JoinKey(name, key)
		v, ok := o.values[key]
		if !ok {
			return nil, fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, key)
		}
		if err := m.CheckStored(v.Len()); err != nil {
			return nil, fmt.Errorf("chunk %s: %w", key, err)
		}
	}
	return m, nil
}

// checkData checks that the data files of the databases exist, and are as long as their
// values need.
func (o *unionOpener) checkData(ctx context.Context) error {
	var p storage.Properties
	for _, db := range o.databases { // all in one store
		p = db.input.Dir.At().Store.Properties()
	}
	broken, err := database.FindBroken(ctx, p, o.values.All(), o.dataFile)
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range slices.Sorted(maps.Keys(broken)) {
		f := broken[file]
		errs = append(errs, f.Check(f.Need))
	}
	return errors.Join(errs...)
}

// dataFile returns the place where a data file of the union lies now.
func (o *unionOpener) dataFile(file string) (*ckdir.ReadDir, string, error) {
	as, rest, _ := strings.Cut(file, "/")
	for _, db := range o.databases {
		if db.as == as {
			return db.input.Dir, path.Join(db.name, rest), nil
		}
	}
	return nil, "", fmt.Errorf("%w: %s is in no database", fault.ErrCorrupt, file)
}

// parse parses an array's document, wherever its value is stored.
func (o *unionOpener) parse(ctx context.Context, format int, v database.Value) (*zarray.Meta, error) {
	doc := v.Inline
	if !v.IsInline() {
		dir, name, err := o.dataFile(v.Ref.File)
		if err != nil {
			return nil, err
		}
		r, err := transfer.ReserveDocument(zarr.DocumentName(format), v.Ref.Length)
		if err != nil {
			return nil, err
		}
		defer r.Release()
		if doc, err = transfer.ReadFile(ctx, dir.At(), name, v.Ref.Offset, v.Ref.Length); err != nil {
			return nil, err
		}
	}
	return o.arrayMetas.Parse(format, doc, false)
}

// findFiles finds an array that input has in plain files. It returns nil if there is
// none.
func (o *unionOpener) findFiles(ctx context.Context, input Input, format int, name string) (*zarray.Meta, error) {
	file := database.JoinKey(name, zarr.DocumentName(format))
	if !fs.ValidPath(file) {
		return nil, nil // the array can only be in a database
	}
	doc, err := input.Dir.ReadOptional(ctx, file)
	if doc == nil || err != nil {
		return nil, err
	}
	m, err := o.arrayMetas.Parse(format, doc, false)
	if err != nil {
		return nil, err
	}
	files := []plainFile{{input, file, int64(len(doc)), true}}
	for key := range m.Keys() {
		file := database.JoinKey(name, key)
		info, err := input.Dir.Stat(ctx, file)
		if ckdir.NotExist(err) {
			return nil, fmt.Errorf("%w: file %s is missing", fault.ErrCorrupt, file)
		}
		if err != nil {
			return nil, err
		}
		if err := m.CheckStored(info.Size); err != nil {
			return nil, fmt.Errorf("chunk %s: %w", file, err)
		}
		files = append(files, plainFile{input, file, info.Size, false})
	}
	o.files = append(o.files, files...)
	return m, nil
}
