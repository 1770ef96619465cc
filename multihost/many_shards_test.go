package multihost_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/sharding"
)

// allocations returns how many times f allocates memory.
func allocations(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs)
}

// The work of a save, and of a load, is in proportion to the number of shards that the
// process holds. Work is counted in allocations: a comparison of a shard with a chunk
// makes some.
func TestManyShardsOfOneProcess(t *testing.T) {
	for name, of := range map[string]func(n int) (m sharding.Mesh, shape []int, spec sharding.PartitionSpec){
		"rows": func(n int) (sharding.Mesh, []int, sharding.PartitionSpec) {
			return mesh(n, 1), []int{2 * n, 1}, sharding.PartitionSpec{{"x"}}
		},
		"columns": func(n int) (sharding.Mesh, []int, sharding.PartitionSpec) {
			return mesh(1, n), []int{1, 2 * n}, sharding.PartitionSpec{nil, {"y"}}
		},
		"grid": func(n int) (sharding.Mesh, []int, sharding.PartitionSpec) {
			return mesh(n/8, 8), []int{n / 8, 16}, sharding.PartitionSpec{{"x"}, {"y"}}
		},
		"one axis by two": func(n int) (sharding.Mesh, []int, sharding.PartitionSpec) {
			return mesh(n/8, 8), []int{2 * n}, sharding.PartitionSpec{{"y", "x"}}
		},
	} {
		for _, step := range []int{1, 2} { // the process loads the shards of every step-th device
			t.Run(fmt.Sprintf("%s/%d", name, step), func(t *testing.T) {
				measure := func(n int) (saves, loads float64) {
					m, shape, spec := of(n)
					alloc := func(step int) *array.Sharded {
						a, err := array.AllocSharded(array.ShapeDtypeStruct{Shape: shape, DType: array.Float32, Sharding: sharding.Named(m, spec)},
							sharding.Process{Size: 2, Owner: func(device int) int { return min(1, device%step) }})
						must(t, err)
						if len(a.Shards()) != n/step {
							t.Fatalf("%d shards, want %d", len(a.Shards()), n/step)
						}
						return a
					}
					whole, some := alloc(1), alloc(step)
					path := filepath.Join(t.TempDir(), "ckpt")
					saves = allocations(func() { must(t, orbax.Save(t.Context(), path, map[string]any{"w": whole})) })
					loads = allocations(func() { must(t, orbax.LoadInto(t.Context(), path, map[string]any{"w": some})) })
					t.Logf("%d shards: %.0f allocations for each by a save, %.0f by a load", n, saves/float64(n), loads/float64(n))
					return saves, loads
				}
				const few, many = 256, 2048
				saves, loads := measure(few)
				if s, l := measure(many); s > 2*saves*many/few || l > 2*loads*many/few {
					t.Errorf("%d shards take %.0f times the work of %d to save, and %.0f times to load", many, s/saves, few, l/loads)
				}
			})
		}
	}
}
