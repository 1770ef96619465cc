package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/zarr"
)

type Dense struct {
	Kernel *array.Array `orbax:"kernel"`
	Bias   []float32    `orbax:"bias"`
}

type TrainState struct {
	Params map[string]*Dense `orbax:"params"`
	Step   int               `orbax:"step"`
}

func newState() *TrainState {
	return &TrainState{
		Params: map[string]*Dense{
			"dense": {Kernel: array.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3), Bias: []float32{0, 0, 0}},
		},
		Step: 100,
	}
}

// tempDir returns a directory for an example's checkpoints.
func tempDir() string {
	dir, err := os.MkdirTemp("", "orbax-example-")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

func Example() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "step_100")

	if err := orbax.Save(ctx, path, newState()); err != nil {
		log.Fatal(err)
	}
	state, err := orbax.LoadAs[TrainState](ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(state.Step, state.Params["dense"].Kernel)
	// Output: 100 float32[2 3]
}

// A training loop saves in the background and asks for the result before the
// next save.
func ExampleSaveAsync() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)

	state := newState()
	var pending *orbax.AsyncResponse
	for range 3 {
		state.Step++ // train
		if pending != nil {
			if err := pending.Result(ctx); err != nil {
				log.Fatal(err)
			}
		}
		var err error
		pending, err = orbax.SaveAsync(ctx, filepath.Join(dir, fmt.Sprint(state.Step)), state)
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := pending.Result(ctx); err != nil {
		log.Fatal(err)
	}
	last, err := orbax.LoadAs[TrainState](ctx, filepath.Join(dir, "103"))
	fmt.Println(last.Step, err)
	// Output: 103 <nil>
}

// Without a target a checkpoint comes back as nested maps.
func ExampleLoad() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")
	if err := orbax.Save(ctx, path, newState()); err != nil {
		log.Fatal(err)
	}
	v, err := orbax.Load(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	state := v.(map[string]any)
	dense := state["params"].(map[string]any)["dense"].(map[string]any)
	kernel, err := array.Values[float32](dense["kernel"].(*array.Array))
	fmt.Println(state["step"], kernel, err)
	// Output: 100 [1 2 3 4 5 6] <nil>
}

// A load whose target does not fit names every mismatch.
func ExampleError() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")
	if err := orbax.Save(ctx, path, newState()); err != nil {
		log.Fatal(err)
	}
	var target struct {
		Params map[string]*Dense `orbax:"params"`
		Step   string            `orbax:"step"`
		Seed   int               `orbax:"seed"`
	}
	err := orbax.LoadInto(ctx, path, &target)
	var e *orbax.Error
	if errors.As(err, &e) {
		for _, leaf := range e.Leaves() {
			fmt.Println(leaf)
		}
	}
	fmt.Println(errors.Is(err, orbax.ErrStructure), errors.Is(err, fs.ErrNotExist))
	// Output:
	// leaf seed: structure mismatch: missing key: the checkpoint has nothing here, the target is int; transform.Default gives it a value
	// leaf step: structure mismatch: the checkpoint has a scalar int64, the target is string
	// true false
}

// Overwriting keeps the old checkpoint until the new one is durable.
func ExampleOverwrite() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "latest")
	for step := range 3 {
		state := newState()
		state.Step = step
		if err := orbax.Save(ctx, path, state, orbax.Overwrite()); err != nil {
			log.Fatal(err)
		}
	}
	err := orbax.Save(ctx, path, newState())
	fmt.Println(errors.Is(err, orbax.ErrExist))
	// Output: true
}

