package training_test

import (
	"context"
	"fmt"
	"os"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
	"github.com/go-orbax/orbax/transform"
)

// The state has got a field, and lost one, since the run began.
func ExampleCheckpointer_Resume_changed() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "run")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(root)
	checkpoints, err := training.New(ctx, root, training.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checkpoints.Close()
	if _, err := checkpoints.Save(ctx, 1, map[string]any{"w": []float32{1, 2}, "old": 3}); err != nil {
		fmt.Println(err)
		return
	}
	var state struct {
		W   []float32 `orbax:"w"`
		EMA float64   `orbax:"ema"`
	}
	step, err := checkpoints.Resume(ctx, &state, orbax.Transform(transform.Default("ema", 0.999)), orbax.Partial())
	fmt.Println(step, state, err)
	// Output: 1 {[1 2] 0.999} <nil>
}
