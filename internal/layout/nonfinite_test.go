package layout

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

type loss float32

type report struct {
	Loss   loss             `json:"loss"`
	Best   *float64         `json:"best,omitempty"`
	Eval   map[string][]any `json:"eval"`
	Hidden float64          `json:"-"`
	secret float64
	inner
}

type inner struct{ Lr [2]float64 }

// marshaler encodes itself: what is in it is its own.
type marshaler struct{ F float64 }

func (marshaler) MarshalJSON() ([]byte, error) { return []byte(`{"own":1}`), nil }

// own is a number with a spelling of its own.
type own float64

func (o own) MarshalJSON() ([]byte, error) {
	return []byte(fmt.Sprintf("%q", fmt.Sprint(float64(o)))), nil
}

func TestEncodeNumbers(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	r := &report{Loss: loss(nan), Best: &inf, Eval: map[string][]any{"a": {-inf, 1.5, "NaN", nil, float32(nan)}}, Hidden: nan, secret: nan, inner: inner{[2]float64{1, nan}}}
	for _, test := range []struct {
		v    any
		want string
	}{
		{nan, "NaN"},
		{map[string]float64{"a": inf, "b": -inf, "c": nan, "d": 0.5}, `{"a":Infinity,"b":-Infinity,"c":NaN,"d":0.5}`},
		{r, `{"loss":NaN,"best":Infinity,"eval":{"a":[-Infinity,1.5,"NaN",null,NaN]},"Lr":[1,NaN]}`},
		{[]any{marshaler{nan}, nan, json.Number("1e400")}, `[{"own":1},NaN,1e400]`},
		{[]any{marshaler{nan}}, `[{"own":1}]`},
		{[]any{own(nan), inf}, `["NaN",Infinity]`},
		{map[string]any{"a": []any{}, "b": map[string]any(nil), "c": []float32(nil), "d": nan}, `{"a":[],"b":null,"c":null,"d":NaN}`},
	} {
		doc, err := EncodeNumbers(test.v)
		if err != nil || string(doc) != test.want {
			t.Errorf("%#v is %s, %v; want %s", test.v, doc, err, test.want)
		}
		if _, err := DecodeJSON(doc); err != nil {
			t.Error(err)
		}
	}
	if !math.IsNaN(float64(r.Loss)) || !math.IsInf(*r.Best, 1) {
		t.Error("the value has changed")
	}
	cycle := map[string]any{"nan": nan}
	cycle["self"] = cycle
	for _, v := range []any{make(chan int), map[string]any{"a": nan, "b": func() {}}, cycle} {
		if doc, err := EncodeNumbers(v); err == nil {
			t.Errorf("%T is %s", v, doc)
		}
	}
}

// Whatever has numbers comes back with them.
func TestEncodeNumbersProperty(t *testing.T) {
	number := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat32, 1e38}))
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]any{}
		for key, list := range rapid.MapOf(rapid.StringN(0, 4, -1), rapid.SliceOf(number)).Draw(t, "metrics") {
			all := make([]any, len(list))
			for i, f := range list {
				all[i] = f
			}
			want[key] = all
		}
		doc, err := EncodeNumbers(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeJSON(doc)
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		for key, list := range want {
			for i, f := range list.([]any) {
				g := reflect.ValueOf(got.(map[string]any)[key].([]any)[i])
				switch n := g.Interface().(type) {
				case int:
					g = reflect.ValueOf(float64(n))
				case uint64:
					g = reflect.ValueOf(float64(n))
				case *big.Int:
					exact, _ := new(big.Float).SetInt(n).Float64()
					g = reflect.ValueOf(exact)
				}
				if f := f.(float64); g.Float() != f && !(math.IsNaN(f) && math.IsNaN(g.Float())) {
					t.Fatalf("%v became %v in %s", f, g, doc)
				}
			}
		}
	})
}
