package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/zarr"
)

// UnionPart is the directory of a pytree, or what is left of one: files that are
// missing are expected in another part.
type UnionPart struct {
	Dir *ReadDir
	// Suffix goes behind the names of the part's databases, to tell them from
	// those of other parts. It has letters and digits only.
	Suffix string
}

// Union is the pytree that several directories make together: those of a save
// that several processes took part in, or of several saves. No array data has
// been read. It may be used by several goroutines.
type Union struct {
	parts     []UnionPart
	databases []database
	leaves    []layout.TreeLeaf // in order
	strings   map[string]string
	shardings map[string]*sharding.Sharding
	arrays    []layout.ArrayMetadata
	values    valueSet
	files     []plainFile // arrays that are in no database
	ocdbt     bool
	zarr3     bool
}

// database is one of a part's databases, and its name in the union.
type database struct {
	part     UnionPart
	name, as string
}

// plainFile is a document or chunk that is a file of its own.
type plainFile struct {
	part UnionPart
	name string
	size int64
}

// OpenUnion reads the documents and indexes of the parts and looks whether every
// array has its document and all chunks. What does not fit together matches
// orbax.ErrKeyCollision (see KeySet), or orbax.ErrUnsupported if some arrays are
// in zarr format 2 and others in 3, which Orbax cannot load from one tree; what is
// missing matches orbax.ErrCorrupt. Errors name all leaves that they are about.
func OpenUnion(ctx context.Context, parts ...UnionPart) (*Union, error) {
	o := &unionOpener{
		Union: &Union{
			parts: parts, strings: map[string]string{}, shardings: map[string]*sharding.Sharding{}, values: valueSet{},
		},
		metas:  make([]*layout.TreeMetadata, len(parts)),
		parsed: map[string]*zarr.Metadata{},
	}
	for _, read := range []func(context.Context) error{o.readTrees, o.readStrings, o.readShardings, o.readArrays, o.readDatabases, o.findArrays} {
		if err := read(ctx); err != nil {
			return nil, err
		}
	}
	return o.Union, nil
}

// Leaves returns the paths of all leaves, in order.
func (u *Union) Leaves() []tree.Path {
	paths := make([]tree.Path, len(u.leaves))
	for i, l := range u.leaves {
		paths[i] = l.Path
	}
	return paths
}

// Databases returns the names of the databases in the union.
func (u *Union) Databases() []string {
	names := make([]string, len(u.databases))
	for i, d := range u.databases {
		names[i] = d.as
	}
	return names
}

// Keys returns how many keys the union's index has.
func (u *Union) Keys() int { return len(u.values) }

// unionOpener gathers what is known of a Union.
type unionOpener struct {
	*Union
	metas  []*layout.TreeMetadata    // by part; nil for one without
	parsed map[string]*zarr.Metadata // by document
	// sparse allows chunks that are missing: they were written so.
	sparse bool
}

