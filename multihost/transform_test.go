package multihost_test

import (
	"context"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/transform"
)

// drawExpr draws an expression over the leaves a and b, which have the given shape.
func drawExpr(t *rapid.T, shape ...int) transform.Expr {
	x := transform.Leaf("a")
	for range rapid.IntRange(0, 4).Draw(t, "steps") {
		switch rapid.IntRange(0, 4).Draw(t, "step") {
		case 0:
			x = x.Transpose()
			slices.Reverse(shape)
		case 1:
			n := rapid.IntRange(0, shape[0]).Draw(t, "n")
			x = transform.Concat(0, x, x.Slice(0, 0, n, 1))
			shape[0] += n
		case 2:
			last := len(shape) - 1
			start, step := rapid.IntRange(0, shape[last]).Draw(t, "start"), rapid.IntRange(1, 2).Draw(t, "by")
			x = x.Slice(last, start, shape[last], step)
			shape[last] = (shape[last] - start + step - 1) / step
		case 3:
			x = x.Cast(array.Float64)
		case 4:
			x = transform.Stack(1, x, x)
			shape = slices.Insert(shape, 1, 2)
		}
	}
	return x
}

// Shards of leaves that a transformation makes are those of the whole leaves that it
// makes.
func TestTransformedShards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx, in := t.Context(), orbax.In(mem.New())
		a, b := count(4, 6), count(4, 6)
		clear(b.Bytes()[:40])
		chunk := rapid.SampledFrom([]int{8, 24, 48, 0}).Draw(t, "chunk")
		must(t, orbax.Save(ctx, "ckpt", map[string]any{"a": a, "b": b}, in, orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ChunkByteSize: chunk}})))
		rules := []transform.Rule{
			transform.Set("made", drawExpr(t, 4, 6)),
			transform.Set("sum", transform.Func(array.Float32, []int{4, 6}, func(_ context.Context, args []*array.Array) (*array.Array, error) {
				sum := count(4, 6)
				x, err := array.Values[float32](args[0])
				to, _ := array.Values[float32](sum)
				for i := range x {
					to[i] += x[i]
				}
				return sum, err
			}, transform.Leaf("b"))),
		}
		v, err := orbax.Load(ctx, "ckpt", in, orbax.Transform(rules...))
		must(t, err)
		whole := v.(map[string]any)
		target := map[string]any{}
		for name, v := range whole {
			want := array.Abstract(v.(*array.Array))
			want.Sharding = drawSharding(t, name, want.Shape, false)
			target[name] = want
		}
		groups := coord.InProcess(rapid.IntRange(1, 5).Draw(t, "processes"))
		for _, group := range groups {
			owner := func(device int) int { return device % len(groups) }
			v, err := orbax.LoadAbstract(ctx, "ckpt", target, in, orbax.Transform(rules...), multihost.Together{Group: group, Owner: owner})
			must(t, err)
			for name, got := range v.(map[string]any) {
				checkShards(t, name, got, whole[name].(*array.Array), got)
			}
		}
	})
}
