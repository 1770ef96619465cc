package multihost_test

import (
	"context"
	"fmt"
	"os"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
)

// Two processes with one device each load an array in columns that was saved in rows.
func ExampleTogether_load() {
	ctx := context.Background()
	path, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(path)
	devices := func(n int, spec ...[]string) *sharding.Sharding {
		return sharding.Named(sharding.Mesh{Shape: []int{n}, AxisNames: []string{"d"}}, spec)
	}
	w := array.Of([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 4, 2).WithSharding(devices(4, []string{"d"}))
	if err := orbax.Save(ctx, path, map[string]any{"w": w}, orbax.Overwrite()); err != nil {
		fmt.Println(err)
		return
	}
	target := map[string]any{
		"w": array.ShapeDtypeStruct{DType: array.Float32, Shape: []int{4, 2}, Sharding: devices(2, nil, []string{"d"})},
	}
	for rank, group := range coord.InProcess(2) { // each would be a process of its own
		state, err := orbax.LoadAbstract(ctx, path, target, multihost.Together{Group: group})
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, shard := range state.(map[string]any)["w"].(*array.Sharded).Shards() {
			values, _ := array.Values[float32](shard.Array)
			fmt.Println("process", rank, "has", shard.Array, "at", shard.Offset, values)
		}
	}
	// Output:
	// process 0 has float32[4 1] at [0 0] [1 3 5 7]
	// process 1 has float32[4 1] at [0 1] [2 4 6 8]
}
