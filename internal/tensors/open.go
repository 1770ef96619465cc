// Package tensors opens safetensors files as a tree: a single file, or the files of a
// directory, with the index that says which file holds each tensor.
package tensors

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/rawarray"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// Open opens a safetensors file, or all safetensors files of a directory, as one tree.
// The tree is a dict of the tensors by their names. It returns nil if there are none, or
// if the directory is a pytree of Orbax.
//
// An index in the directory decides which files count and which file holds a tensor. With
// an index, an error in a file is an error of the tensors in that file. Without an index
// the tensors of a file that cannot be read are unknown, so the error is one of the whole
// tree.
func Open(ctx context.Context, dir *ckdir.ReadDir) (*view.Tree, error) {
	if dir.Name() != "" {
		return nil, nil
	}
	at, names, err := safetensorsNames(ctx, dir)
	if len(names) == 0 || err != nil {
		return nil, err
	}
	o := tensorOpener{dir: dir, at: at, custom: map[string]string{}, leafOf: map[string]int{}}
	if at.Name == dir.At().Name { // not a single file
		if o.index, err = readTensorIndex(ctx, dir); err != nil {
			return nil, err
		}
	}
	if o.index != nil {
		names = o.index.files()
	}
	failed := map[string]error{}
	for _, name := range names {
		if err := o.addFile(ctx, name); err != nil {
			if o.index == nil || ctx.Err() != nil {
				if at.Name == dir.At().Name { // one of several files; the path of a single file is named already
					err = fmt.Errorf("%s: %w", name, err)
				}
				return nil, err
			}
			failed[name] = err
		}
	}
	o.addLost(failed)
	return view.New("safetensors", o.leaves).WithCustom(o.custom), nil
}

// tensorOpener gathers the tensors of files.
type tensorOpener struct {
	dir    *ckdir.ReadDir
	at     storage.Location // the directory of the files
	index  *tensorIndex     // nil if there is none
	leaves []*view.Leaf
	leafOf map[string]int // by the tensors' names
	fileOf []string       // for each leaf
	custom map[string]string
}

// addFile adds the tensors of a file.
func (o *tensorOpener) addFile(ctx context.Context, name string) error {
	file, h, err := openSafetensorsFile(ctx, o.dir, o.at, name)
	if err != nil {
		return err
	}
	maps.Copy(o.custom, h.Metadata)
	for _, t := range h.Tensors {
		if o.index != nil && o.index.of[t.Name].file != name {
			continue // it belongs to another file, or another file replaces it
		}
		m := view.LeafMetadata{
			Path: tree.Path{{Name: t.Name}}, Kind: tree.KindArray, ValueType: string(layout.NumPyArray),
			DType: t.DType, Shape: t.Shape, Bytes: t.Length, StoredBytes: t.Length, Codecs: "raw",
		}
		raw := rawarray.Array{Form: rawarray.Form{DType: t.DType}, Shape: t.Shape, Dir: file, File: name, At: t.Offset, Length: t.Length}
		var stored view.Array = &raw
		if safetensors.Packed(t.DType) {
			n, _ := array.NumElements(t.Shape) // safetensors has checked the shape when it read the header
			m.Bytes, m.Codecs = int64(n), "packed"
			stored = &packedArray{raw, int(t.Length * 8 / int64(max(1, n)))}
		}
		leaf, err := view.NewArray(m, stored)
		if err := cmp.Or(t.Err, err); err != nil {
			leaf = view.NewBroken(m, err)
		}
		o.add(t.Name, name, leaf)
	}
	return nil
}

// add adds a tensor. If the name is taken, the leaf becomes one that cannot be read.
func (o *tensorOpener) add(name, file string, leaf *view.Leaf) {
	if i, taken := o.leafOf[name]; taken {
		o.leaves[i] = view.NewBroken(view.LeafMetadata{Path: leaf.Metadata().Path},
			fmt.Errorf("%w: %s and %s both have it, and no index says which counts; to read one of the files give its path", fault.ErrKeyCollision, o.fileOf[i], file))
		return
	}
	o.leafOf[name] = len(o.leaves)
	o.leaves = append(o.leaves, leaf)
	o.fileOf = append(o.fileOf, file)
}

// addLost adds the tensors in the index that no file has. failed has the errors of the
// files that could not be read.
func (o *tensorOpener) addLost(failed map[string]error) {
	if o.index == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(o.index.of)) {
		if _, found := o.leafOf[name]; found {
			continue
		}
		e := o.index.of[name]
		err := cmp.Or(e.err, failed[e.file])
		switch {
		case err == nil:
			err = fmt.Errorf("%w: %s says that it is in %s, which does not have it", fault.ErrCorrupt, e.index, e.file)
		case e.err != nil:
		case ckdir.NotExist(err):
			err = fmt.Errorf("%w: %s says that it is in %s, which is missing", fault.ErrCorrupt, e.index, e.file)
		default:
			err = fmt.Errorf("%s: %w", e.file, err)
		}
		o.add(name, e.file, view.NewBroken(view.LeafMetadata{Path: tree.Path{{Name: name}}, ValueType: string(layout.NumPyArray)}, err))
	}
}

// safetensorsNames returns the names of the files, and their directory.
func safetensorsNames(ctx context.Context, dir *ckdir.ReadDir) (at storage.Location, names []string, err error) {
	at = dir.At()
	info, err := at.Stat(ctx)
	if err != nil {
		return at, nil, err
	}
	if !info.Dir && path.Ext(at.Name) != safetensors.Ext {
		return at, nil, nil
	}
	if !info.Dir {
		return at.Dir(), []string{at.Base()}, nil
	}
	entries, err := dir.List(ctx, ".")
	for _, e := range entries {
		switch {
		case e.Dir:
		case e.Name == layout.TreeFile:
			return at, nil, nil
		case path.Ext(e.Name) == safetensors.Ext:
			names = append(names, e.Name)
		}
	}
	return at, names, err
}

// openSafetensorsFile reads the header of a file.
func openSafetensorsFile(ctx context.Context, dir *ckdir.ReadDir, at storage.Location, name string) (*view.Dir, *safetensors.Header, error) {
	file, err := rawarray.Open(ctx, dir, at, name)
	if err != nil {
		return nil, nil, err
	}
	h, err := readSafetensors(ctx, file, name)
	return file, h, err
}

func readSafetensors(ctx context.Context, dir *view.Dir, name string) (*safetensors.Header, error) {
	f, err := dir.At.Store.Open(ctx, dir.At.Join(name).Name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return safetensors.ReadHeader(readerAt{ctx, f}, f.Size())
}

// readerAt makes an [io.ReaderAt] of a [storage.Reader].
type readerAt struct {
	ctx context.Context
	f   storage.Reader
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	if err := r.f.ReadAt(r.ctx, p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}
