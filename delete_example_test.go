package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-orbax/orbax"
)

func ExampleDelete() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	path := filepath.Join(dir, "step_100")
	err = orbax.SaveCheckpointables(ctx, path, map[string]any{
		"params":    map[string]any{"w": []float32{1, 2}},
		"optimizer": map[string]any{"mu": []float32{0, 0}},
	})
	if err != nil {
		log.Fatal(err)
	}

	// The optimizer's state is no longer needed.
	if err := orbax.Delete(ctx, path, orbax.Name("optimizer")); err != nil {
		log.Fatal(err)
	}
	rest, err := orbax.LoadCheckpointables(ctx, path, nil)
	fmt.Println(len(rest), err)

	// Nor is the rest. That it may be gone already is fine.
	if err := orbax.Delete(ctx, path, orbax.MissingOK()); err != nil {
		log.Fatal(err)
	}
	_, err = orbax.Load(ctx, path)
	fmt.Println(errors.Is(err, orbax.ErrNotExist))
	// Output:
	// 1 <nil>
	// true
}
