package handler

import (
	"context"
	"fmt"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

const safetensorsExt = ".safetensors"

// openSafetensors opens a safetensors file, or all those in a directory, as one
// tree: a dict of the tensors by their names. It returns nil if there is none.
func openSafetensors(ctx context.Context, dir *ReadDir) (*view.Tree, error) {
	files := &view.Dir{Store: dir.store, Path: dir.path(), Unchanged: dir.unchanged}
	info, err := dir.store.Stat(ctx, files.Path)
	if err != nil {
		return nil, err
	}
	var names []string
	if !info.Dir {
		names = []string{path.Base(files.Path)}
		files.Path = path.Dir(files.Path)
	} else {
		entries, err := dir.store.List(ctx, files.Path)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.Dir && path.Ext(e.Name) == safetensorsExt {
				names = append(names, e.Name)
			}
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	var leaves []*view.Leaf
	fileOf := map[string]string{}
	custom := map[string]string{}
	for _, name := range names {
		h, err := readSafetensors(ctx, files, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for k, v := range h.Metadata {
			custom[k] = v
		}
		for _, t := range h.Tensors {
			if other, taken := fileOf[t.Name]; taken {
				return nil, &fault.Leaf{Path: t.Name, Err: fmt.Errorf("%w: %s and %s both have it", fault.ErrKeyCollision, other, name)}
			}
			fileOf[t.Name] = name
			leaf, err := view.NewArray(view.LeafMetadata{
				Path: tree.Path{{Name: t.Name}}, Kind: tree.KindArray, ValueType: string(layout.NumPyArray),
				DType: t.DType, Shape: t.Shape, Bytes: t.Length, StoredBytes: t.Length, Codecs: "raw",
			}, &rawArray{rawForm: rawForm{t.DType}, shape: t.Shape, dir: files, file: name, at: t.Offset, length: t.Length})
			if err != nil {
				return nil, &fault.Leaf{Path: t.Name, Err: err}
			}
			leaves = append(leaves, leaf)
		}
	}
	t := view.New("safetensors", leaves)
	t.SetCustom(custom)
	return t, nil
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

// rawArray is an array whose elements lie in a file as they are.
type rawArray struct {
	rawForm
	shape      []int
	dir        *view.Dir
	file       string
	at, length int64
}

// Parts returns runs of the array that overlap the box.
func (a *rawArray) Parts(_ context.Context, off, size []int) ([]view.Part, error) {
	if a.length == 0 {
		return nil, nil
	}
	whole := view.Part{
		Offset: make([]int, len(a.shape)), Size: a.shape,
		Dir: a.dir, File: a.file, At: a.at, Length: a.length,
	}
	return a.pieces(nil, whole, a.shape, off, size), nil
}
