package multihost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	_ "github.com/go-orbax/orbax/internal/testenv/fewchecks"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/zarr"
)

// tb is a testing.T or a rapid.T.
type tb interface {
	Context() context.Context
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drawArray draws an array of any dtype that a checkpoint can hold.
func drawArray(t *rapid.T, name string) *array.Array {
	shape := rapid.SliceOfN(rapid.SampledFrom([]int{4, 6, 8, 5, 3, 12, 7, 2, 1, 0}), 0, 3).Draw(t, name+" shape")
	n, err := array.NumElements(shape)
	must(t, err)
	d := array.DType(rapid.IntRange(int(array.Bool), int(array.Complex128)).Draw(t, name+" dtype"))
	small := make([]int8, n) // also for types that do not allow every bit pattern
	for i := range small {
		small[i] = int8((i*7+i/5)%4 - 2)
	}
	a, err := array.Of(small, shape...).Cast(d)
	must(t, err)
	if d >= array.Int8 && (d < array.Float4E2M1FN || d > array.Float8E8M0FNU) {
		for i := range a.Bytes() {
			a.Bytes()[i] = byte(i*131 + i>>8)
		}
	}
	return a
}

// drawSharding draws a mesh, and a spec for arrays of a shape. The axes split evenly if
// even is true.
func drawSharding(t *rapid.T, name string, shape []int, even bool) *sharding.Sharding {
	names := []string{"x", "y", "z"}[:rapid.IntRange(0, 3).Draw(t, name+" axes")]
	mesh := sharding.Mesh{AxisNames: names, Shape: make([]int, len(names))}
	devices := 1
	spec, parts := make(sharding.PartitionSpec, len(shape)), slices.Repeat([]int{1}, len(shape))
	for i, axis := range names {
		n := rapid.SampledFrom([]int{2, 1, 3, 4}).Draw(t, name+" size")
		mesh.Shape[i] = n
		devices *= n
		k := rapid.IntRange(-1, len(shape)-1).Draw(t, name+" entry")
		if k >= 0 && (!even || shape[k]%(parts[k]*n) == 0) {
			spec[k] = append(spec[k], axis)
			parts[k] *= n
		}
	}
	ids := make([]int, devices)
	for i := range ids {
		ids[i] = i
	}
	mesh.DeviceIDs = rapid.Permutation(ids).Draw(t, name+" devices")
	return sharding.Named(mesh, spec)
}

// A checkpoint of any sharding and chunks, loaded by any number of processes with any
// other sharding: each gets its shards of what a single process loads, with the same
// options.
func TestAnyTopologyToAny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx, in := t.Context(), orbax.In(mem.New())
		savers := rapid.SampledFrom([]int{1, 3, 2, 4}).Draw(t, "savers")
		key, err := array.PRNGKey("threefry2x32", array.Of([]uint32{1, 2, 3, 4, 5, 6, 7, 8}, 4, 2))
		must(t, err)
		state := map[string]any{"key": key, "n": 7}
		for _, name := range []string{"a", "b"} {
			a := drawArray(t, name)
			if rapid.Bool().Draw(t, "sharded") {
				a = a.WithSharding(drawSharding(t, name, a.Shape(), savers == 1))
			}
			state[name] = a
		}
		stored := handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ChunkByteSize: rapid.SampledFrom([]int{0, 16, 24, 60, 200}).Draw(t, "chunk")}}
		stored.Zarr2 = rapid.Bool().Draw(t, "zarr2")
		stored.PlainFiles = rapid.Bool().Draw(t, "files")
		if rapid.Bool().Draw(t, "zstd") {
			stored.Compression = zarr.Zstd(1)
		}
		saveAll(t, savers, "ckpt", state, orbax.Storage(stored), in)

		abstract := map[string]any{}
		options := []orbax.LoadOption{in}
		loose := rapid.Bool().Draw(t, "cast and pad")
		if loose {
			options = append(options, orbax.Cast(), orbax.PadOrTruncate())
		}
		for name, v := range state {
			want := array.ShapeDtypeStruct{DType: array.Int64}
			if a, ok := v.(*array.Array); ok {
				want = array.Abstract(a)
			}
			if loose && (name == "a" || name == "b") {
				want.DType = array.DType(rapid.IntRange(int(array.Bool), int(array.Complex128)).Draw(t, name+" wanted"))
				for i := range want.Shape {
					want.Shape[i] = rapid.IntRange(0, 2*want.Shape[i]+1).Draw(t, name+" length")
				}
			}
			want.Sharding = nil
			abstract[name] = want
		}
		v, err := orbax.LoadAbstract(ctx, "ckpt", abstract, options...)
		must(t, err)
		whole := v.(map[string]any)

		groups := coord.InProcess(rapid.IntRange(1, 8).Draw(t, "processes"))
		for name, v := range abstract {
			want := v.(array.ShapeDtypeStruct)
			want.Sharding = drawSharding(t, name+" target", want.Shape, false)
			abstract[name] = want
		}
		turn := rapid.IntRange(1, 7).Draw(t, "turn")
		for rank, group := range groups {
			together := multihost.Together{Group: group, Owner: func(device int) int { return (device*turn + device/3) % len(groups) }}
			v, err := orbax.LoadAbstract(ctx, "ckpt", abstract, append(options, together)...)
			must(t, err)
			made := v.(map[string]any)
			target := map[string]any{}
			for name, v := range made {
				a := v.(*array.Sharded)
				process := sharding.Process{Rank: rank, Size: len(groups), Owner: together.Owner}
				mine, err := array.AllocSharded(array.Abstract(a), process)
				must(t, err)
				if a.PRNGImpl() != "" {
					mine, err = mine.WithPRNGImpl(a.PRNGImpl())
					must(t, err)
				}
				for _, s := range mine.Shards() { // which the load overwrites
					for i := range s.Array.Bytes() {
						s.Array.Bytes()[i] = 1
					}
				}
				target[name] = mine
			}
			must(t, orbax.LoadInto(ctx, "ckpt", target, options...))
			for name := range made {
				checkShards(t, fmt.Sprintf("%s of process %d, made", name, rank), made[name], whole[name].(*array.Array), target[name])
				checkShards(t, fmt.Sprintf("%s of process %d, filled", name, rank), target[name], whole[name].(*array.Array), made[name])
			}
		}
	})
}

