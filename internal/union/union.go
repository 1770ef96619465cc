// Package union makes one pytree of several pytree directories, which the processes of a
// save or the sessions of partial saves have written.
package union

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/internal/zarray"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/zarr"
)

// Input is the directory of a pytree, which may be incomplete: missing files are expected
// in another input.
type Input struct {
	Dir *ckdir.ReadDir
	// Suffix is appended to the names of the input's databases, so that they differ from
	// those of other inputs. It consists of letters and digits.
	Suffix string
}

// Union is the pytree that several directories form together: those of one save by
// several processes, or of several saves. It holds no array data. Several goroutines may
// use it.
type Union struct {
	inputs    []Input
	databases []inputDatabase
	leaves    []layout.TreeLeaf // in order
	strings   map[string]string
	texts     []string // names of stored strings that are not leaves
	shardings map[string]*sharding.Sharding
	arrays    []layout.ArrayMetadata
	values    database.Values
	files     []plainFile // arrays that are not in a database
	places    []plainFile // the inputs' records of places
	ocdbt     bool
	zarr3     bool
}

// inputDatabase is one of an input's databases, with its name in the union.
type inputDatabase struct {
	input    Input
	name, as string
}

// plainFile is a document or chunk that is stored as a separate file.
type plainFile struct {
	input    Input
	name     string
	size     int64
	document bool
}

// Open reads the documents and indexes of the inputs and checks that every array has its
// document and all chunks. The error matches orbax.ErrKeyCollision if leaves do not fit
// together (see [KeySet.Add]), orbax.ErrCorrupt if something is missing, and
// orbax.ErrUnsupported if some arrays are in zarr format 2 and others in 3, which Orbax
// cannot load from one tree. Errors name all leaves concerned.
func Open(ctx context.Context, inputs ...Input) (*Union, error) {
	o := &unionOpener{
		Union: &Union{
			inputs: inputs, strings: map[string]string{}, shardings: map[string]*sharding.Sharding{}, values: database.Values{},
		},
		metas:      make([]*layout.TreeMetadata, len(inputs)),
		arrayMetas: zarray.Metas{}, repeated: map[string]bool{},
	}
	for _, read := range []func(context.Context) error{o.readTrees, o.readStrings, o.readShardings, o.readArrays, o.readPlaces, o.readDatabases, o.checkData, o.findArrays} {
		if err := read(ctx); err != nil {
			return nil, err
		}
	}
	return o.Union, nil
}

// Strays returns the names of stored arrays and strings that are not leaves in the
// documents of any input. Their document has been lost.
func (u *Union) Strays() []string {
	docs := map[string]bool{}
	for _, l := range u.leaves {
		for _, doc := range []string{zarr.DocumentName(2), zarr.DocumentName(3)} {
			docs[database.JoinKey(l.Path.String(), doc)] = true
		}
	}
	strays := map[string]bool{}
	for key := range u.values {
		name, doc := path.Split(key)
		if !docs[key] && (doc == zarr.DocumentName(2) || doc == zarr.DocumentName(3)) {
			strays[strings.TrimSuffix(name, "/")] = true
		}
	}
	for _, name := range u.texts {
		strays[name] = true
	}
	return slices.Sorted(maps.Keys(strays))
}

// Keys returns the number of keys in the union's index.
func (u *Union) Keys() int { return len(u.values) }

// unionOpener gathers the contents of a Union.
type unionOpener struct {
	*Union
	metas      []*layout.TreeMetadata // by input; nil for an input without metadata
	arrayMetas zarray.Metas
	// repeated are the names of leaves that are in the documents of several inputs.
	repeated map[string]bool
	// sparse allows missing chunks, because the arrays were written without them.
	sparse bool
}

