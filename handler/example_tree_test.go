package handler_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// Net is a model whose parameters are not exported.
type Net struct{ weight, bias []float32 }

// NetHandler stores a *Net as a pytree, which other programs can load. It inherits from
// PyTreeHandler every method that it does not define. In old checkpoints of the program
// the leaf "w" was called "kernel".
type NetHandler struct{ handler.PyTreeHandler }

func (NetHandler) Type() string            { return "example.com/net.Handler" }
func (NetHandler) CanSave(v any) bool      { _, ok := v.(*Net); return ok }
func (NetHandler) CanLoad(target any) bool { _, ok := target.(*Net); return ok }

func (h NetHandler) Save(ctx context.Context, v any, opts handler.SaveOptions) (handler.WriteFunc, error) {
	net, ok := v.(*Net)
	if !ok {
		return nil, fmt.Errorf("a %T is no *Net", v)
	}
	return h.PyTreeHandler.Save(ctx, map[string]any{"w": net.weight, "b": net.bias}, opts)
}

// OpenTree gives the leaves their present names.
func (h NetHandler) OpenTree(ctx context.Context, dir *handler.ReadDir, opts handler.OpenOptions) (*view.Tree, error) {
	t, err := h.PyTreeHandler.OpenTree(ctx, dir, opts)
	if err != nil {
		return nil, err
	}
	var leaves []*view.Leaf
	for name, leaf := range t.Leaves() {
		if name == "kernel" {
			leaf = leaf.At(tree.Path{{Name: "w"}})
		}
		leaves = append(leaves, leaf)
	}
	return view.New(t.Metadata().Format, leaves), nil
}

// Load fills a *Net, or returns a new one if there is no target. LoadTree applies options
// such as Select.
func (h NetHandler) Load(ctx context.Context, dir *handler.ReadDir, target any, opts handler.LoadOptions) (any, error) {
	net, ok := target.(*Net)
	if !ok {
		return handler.LoadTree(ctx, h, dir, target, opts)
	}
	params := struct {
		W []float32 `orbax:"w"`
		B []float32 `orbax:"b"`
	}{}
	_, err := handler.LoadTree(ctx, h, dir, &params, opts)
	if err == nil {
		net.weight, net.bias = params.W, params.B
	}
	return net, err
}

func (h NetHandler) Metadata(ctx context.Context, dir *handler.ReadDir) (any, error) {
	return handler.TreeMetadata(ctx, h, dir)
}

// NetHandler has most of its methods from PyTreeHandler. Operations on the tree instead
// of the *Net work as for any pytree: Select, Transform, Metadata, Tree, Hash, Diff,
// Verify and partial saves.
func ExampleTreeHandler() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")

	var r handler.Registry
	r.Add(NetHandler{})
	if err := orbax.Save(ctx, path, &Net{[]float32{1, 2}, []float32{3}}, orbax.Handlers(&r)); err != nil {
		log.Fatal(err)
	}
	var net Net
	if err := orbax.LoadInto(ctx, path, &net, orbax.Handlers(&r)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(net.weight, net.bias)

	part, err := orbax.Load(ctx, path, orbax.Handlers(&r), orbax.Select("w"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(part.(map[string]any)["w"].(*array.Array))
	m, err := orbax.Metadata(ctx, path, orbax.Handlers(&r))
	if err != nil {
		log.Fatal(err)
	}
	for _, leaf := range m.Tree.Leaves {
		fmt.Println(leaf.Path, leaf.DType, leaf.Shape)
	}
	// Output:
	// [1 2] [3]
	// float32[2]
	// b float32 [1]
	// w float32 [2]
}
