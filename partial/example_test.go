package partial_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
)

// A program saves a model layer by layer, as its layers become ready.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "orbax-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model")
	for i := range 3 {
		layer := map[string]any{fmt.Sprint("layer", i): map[string]any{"w": []float32{float32(i)}}}
		if err := partial.Save(ctx, path, layer); err != nil {
			log.Fatal(err)
		}
	}
	session, err := partial.Open(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	for _, part := range session.Parts {
		fmt.Println(part.Keys)
	}
	if err := partial.Finalize(ctx, path); err != nil {
		log.Fatal(err)
	}
	state, err := orbax.Load(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(state.(map[string]any)), "layers")
	// Output:
	// [layer0.w]
	// [layer1.w]
	// [layer2.w]
	// 3 layers
}