func (o *unionOpener) readTrees(ctx context.Context) error {
	known := map[string]layout.TreeLeaf{}
	var keys KeySet
	var errs []error
	found := false
	for i, part := range o.parts {
		doc, err := part.Dir.readOptional(ctx, layout.TreeFile)
		if doc == nil || err != nil {
			errs = append(errs, err)
			continue
		}
		found = true
		if o.metas[i], err = layout.ParseTree(doc); err != nil {
			errs = append(errs, inDir(part, err))
			continue
		}
		o.sparse = o.sparse || !storesAll(doc)
		slices.SortFunc(o.metas[i].Leaves, func(a, b layout.TreeLeaf) int { return a.Path.Compare(b.Path) })
		for _, l := range o.metas[i].Leaves {
			// A merge that was interrupted leaves entries in both places.
			id := pathID(l.Path)
			if same, ok := known[id]; ok && reflect.DeepEqual(same, l) {
				continue
			}
			known[id] = l
			errs = append(errs, keys.Add(l.Path, l.ValueType == layout.String))
			o.leaves = append(o.leaves, l)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: no %s", fault.ErrCorrupt, layout.TreeFile)
	}
	slices.SortFunc(o.leaves, func(a, b layout.TreeLeaf) int { return a.Path.Compare(b.Path) })
	return nil
}

// storesAll reports whether a tree was written with all its chunks. Orbax v1
// always does; before, chunks of nothing but the fill value were left out.
func storesAll(doc []byte) bool {
	var d struct {
		All bool `json:"store_array_data_equal_to_fill_value"`
	}
	return json.Unmarshal(doc, &d) == nil && d.All
}

// inDir says which part an error is about.
func inDir(part UnionPart, err error) error {
	return fmt.Errorf("%s: %w", part.Dir.path(), err)
}

func (o *unionOpener) readStrings(ctx context.Context) error {
	var errs []error
	for _, part := range o.parts {
		doc, err := part.Dir.readOptional(ctx, layout.StringsFile)
		if doc == nil || err != nil {
			errs = append(errs, err)
			continue
		}
		texts, err := layout.ParseStrings(doc)
		if err != nil {
			return inDir(part, err)
		}
		for _, l := range o.leaves {
			name := l.Path.String()
			text, ok := texts.Get(name)
			if !ok || l.ValueType != layout.String {
				continue
			}
			if other, taken := o.strings[name]; taken && other != text {
				errs = append(errs, &fault.Leaf{Path: name, Err: fmt.Errorf("%w: it is %q and %q", fault.ErrKeyCollision, other, text)})
			}
			o.strings[name] = text
		}
	}
	for _, l := range o.leaves {
		if name := l.Path.String(); l.ValueType == layout.String {
			if _, ok := o.strings[name]; !ok {
				errs = append(errs, &fault.Leaf{Path: name, Err: fmt.Errorf("%w: no string in %s", fault.ErrCorrupt, layout.StringsFile)})
			}
		}
	}
	return errors.Join(errs...)
}

func (o *unionOpener) readShardings(ctx context.Context) error {
	for _, part := range o.parts {
		doc, err := part.Dir.readOptional(ctx, layout.ShardingFile)
		if doc == nil && err == nil {
			continue
		}
		var shardings map[string]*sharding.Sharding
		if err == nil {
			shardings, err = sharding.ParseFile(doc)
		}
		if err != nil {
			return inDir(part, err)
		}
		for name, s := range shardings {
			o.shardings[name] = s
		}
	}
	return nil
}

// readArrays unites the array_metadatas of all processes of all parts.
func (o *unionOpener) readArrays(ctx context.Context) error {
	dir := path.Dir(layout.ArrayFile)
	known := map[string]layout.ArrayMetadata{}
	for _, part := range o.parts {
		infos, err := part.Dir.List(ctx, dir)
		if err != nil && !isNotExist(err) {
			return err
		}
		for _, info := range infos {
			if info.Dir || !strings.HasPrefix(info.Name, "process_") {
				continue
			}
			doc, err := part.Dir.ReadFile(ctx, path.Join(dir, info.Name))
			if err != nil {
				return err
			}
			arrays, err := layout.ParseArrays(doc)
			if err != nil {
				return inDir(part, err)
			}
			for name, a := range arrays {
				if _, ok := known[name]; !ok {
					known[name] = a
				}
			}
		}
	}
	for _, l := range o.leaves {
		if a, ok := known[l.Path.String()]; ok {
			o.arrays = append(o.arrays, a)
		}
	}
	return nil
}

func (o *unionOpener) readDatabases(ctx context.Context) error {
	for _, part := range o.parts {
		names, err := databases(ctx, part.Dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			db := database{part, name, name + part.Suffix}
			if slices.ContainsFunc(o.databases, func(other database) bool { return other.as == db.as }) {
				return fmt.Errorf("%w: two databases %s", fault.ErrKeyCollision, db.as)
			}
			o.databases = append(o.databases, db)
			if err := o.values.addDatabase(ctx, part.Dir, name, db.as); err != nil {
				return inDir(part, err)
			}
		}
	}
	return nil
}

// findArrays finds the documents and chunks of all arrays, and decides how they
// are stored together.
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
	two, three := formats[zarrNames[2]], formats[zarrNames[3]]
	if len(two) > 0 && len(three) > 0 {
		return fmt.Errorf("%w: %d arrays are in zarr format 2 (%s …), %d in format 3 (%s …); Orbax loads only one of them",
			fault.ErrUnsupported, len(two), two[0], len(three), three[0])
	}
	o.ocdbt, o.zarr3 = len(o.values) > 0, len(three) > 0
	if len(two)+len(three) == 0 { // none are stored: as the parts say
		o.ocdbt, o.zarr3 = o.declared()
	}
	if len(o.values) > 0 {
		return o.indexFiles()
	}
	return nil
}