func (o *unionOpener) readTrees(ctx context.Context) error {
	known := map[string]layout.TreeLeaf{}
	var keys KeySet
	var errs []error
	found := false
	for i, input := range o.inputs {
		doc, err := input.Dir.ReadOptional(ctx, layout.TreeFile)
		if doc == nil || err != nil {
			errs = append(errs, err)
			continue
		}
		found = true
		if o.metas[i], err = layout.ParseTree(doc); err != nil {
			errs = append(errs, inDir(input, err))
			continue
		}
		o.sparse = o.sparse || o.metas[i].Sparse
		slices.SortFunc(o.metas[i].Leaves, func(a, b layout.TreeLeaf) int { return a.Path.Compare(b.Path) })
		for _, l := range o.metas[i].Leaves {
			// A merge that was interrupted leaves entries in both places. The array
			// itself is in one of them.
			id := l.Path.ID()
			if same, ok := known[id]; ok && reflect.DeepEqual(same, l) {
				o.repeated[l.Path.String()] = true
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

// inDir adds the path of the input to err.
func inDir(input Input, err error) error {
	return fmt.Errorf("%s: %w", input.Dir.At().Name, err)
}

func (o *unionOpener) readStrings(ctx context.Context) error {
	leaves := map[string]bool{}
	for _, l := range o.leaves {
		leaves[l.Path.String()] = true
	}
	var errs []error
	for _, input := range o.inputs {
		doc, err := input.Dir.ReadOptional(ctx, layout.StringsFile)
		if doc == nil || err != nil {
			errs = append(errs, err)
			continue
		}
		texts, err := layout.ParseStrings(doc)
		if err != nil {
			return inDir(input, err)
		}
		o.texts = append(o.texts, strayTexts(doc, leaves)...)
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

// maxStrays is the largest number of strings of a document that are named though they are
// not leaves.
const maxStrays = 100

// strayTexts returns the names of strings in their document that are not leaves, except
// those with escapes.
func strayTexts(doc []byte, leaves map[string]bool) (strays []string) {
	var name []byte // of v, after a slash
	var walk func(v any)
	walk = func(v any) {
		if members, ok := v.(map[string]any); ok {
			above := len(name)
			for member, v := range members {
				name = append(append(name[:above], '/'), member...)
				walk(v)
			}
		} else if n := name[1:]; len(strays) < maxStrays && !leaves[string(n)] && !bytes.Contains(n, []byte("~")) {
			strays = append(strays, string(n))
		}
	}
	var root map[string]any
	if json.Unmarshal(doc, &root) == nil {
		walk(root)
	}
	return strays
}

func (o *unionOpener) readShardings(ctx context.Context) error {
	for _, input := range o.inputs {
		doc, err := input.Dir.ReadOptional(ctx, layout.ShardingFile)
		if doc == nil && err == nil {
			continue
		}
		var shardings map[string]*sharding.Sharding
		if err == nil {
			shardings, err = sharding.ParseFile(doc)
		}
		if err != nil {
			return inDir(input, err)
		}
		for name, s := range shardings {
			o.shardings[name] = s
		}
	}
	return nil
}

// readArrays merges the array_metadatas of all processes of all inputs.
func (o *unionOpener) readArrays(ctx context.Context) error {
	var known map[string]layout.ArrayMetadata
	for _, input := range o.inputs {
		names, err := pytree.ArrayFiles(ctx, input.Dir)
		if err == nil {
			known, err = pytree.ReadArrays(ctx, input.Dir, names, known)
		}
		if err != nil {
			return inDir(input, err)
		}
	}
	for _, l := range o.leaves {
		if a, ok := known[l.Path.String()]; ok {
			o.arrays = append(o.arrays, a)
		}
	}
	return nil
}

// readPlaces finds the records of the places of chunks. Each record stays a separate
// file. Checkpoints of other writers have none.
func (o *unionOpener) readPlaces(ctx context.Context) error {
	for _, input := range o.inputs {
		names, _ := pytree.PlacesFiles(input.Dir)
		for _, name := range names {
			info, err := input.Dir.Stat(ctx, name)
			if ckdir.NotExist(err) {
				err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, name)
			}
			if err != nil {
				return inDir(input, err)
			}
			o.places = append(o.places, plainFile{input, name, info.Size, true})
		}
	}
	return nil
}

func (o *unionOpener) readDatabases(ctx context.Context) error {
	for _, input := range o.inputs {
		names, err := database.Names(ctx, input.Dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			db := inputDatabase{input, name, name + input.Suffix}
			if slices.ContainsFunc(o.databases, func(other inputDatabase) bool { return other.as == db.as }) {
				return fmt.Errorf("%w: two databases %s", fault.ErrKeyCollision, db.as)
			}
			o.databases = append(o.databases, db)
			if err := o.values.AddFrom(ctx, input.Dir, name, db.as); err != nil {
				return inDir(input, err)
			}
		}
	}
	return nil
}
