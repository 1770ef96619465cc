package orbax_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// Every way to read fails when the context has ended and when the checkpoint is closed,
// wherever the values are: in files, in the documents, or in memory already.
func TestEveryReadAfterClose(t *testing.T) {
	state := map[string]any{
		"large": make([]float32, 1<<16), "small": []int32{1, 2, 3}, "none": [][]int8{}, "scalar": 7, "text": "x",
		"bytes": []byte("abc"), "empty": map[string]any{},
	}
	for name, storage := range map[string]handler.StorageOptions{
		"database": {}, "database of zarr2": {Zarr2: true}, "files": {PlainFiles: true}, "files of zarr2": {PlainFiles: true, Zarr2: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ck")
			if err := orbax.Save(t.Context(), path, state, orbax.Storage(storage)); err != nil {
				t.Fatal(err)
			}
			ck, err := orbax.Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			checkReads(t, ck)
		})
	}
	for _, layout := range smallLayouts {
		t.Run(layout[0]+" "+filepath.Base(layout[1]), func(t *testing.T) {
			ck, err := orbax.Open(t.Context(), layout[1], orbax.In(storage.FS(unzip(t, layout[0]))))
			if err != nil {
				t.Fatal(err)
			}
			checkReads(t, ck)
		})
	}
}

// checkReads reads with a context that has ended, and after it has closed the checkpoint.
func checkReads(t *testing.T, ck *orbax.Checkpoint) {
	t.Helper()
	opened, err := ck.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lazy, err := opened.Lazy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := view.Of(lazy)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	check := func(ctx context.Context, want error) {
		t.Helper()
		for way, read := range treeReads {
			if err := read(ctx, opened); !errors.Is(err, want) {
				t.Errorf("%s of the tree: %v, want %v", way, err, want)
			}
		}
		if _, err := ck.Load(ctx); !errors.Is(err, want) {
			t.Errorf("Load of the checkpoint: %v, want %v", err, want)
		}
		for name, l := range opened.Leaves() {
			if l.Metadata().Err != nil {
				continue
			}
			checkLeafReads(t, ctx, name, l, want)
		}
		for name, l := range again.Leaves() { // those that are arrays are read as they are wanted
			if l.Metadata().Kind == tree.KindArray {
				if _, err := l.Load(ctx); !errors.Is(err, want) {
					t.Errorf("%s, which is read in parts: %v, want %v", name, err, want)
				}
			}
		}
	}
	check(ended, context.Canceled)
	if err := ck.Close(); err != nil {
		t.Fatal(err)
	}
	check(t.Context(), fs.ErrClosed)
}

// treeReads are the ways to read a tree.
var treeReads = map[string]func(context.Context, *view.Tree) error{
	"Load": func(ctx context.Context, t *view.Tree) error {
		_, err := t.Load(ctx)
		return err
	},
	"Lazy": func(ctx context.Context, t *view.Tree) error {
		_, err := t.Lazy(ctx)
		return err
	},
	"LoadAbstract": func(ctx context.Context, t *view.Tree) error {
		abstract, err := t.Metadata().Abstract()
		if err != nil {
			return err
		}
		_, err = t.LoadAbstract(ctx, abstract, tree.BindOptions{})
		return err
	},
	"LoadInto": func(ctx context.Context, t *view.Tree) error {
		var target any
		return t.LoadInto(ctx, &target, tree.BindOptions{})
	},
	"Select": func(ctx context.Context, t *view.Tree) error {
		_, err := t.Select(func(*view.LeafMetadata) bool { return true }).Load(ctx)
		return err
	},
	"Hash": func(ctx context.Context, t *view.Tree) error {
		_, _, err := t.Hash(ctx)
		return err
	},
	"Verify": func(ctx context.Context, t *view.Tree) error { return errors.Join(t.Verify(ctx)...) },
	"Diff": func(ctx context.Context, t *view.Tree) error {
		_, err := view.Diff(ctx, t, t, view.DiffOptions{})
		return err
	},
	"CopyTo": func(ctx context.Context, t *view.Tree) error {
		return t.CopyTo(ctx, io.NewOffsetWriter(nil, 0), func(*view.LeafMetadata) (int64, bool) { return 0, false })
	},
}

// checkLeafReads reads a leaf by every way, and those that are made of it.
func checkLeafReads(t *testing.T, ctx context.Context, name string, l *view.Leaf, want error) {
	t.Helper()
	made := map[string]*view.Leaf{"it": l, "it at another path": l.At(tree.Path{{Name: "other"}})}
	add := func(how string, l *view.Leaf, err error) {
		if err != nil {
			t.Fatalf("%s, %s: %v", name, how, err)
		}
		made[how] = l
	}
	if m := l.Metadata(); m.DType != array.Invalid && m.PRNGImpl == "" {
		to := array.Float64
		if m.DType == to {
			to = array.Float32
		}
		if !m.DType.IsComplex() {
			cast, err := l.Cast(to)
			add("cast", cast, err)
		}
		if len(m.Shape) > 0 {
			none, err := l.Slice(0, 0, 0, 1)
			add("nothing of it", none, err)
			joined, err := view.Concat(m.Path, 0, none, none)
			add("joined", joined, err)
		}
		computed, err := view.Compute(m.Path, m.DType, []int{0}, func(context.Context, []*array.Array) (*array.Array, error) {
			return array.New(m.DType, []int{0}, nil)
		}, l)
		add("computed", computed, err)
	}
	for how, l := range made {
		_, err := l.Load(ctx)
		if leaf, ok := errors.AsType[*orbax.LeafError](err); !errors.Is(err, want) || !ok || leaf.Path == "" && name != "" {
			t.Errorf("Load of %s, %s: %v, want %v", name, how, err, want)
		}
		if l.DType() == array.Invalid {
			continue
		}
		shape := l.Shape()
		if _, err := l.Region(ctx, make([]int, len(shape)), make([]int, len(shape))); !errors.Is(err, want) {
			t.Errorf("Region of %s, %s: %v, want %v", name, how, err, want)
		}
	}
}