// Several parts of different kinds in one checkpoint.
func ExampleSaveCheckpointables() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")
	err := orbax.SaveCheckpointables(ctx, path, map[string]any{
		"model":  newState().Params,
		"config": handler.JSON{Value: map[string]any{"layers": 1, "name": "mlp"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	var config struct {
		Layers int
		Name   string
	}
	_, err = orbax.LoadCheckpointables(ctx, path, map[string]any{
		"config": handler.JSON{Value: &config},
	})
	fmt.Println(config, err)
	// Output: {1 mlp} <nil>
}

func ExampleMetadata() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")
	err := orbax.Save(ctx, path, newState(), orbax.CustomMetadata(map[string]any{"run": "a1"}))
	if err != nil {
		log.Fatal(err)
	}
	meta, err := orbax.Metadata(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	for _, leaf := range meta.Tree.Leaves {
		fmt.Println(leaf.Path, leaf.DType, leaf.Shape)
	}
	fmt.Println(meta.Custom)
	// Output:
	// params.dense.bias float32 [3]
	// params.dense.kernel float32 [2 3]
	// step int64 []
	// map[run:a1]
}

// Weights are stored as bfloat16, compressed, optimizer state as it is.
func ExampleStorage() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")
	err := orbax.Save(ctx, path, newState(), orbax.Storage(handler.StorageOptions{
		ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(3)},
		PerLeaf: func(_ string, a array.ShapeDtypeStruct, o handler.ArrayOptions) handler.ArrayOptions {
			if a.DType == array.Float32 && len(a.Shape) == 2 { // matrices
				o.DType = array.BFloat16
			}
			return o
		},
	}))
	if err != nil {
		log.Fatal(err)
	}
	meta, err := orbax.Metadata(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	for _, leaf := range meta.Tree.Leaves[:2] {
		fmt.Println(leaf.Path, leaf.DType, leaf.Codecs)
	}
	// Output:
	// params.dense.bias float32 bytes(little) + zstd
	// params.dense.kernel bfloat16 bytes(little) + zstd
}

// A handle for several calls: what is in a checkpoint, then one part of it.
func ExampleOpen() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")
	err := orbax.SaveCheckpointables(ctx, path, map[string]any{
		"model": newState().Params, "step": 100,
	})
	if err != nil {
		log.Fatal(err)
	}
	ck, err := orbax.Open(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	defer ck.Close()
	fmt.Println(ck.Names())
	// Of a pytree single leaves, and parts of them, can be read.
	model, err := ck.Tree(ctx, orbax.Name("model"))
	if err != nil {
		log.Fatal(err)
	}
	kernel, err := model.Leaf("dense.kernel")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(kernel.Load(ctx))
	row, err := kernel.Region(ctx, []int{1, 0}, []int{1, 3})
	fmt.Println(row, err)
	// Output:
	// [model step]
	// float32[2 3] <nil>
	// float32[1 3] <nil>
}

// Verify finds every damaged file.
func ExampleVerify() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")
	if err := orbax.Save(ctx, path, newState()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(orbax.Verify(ctx, path))

	// Damage the file that lists the leaves.
	if err := os.WriteFile(filepath.Join(path, "state", "_METADATA"), []byte("{}"), 0o666); err != nil {
		log.Fatal(err)
	}
	err := orbax.Verify(ctx, path)
	fmt.Println(errors.Is(err, orbax.ErrCorrupt))
	var e *orbax.Error
	if errors.As(err, &e) {
		fmt.Println(e.Problems()[0])
	}
	// Output:
	// <nil>
	// true
	// corrupt data: state/_METADATA differs from its digest in digests.sha256
}

// matrix stands for a tensor of another package.
type matrix struct {
	rows, cols int
	values     []float64
}

// With an adapter tensors of another package are leaves like any other.
func ExampleAdapters() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")
	matrices := orbax.Adapters(tree.NewAdapter(
		func(m *matrix) (*array.Array, error) { return array.Of(m.values, m.rows, m.cols), nil },
		func(a *array.Array, _ *matrix) (*matrix, error) {
			values, err := array.Values[float64](a)
			if err != nil {
				return nil, err
			}
			return &matrix{a.Shape()[0], a.Shape()[1], values}, nil
		},
	))
	state := map[string]*matrix{"w": {2, 2, []float64{1, 2, 3, 4}}}
	if err := orbax.Save(ctx, path, state, matrices); err != nil {
		log.Fatal(err)
	}
	loaded, err := orbax.LoadAs[map[string]*matrix](ctx, path, matrices)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*loaded["w"])
	// Output: {2 2 [1 2 3 4]}
}
