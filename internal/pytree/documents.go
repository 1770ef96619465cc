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

// readDocuments reads the documents of a pytree that have entries for its leaves.
func (o *opener) readDocuments(ctx context.Context) error {
	doc, err := o.readDocument(ctx, layout.StringsFile)
	if err == nil && doc != nil {
		o.strings, err = layout.ParseStrings(doc)
	}
	if o.stringsErr, err = o.ofLeaves(layout.StringsFile, err); err != nil {
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

// readDocument reads a document that a pytree need not have; nil if there is none. Our
// digests cover every document, so that what they do not name need not be looked for.
func (o *opener) readDocument(ctx context.Context, name string) ([]byte, error) {
	if o.dir.Covered(layout.TreeFile) && !o.dir.Covered(name) {
		return nil, nil
	}
	return o.dir.ReadOptional(ctx, name)
}

// ofLeaves divides the errors of a document of which some leaves have an entry: it is
// theirs if the document is damaged, as those of other writers can be, which do not
// sync them; else, and in a checkpoint with digests, of the whole tree.
func (o *opener) ofLeaves(name string, err error) (leaves, tree error) {
	if !errors.Is(err, fault.ErrCorrupt) || o.dir.Covered(layout.TreeFile) {
		return nil, err
	}
	return fmt.Errorf("%s: %w", name, err), nil
}

// readArrayMetadatas reads the files of all processes; an array that several
// mention is described by the first.
func (o *opener) readArrayMetadatas(ctx context.Context) error {
	names, err := ArrayFiles(ctx, o.dir)
	if err != nil {
		return err
	}
	o.arrays, err = ReadArrays(ctx, o.dir, names, nil)
	return err
}

// arraysOfProcess begins the names of the files in array_metadatas.
const arraysOfProcess = "process_"

// ArrayFiles returns the names of the array_metadatas of all processes.
func ArrayFiles(ctx context.Context, d *ckdir.ReadDir) (names []string, err error) {
	dir := path.Dir(layout.ArrayFile)
	if d.Covered(layout.TreeFile) { // so are these
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

// ReadArrays returns arrays, which it may change, with those of the named files that
// are not there yet.
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
