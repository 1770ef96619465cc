package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// openSafetensors opens a safetensors file, or all those in a directory, as one
// tree: a dict of the tensors by their names. It returns nil if there is none, or
// if the directory is a pytree of Orbax's.
func openSafetensors(ctx context.Context, dir *ReadDir) (*view.Tree, error) {
	if dir.name != "" {
		return nil, nil
	}
	at, names, err := safetensorsNames(ctx, dir)
	if len(names) == 0 || err != nil {
		return nil, err
	}
	var leaves []*view.Leaf
	fileOf := map[string]string{}
	custom := map[string]string{}
	for _, name := range names {
		file, h, err := openSafetensorsFile(ctx, dir, at, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		maps.Copy(custom, h.Metadata)
		for _, t := range h.Tensors {
			if other, taken := fileOf[t.Name]; taken {
				return nil, &fault.Leaf{Path: t.Name, Err: fmt.Errorf("%w: %s and %s both have it", fault.ErrKeyCollision, other, name)}
			}
			fileOf[t.Name] = name
			leaf, err := view.NewArray(view.LeafMetadata{
				Path: tree.Path{{Name: t.Name}}, Kind: tree.KindArray, ValueType: string(layout.NumPyArray),
				DType: t.DType, Shape: t.Shape, Bytes: t.Length, StoredBytes: t.Length, Codecs: "raw",
			}, &rawArray{rawForm: rawForm{t.DType}, shape: t.Shape, dir: file, file: name, at: t.Offset, length: t.Length})
			if err != nil {
				return nil, &fault.Leaf{Path: t.Name, Err: err}
			}
			leaves = append(leaves, leaf)
		}
	}
	if at == dir.path() { // and not a single file
		if err := checkSafetensorsIndex(ctx, dir, fileOf); err != nil {
			return nil, err
		}
	}
	return view.New("safetensors", leaves).WithCustom(custom), nil
}

// safetensorsNames returns the names of the files, and the directory that they
// are in.
func safetensorsNames(ctx context.Context, dir *ReadDir) (at string, names []string, err error) {
	info, err := dir.store.Stat(ctx, dir.path())
	if err != nil {
		return "", nil, err
	}
	if !info.Dir && path.Ext(dir.path()) != safetensors.Ext {
		return "", nil, nil
	}
	if !info.Dir {
		return path.Dir(dir.path()), []string{path.Base(dir.path())}, nil
	}
	entries, err := dir.List(ctx, ".")
	for _, e := range entries {
		switch {
		case e.Dir:
		case e.Name == layout.TreeFile:
			return "", nil, nil
		case path.Ext(e.Name) == safetensors.Ext:
			names = append(names, e.Name)
		}
	}
	return dir.path(), names, err
}

// openSafetensorsFile reads the header of a file.
func openSafetensorsFile(ctx context.Context, dir *ReadDir, at, name string) (*view.Dir, *safetensors.Header, error) {
	file, err := dir.plainFile(ctx, at, name)
	if err != nil {
		return nil, nil, err
	}
	h, err := readSafetensors(ctx, file, name)
	return file, h, err
}

// checkSafetensorsIndex compares the tensors with those that an index in the
// directory tells of, if it has one: a file that is missing would take its
// tensors away, and nothing else would show it.
func checkSafetensorsIndex(ctx context.Context, dir *ReadDir, fileOf map[string]string) error {
	entries, err := dir.List(ctx, ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Dir || !strings.HasSuffix(e.Name, safetensors.Ext+".index.json") {
			continue
		}
		doc, err := dir.ReadFile(ctx, e.Name)
		if err != nil {
			return err
		}
		var index struct {
			WeightMap map[string]string `json:"weight_map"`
		}
		if err := json.Unmarshal(doc, &index); err != nil {
			return fmt.Errorf("%w: %s: %v", fault.ErrCorrupt, e.Name, err)
		}
		for _, name := range slices.Sorted(maps.Keys(index.WeightMap)) {
			if want := index.WeightMap[name]; fileOf[name] != want {
				return &fault.Leaf{Path: name, Err: fmt.Errorf("%w: %s says that it is in %s, which is missing or does not have it; to read one of the files give its path",
					fault.ErrCorrupt, e.Name, want)}
			}
		}
	}
	return nil
}

func readSafetensors(ctx context.Context, dir *view.Dir, name string) (*safetensors.Header, error) {
	f, err := dir.Store.Open(ctx, path.Join(dir.Path, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return safetensors.ReadHeader(readerAt{ctx, f}, f.Size())
}

// readerAt is a storage.Reader as an io.ReaderAt.
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
