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

// What a save did is there to be logged: slog.Info("saved", "stats", stats).
func ExampleReport() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	embedding := array.Of(make([]float32, 1<<20), 1024, 1024)
	state := map[string]any{"embedding": embedding, "head": embedding} // tied: stored once
	var stats orbax.Stats
	if err := orbax.Save(context.Background(), filepath.Join(dir, "ckpt"), state, orbax.Report(&stats)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Arrays, "arrays of", stats.Bytes, "bytes, of which", stats.Shared, "were stored already")
	fmt.Println("wrote about", stats.Moved>>20, "MiB; took time:", stats.Elapsed > 0)
	// Output:
	// 2 arrays of 8388608 bytes, of which 4194304 were stored already
	// wrote about 4 MiB; took time: true
}

// A training loop that saves in the background keeps one SnapshotMemory: only the
// first save has to wait for memory.
func ExampleReuseSnapshot() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	ctx := context.Background()
	weights := make([]float32, 1000)
	table := array.Of([]int32{1, 2, 3}).Freeze() // never changes, never copied
	var memory orbax.SnapshotMemory
	var pending *orbax.AsyncResponse
	for step := range 3 {
		weights[0]++ // training
		if pending != nil {
			if err := pending.Result(ctx); err != nil {
				log.Fatal(err)
			}
		}
		state := map[string]any{"weights": weights, "table": table}
		var err error
		pending, err = orbax.SaveAsync(ctx, filepath.Join(dir, fmt.Sprint("step_", step)), state, orbax.ReuseSnapshot(&memory))
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := pending.Result(ctx); err != nil {
		log.Fatal(err)
	}
	last, err := orbax.LoadAs[map[string][]float32](ctx, filepath.Join(dir, "step_2"), orbax.Partial(), orbax.Select("weights"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(last["weights"][0])
	// Output: 3
}