// indexFiles makes of arrays in plain files what the index knows as well: values
// that are elsewhere, as all large ones.
func (o *unionOpener) indexFiles() error {
	for _, f := range o.files {
		v := ocdbt.Value{Ref: ocdbt.Ref{File: f.name, Length: f.size}}
		if err := o.values.add(f.name, ownedValue{v, "file " + f.name}); err != nil {
			return err
		}
	}
	return nil
}

// declared returns the form that the last part says its arrays have.
func (o *unionOpener) declared() (ocdbt, zarr3 bool) {
	for _, m := range slices.Backward(o.metas) {
		if m != nil {
			return m.OCDBT == nil || *m.OCDBT, m.Zarr3
		}
	}
	return true, true
}

// zarrNames are the names of an array's document by format.
var zarrNames = map[int]string{2: ".zarray", 3: "zarr.json"}

// findArray finds an array and looks whether all chunks are there.
func (o *unionOpener) findArray(ctx context.Context, name string) (*zarr.Metadata, error) {
	for _, format := range []int{3, 2} {
		key := joinKey(name, zarrNames[format])
		if v, ok := o.values[key]; ok {
			m, err := o.parse(ctx, format, v)
			if err != nil {
				return nil, err
			}
			for index := range m.Chunks() {
				key := joinKey(name, m.Key(index))
				v, ok := o.values[key]
				if !ok && o.sparse {
					continue
				}
				if !ok {
					return nil, fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, key)
				}
				if err := m.CheckStored(v.Len()); err != nil {
					return nil, fmt.Errorf("chunk %s: %w", key, err)
				}
			}
			return m, nil
		}
		for _, part := range o.parts {
			if m, err := o.findFiles(ctx, part, format, name); m != nil || err != nil {
				return m, err
			}
		}
	}
	return nil, fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, joinKey(name, zarrNames[3]))
}

// parse parses an array's document, wherever its value lies.
func (o *unionOpener) parse(ctx context.Context, format int, v ownedValue) (*zarr.Metadata, error) {
	doc := v.Inline
	if !v.IsInline() {
		i := slices.IndexFunc(o.databases, func(d database) bool { return d.as == v.owner })
		db := o.databases[i]
		file := path.Join(db.name, strings.TrimPrefix(v.Ref.File, db.as+"/"))
		var err error
		if doc, err = transfer.ReadFile(ctx, db.part.Dir.store, db.part.Dir.path(), file, v.Ref.Offset, v.Ref.Length); err != nil {
			return nil, err
		}
	}
	return o.parseDoc(format, doc)
}

func (o *unionOpener) parseDoc(format int, doc []byte) (*zarr.Metadata, error) {
	if m, ok := o.parsed[string(doc)]; ok {
		return m, nil
	}
	m, err := zarr.Parse(format, doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", zarrNames[format], err)
	}
	o.parsed[string(doc)] = m
	return m, nil
}

// findFiles finds an array that a part has in plain files; nil if it has not.
func (o *unionOpener) findFiles(ctx context.Context, part UnionPart, format int, name string) (*zarr.Metadata, error) {
	file := joinKey(name, zarrNames[format])
	if !fs.ValidPath(file) {
		return nil, nil // it can only be in a database
	}
	doc, err := part.Dir.readOptional(ctx, file)
	if doc == nil || err != nil {
		return nil, err
	}
	m, err := o.parseDoc(format, doc)
	if err != nil {
		return nil, err
	}
	files := []plainFile{{part, file, int64(len(doc))}}
	for index := range m.Chunks() {
		file := joinKey(name, m.Key(index))
		info, err := part.Dir.stat(ctx, file)
		if isNotExist(err) {
			return nil, fmt.Errorf("%w: file %s is missing", fault.ErrCorrupt, file)
		}
		if err != nil {
			return nil, err
		}
		if err := m.CheckStored(info.Size); err != nil {
			return nil, fmt.Errorf("chunk %s: %w", file, err)
		}
		files = append(files, plainFile{part, file, info.Size})
	}
	o.files = append(o.files, files...)
	return m, nil
}
