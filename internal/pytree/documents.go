package pytree

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/sharding"
)

// readDocuments reads the documents that have entries for the leaves of a pytree.
func (o *opener) readDocuments(ctx context.Context) error {
	doc, err := o.readDocument(ctx, layout.StringsFile)
	if err == nil && doc != nil {
		o.strings, err = layout.ParseStrings(doc)
	}
	if errors.Is(err, fault.ErrCorrupt) { // only strings need it
		o.stringsErr, err = fmt.Errorf("%s: %w", layout.StringsFile, err), nil
	}
	if err != nil {
		return err
	}
	doc, err = o.readDocument(ctx, layout.ShardingFile)
	if err == nil && doc != nil {
		o.shardings, err = sharding.ParseFile(doc)
	}
	if o.shardingErr, err = o.ofLeaves(layout.ShardingFile, err); err != nil {
		return err
	}
	o.arraysErr, err = o.ofLeaves(path.Dir(layout.ArrayFile), o.readArrayMetadatas(ctx))
	return err
}

// readDocument reads a document that a pytree need not have. It returns nil if there is
// none. Digests of this package cover every document, so it does not look for documents
// without a digest.
func (o *opener) readDocument(ctx context.Context, name string) ([]byte, error) {
	if o.dir.Covered(layout.TreeFile) && !o.dir.Covered(name) {
		return nil, nil
	}
	return o.dir.ReadOptional(ctx, name)
}

// ofLeaves decides whether an error in a document that belongs to all arrays makes the
// tree unreadable. It does not if the document of another writer is damaged, which happens
// because other writers do not sync documents: then the error concerns what the document
// says about each array. In all other cases, and in every checkpoint with digests, it
// concerns the whole tree.
func (o *opener) ofLeaves(name string, err error) (leaves, tree error) {
	if !errors.Is(err, fault.ErrCorrupt) || o.dir.Covered(layout.TreeFile) {
		return nil, err
	}
	return fmt.Errorf("%s: %w", name, err), nil
}

// readArrayMetadatas reads the files of all processes. If several files describe an
// array, the first counts.
func (o *opener) readArrayMetadatas(ctx context.Context) error {
	names, err := ArrayFiles(ctx, o.dir)
	if err != nil {
		return err
	}
	o.arrays, err = ReadArrays(ctx, o.dir, names, nil)
	return err
}

// arraysOfProcess is the beginning of the names of the files in array_metadatas.
const arraysOfProcess = "process_"

// ArrayFiles returns the names of the array_metadatas files of all processes.
func ArrayFiles(ctx context.Context, d *ckdir.ReadDir) (names []string, err error) {
	dir := path.Dir(layout.ArrayFile)
	if d.Covered(layout.TreeFile) { // then the array_metadatas are covered too
		for _, name := range d.Sub(dir).CoveredBeginning(arraysOfProcess) {
			names = append(names, path.Join(dir, name))
		}
		return names, nil
	}
	infos, err := d.List(ctx, dir)
	if err != nil && !ckdir.NotExist(err) {
		return nil, err
	}
	for _, info := range infos {
		if !info.Dir && strings.HasPrefix(info.Name, arraysOfProcess) {
			names = append(names, path.Join(dir, info.Name))
		}
	}
	return names, nil
}

// ReadArrays adds to arrays the entries of the files called names, unless arrays has them
// already. It returns arrays, or a new map if arrays is empty.
func ReadArrays(ctx context.Context, d *ckdir.ReadDir, names []string, arrays map[string]layout.ArrayMetadata) (map[string]layout.ArrayMetadata, error) {
	for _, name := range names {
		doc, err := d.ReadFile(ctx, name)
		if err != nil {
			return nil, err
		}
		found, err := layout.ParseArrays(doc)
		if err != nil {
			return nil, err
		}
		if len(arrays) == 0 {
			arrays = found
			continue
		}
		for name, a := range found {
			if _, ok := arrays[name]; !ok {
				arrays[name] = a
			}
		}
	}
	return arrays, nil
}
