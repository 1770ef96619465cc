package convert

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
)

// TestCountLost compares the counts with a comparison of the elements one by one.
func TestCountLost(t *testing.T) {
	ints := []array.DType{array.Int4, array.Int8, array.Uint8, array.Int16, array.Uint32, array.Int64, array.Uint64}
	floats := []array.DType{array.Float64, array.Float32, array.Float16, array.BFloat16, array.Float8E5M2}
	rapid.Check(t, func(t *rapid.T) {
		var src *array.Array
		types := floats
		n := rapid.IntRange(0, 3*lostBlock).Draw(t, "n")
		if rapid.Bool().Draw(t, "ints") {
			types = ints
			v := make([]int64, n)
			step := rapid.Int64().Draw(t, "step")
			for i := range v {
				v[i] = int64(i%97) * step
			}
			src = array.Of(v, n)
		} else {
			v := make([]float64, n)
			step := rapid.Float64().Draw(t, "step")
			for i := range v {
				v[i] = math.Pow(step, float64(i%5))
			}
			src = array.Of(v, n)
		}
		from, to := rapid.SampledFrom(types).Draw(t, "from"), rapid.SampledFrom(types).Draw(t, "to")
		a, err := src.Cast(from)
		if err != nil {
			t.Fatal(err)
		}
		b, err := a.Cast(to)
		if err != nil {
			t.Fatal(err)
		}
		var want Loss
		for i := range n {
			x, y := a.FormatElement(i), b.FormatElement(i)
			switch {
			case from.IsInteger() && x != y:
				want.Clipped++
			case from.IsInteger() || x == y:
			case y == "+Inf" || y == "-Inf":
				want.Infinite++
			case (y == "0" || y == "-0") && x != "0" && x != "-0":
				want.Zero++
			}
		}
		if got := countLost(b.Bytes(), to, a.Bytes(), from); got != want {
			t.Fatalf("%v to %v: %+v, want %+v", from, to, got, want)
		}
	})
}
