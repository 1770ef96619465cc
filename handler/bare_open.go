package handler

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// openBare opens a store of zarr arrays without the metadata of a tree: an OCDBT
// database, a zarr array, or a directory of them. A single array at the top is the
// whole tree; else each array is a leaf under its name in the store.
func openBare(ctx context.Context, dir *ReadDir, options OpenOptions) (*storedTree, error) {
	o := newTreeOpener(dir, &layout.TreeMetadata{}, options)
	var err error
	if o.ocdbt, err = o.readDatabase(ctx); err != nil {
		return nil, err
	}
	var docs []string
	if o.ocdbt {
		docs = o.documentKeys()
	} else if docs, err = o.documentFiles(ctx, "", 0, nil); err != nil {
		return nil, err
	}
	docs = preferred(docs)
	var leaves []*view.Leaf
	formats := map[int]bool{}
	for _, key := range docs {
		leaf, err := o.bareLeaf(ctx, key, formats)
		if err != nil {
			return nil, &fault.Leaf{Path: path.Dir(key), Err: err}
		}
		if leaf != nil {
			leaves = append(leaves, leaf)
		}
	}
	if len(leaves) == 0 {
		return nil, fmt.Errorf("%w: the store has no arrays", fault.ErrStructure)
	}
	o.meta.Zarr3 = !formats[2]
	return &storedTree{view.New(o.format(), leaves), o}, nil
}

// documentNames are the names of the documents that describe arrays, by format.
var documentNames = map[string]int{zarr.DocumentName(2): 2, zarr.DocumentName(3): 3}

// documentKeys returns the keys of the database that describe arrays.
func (o *treeOpener) documentKeys() (keys []string) {
	for key := range o.values {
		if documentNames[key[strings.LastIndexByte(key, '/')+1:]] != 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// preferred sorts the documents, and leaves out those of format 2 of arrays that
// are described in format 3 too: what a conversion leaves, as to zarr-python.
func preferred(docs []string) []string {
	slices.Sort(docs)
	return slices.DeleteFunc(slices.Clone(docs), func(key string) bool {
		if documentNames[path.Base(key)] != 2 {
			return false
		}
		_, both := slices.BinarySearch(docs, path.Join(path.Dir(key), zarr.DocumentName(3)))
		return both
	})
}

// maxBareDepth is how deep groups may be nested.
const maxBareDepth = 64

// documentFiles appends the files below name that describe arrays. What is below
// an array is its own.
func (o *treeOpener) documentFiles(ctx context.Context, name string, depth int, keys []string) ([]string, error) {
	if depth > maxBareDepth {
		return nil, fmt.Errorf("%w: directories nested more than %d deep at %s", fault.ErrUnsupported, maxBareDepth, name)
	}
	entries, err := o.dir.List(ctx, path.Clean(name))
	if err != nil {
		return nil, err
	}
	array := false
	for _, e := range entries {
		if format := documentNames[e.Name]; format != 0 && !e.Dir {
			key := path.Join(name, e.Name)
			keys = append(keys, key)
			group := false
			if format == 3 {
				doc, err := o.dir.ReadFile(ctx, key)
				if err != nil {
					return nil, err
				}
				group = zarr.IsGroup(doc)
			}
			array = array || !group
		}
	}
	for _, e := range entries {
		if e.Dir && !array {
			if keys, err = o.documentFiles(ctx, path.Join(name, e.Name), depth+1, keys); err != nil {
				return nil, err
			}
		}
	}
	return keys, nil
}

// bareLeaf returns the array that the document at key describes; nil for that of
// a group.
func (o *treeOpener) bareLeaf(ctx context.Context, key string, formats map[int]bool) (*view.Leaf, error) {
	docName := path.Base(key)
	format := documentNames[docName]
	doc, err := o.readValue(ctx, key)
	if err != nil || zarr.IsGroup(doc) {
		return nil, err
	}
	name := strings.TrimSuffix(strings.TrimSuffix(key, docName), "/")
	a, err := o.findArray(ctx, name, format)
	if err != nil {
		return nil, err
	}
	formats[format] = true
	m := view.LeafMetadata{ValueType: string(layout.NumPyArray)}
	if name != "" {
		m.Path = tree.Path{{Name: name}}
	}
	if err := a.describe(&m); err != nil {
		return nil, err
	}
	return view.NewArray(m, a)
}
