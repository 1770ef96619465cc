package orbax_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

// saveModel saves a model of two layers and returns its path.
func saveModel(dir string) string {
	path := filepath.Join(dir, "model")
	layer := func(x float32) *array.Array {
		weights := make([]float32, 256*1024)
		for i := range weights {
			weights[i] = x
		}
		return array.Of(weights, 256, 1024)
	}
	if err := orbax.Save(context.Background(), path, map[string]any{"first": layer(1), "second": layer(2)}); err != nil {
		log.Fatal(err)
	}
	return path
}

// Load a model without copying it.
func ExampleMapped() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := saveModel(dir)

	ck, err := orbax.Open(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	defer ck.Close() // the arrays are valid until then
	state, err := ck.Load(ctx, orbax.Mapped())
	if err != nil {
		log.Fatal(err)
	}
	weights, err := array.Values[float32](state.(map[string]any)["second"].(*array.Array))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(weights), weights[0])
	weights[0] = 3 // in this program's memory alone
	// Output:
	// 262144 2
}

// Verify only what is used of a large model.
func ExampleCheckpoint_VerifyMapped() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := saveModel(dir)

	ck, err := orbax.Open(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	defer ck.Close()
	state, err := ck.Load(ctx, orbax.MappedUnverified())
	if err != nil {
		log.Fatal(err)
	}
	first := state.(map[string]any)["first"].(*array.Array)
	if err := ck.VerifyMapped(ctx, first); err != nil {
		log.Fatal(err) // it names the leaf that is damaged
	}
	fmt.Println(first)
	// Output:
	// float32[256 1024]
}