// saveAll saves a state as n processes do together, one of which saves it as it is.
func saveAll(t tb, n int, path string, state map[string]any, options ...orbax.SaveOption) {
	t.Helper()
	if n == 1 {
		must(t, orbax.Save(t.Context(), path, state, options...))
		return
	}
	owner := func(device int) int { return device * 5 % n }
	must(t, errors.Join(together(n, func(g *coord.Group) error {
		mine := map[string]any{}
		for name, v := range state {
			mine[name] = v
			a, ok := v.(*array.Array)
			if !ok || a.Sharding() == nil {
				continue
			}
			held, err := array.AllocSharded(array.Abstract(a), sharding.Process{Rank: g.Rank(), Size: n, Owner: owner})
			if err != nil {
				return err
			}
			for _, s := range held.Shards() {
				if err := a.ReadRegion(t.Context(), s.Array.Bytes(), s.Offset, s.Array.Shape()); err != nil {
					return err
				}
			}
			mine[name] = held
		}
		return orbax.Save(t.Context(), path, mine, append(options[:len(options):len(options)], multihost.Together{Group: g, Owner: owner})...)
	})...))
}

// checkShards checks that v has the elements of the whole array, and the same boxes as
// another.
func checkShards(t tb, name string, v any, whole *array.Array, other any) {
	t.Helper()
	a, same := v.(*array.Sharded), other.(*array.Sharded)
	if a.PRNGImpl() != whole.PRNGImpl() || a.DType() != whole.DType() || !slices.Equal(a.Shape(), whole.Shape()) || len(a.Shards()) != len(same.Shards()) {
		t.Fatalf("%s: %v, want the shards of %v like %v", name, a, whole, same)
	}
	for k, s := range a.Shards() {
		if !slices.Equal(s.Offset, same.Shards()[k].Offset) {
			t.Fatalf("%s: shard %d is at %v, and at %v", name, k, s.Offset, same.Shards()[k].Offset)
		}
		want := make([]byte, len(s.Array.Bytes()))
		must(t, whole.ReadRegion(t.Context(), want, s.Offset, s.Array.Shape()))
		if !bytes.Equal(s.Array.Bytes(), want) {
			t.Fatalf("%s: shard %v at %v is\n%x, want\n%x", name, s.Array, s.Offset, s.Array.Bytes(), want)
		}
	}
}
