package inspect

import (
	"math"
	"testing"

	"github.com/go-orbax/orbax/array"
)

func TestJSONElement(t *testing.T) {
	for _, c := range []struct {
		a    *array.Array
		want string
	}{
		{array.Of([]float32{0.1}), `0.1`},
		{array.Of([]float64{1e300}), `1e+300`},
		{array.Of([]float32{float32(math.NaN())}), `"NaN"`},
		{array.Of([]float64{math.Inf(1)}), `"Infinity"`},
		{array.Of([]float64{math.Inf(-1)}), `"-Infinity"`},
		{array.Of([]bool{true}), `true`},
		{array.Of([]complex64{complex(0.1, float32(math.Inf(-1)))}), `[0.1,"-Infinity"]`},
		{array.Of([]uint64{math.MaxUint64}), `18446744073709551615`},
	} {
		if got := jsonElement(c.a.FormatElement(0), c.a.DType()); got != c.want {
			t.Errorf("%v: %s, want %s", c.a, got, c.want)
		}
	}
}
