package transform_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/transform"
)

// This example turns a checkpoint of stacked layers into one of separate layers: first as
// a plan, then on disk, read chunk by chunk while it is written.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "orbax-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	old := map[string]any{
		"params":    map[string]any{"layers": map[string]any{"kernel": array.Of([]float32{1, 2, 3, 4}, 2, 1, 2)}},
		"opt_state": []float32{5, 6},
		"step":      100,
	}
	if err := orbax.Save(ctx, filepath.Join(dir, "old"), old); err != nil {
		log.Fatal(err)
	}

	ck, err := orbax.Open(ctx, filepath.Join(dir, "old"))
	if err != nil {
		log.Fatal(err)
	}
	defer ck.Close()
	t, err := ck.Tree(ctx)
	if err != nil {
		log.Fatal(err)
	}
	plan, err := transform.Compile(t, nil,
		transform.Unstack("params.layers", 0, "blocks[%d]"),
		transform.Each("blocks.*.kernel", func(x transform.Expr) transform.Expr {
			return x.Transpose().Cast(array.BFloat16)
		}),
		transform.Drop("opt_state"),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(plan)

	lazy, err := plan.Tree().Lazy(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := orbax.Save(ctx, filepath.Join(dir, "new"), lazy); err != nil {
		log.Fatal(err)
	}
	// Output:
	// LEAF             FROM                                                          STORED AS       BECOMES        BYTES
	// blocks.0.kernel  params.layers.kernel | index 0 0 | transpose | cast bfloat16  float32[2 1 2]  bfloat16[2 1]  4
	// blocks.1.kernel  params.layers.kernel | index 0 1 | transpose | cast bfloat16  float32[2 1 2]  bfloat16[2 1]  4
	// step             =                                                             int64           int64          8
	// opt_state        =                                                             float32[2]      dropped        0
	// 3 leaves of 16 bytes, 1 of them as they are; 1 dropped
}
