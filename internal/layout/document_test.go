package layout

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

func nested(n int) any {
	var v any = 1
	for i := range n {
		if i%2 == 0 {
			v = []any{v}
		} else {
			v = map[string]any{"k": v}
		}
	}
	return v
}

// texter is a key, and a value, whose text a method makes.
type texter string

func (t texter) MarshalText() ([]byte, error) { return []byte(t), nil }

// What EncodeDocument refuses would be read as something else, or not at all.
func TestEncodeDocumentRefuses(t *testing.T) {
	type inner struct{ S string }
	for name, v := range map[string]any{
		"value":            "a\xffb",
		"key":              map[string]any{"k\xfe": 1},
		"keys":             map[string]any{"k\xfe": 1, "k\xff": 2},
		"named key":        map[texter]int{"\xff": 1},
		"text":             []any{texter("\xff")},
		"in a struct":      struct{ A []*inner }{[]*inner{{"\xff"}}},
		"beside U+FFFD":    []any{"\ufffd", "\xff"},
		"raw":              json.RawMessage("\"\xff\""),
		"half a pair":      json.RawMessage(`["\ud800"]`),
		"halves the wrong": json.RawMessage(`["\udc00\ud800"]`),
		"one name twice":   json.RawMessage(`{"a": 1, "a": 2}`),
		"as an escape":     json.RawMessage(`[{"a": {"b": 1, "\u0062": 2}}]`),
		"513 levels":       nested(513),
		"10,001 levels":    nested(10001),
		"raw levels":       json.RawMessage(strings.Repeat("[", 9999) + strings.Repeat("]", 9999)),
		"4,301 digits":     new(big.Int).Exp(big.NewInt(10), big.NewInt(4300), nil),
		"spelled":          json.Number("-" + strings.Repeat("9", 4301)),
		"1e400":            json.Number("1e400"),
		"NaN":              math.NaN(),
		"a function":       func() {},
	} {
		t.Run(name, func(t *testing.T) {
			if doc, err := EncodeDocument(v); !errors.Is(err, fault.ErrLeafType) || doc != nil {
				t.Errorf("got %.60q, %v, want %v", doc, err, fault.ErrLeafType)
			}
		})
	}
}

// What EncodeDocument accepts, DecodeJSON gives back.
func TestEncodeDocumentExact(t *testing.T) {
	huge := new(big.Int).Lsh(big.NewInt(1), 100)
	for name, v := range map[string]any{
		"integers":  []any{0, -1, math.MaxInt64, math.MinInt64, 1<<53 + 1, uint64(math.MaxUint64), uint64(1 << 63), huge, new(big.Int).Neg(huge)},
		"floats":    []any{0.5, -1.5, 1e300, 5e-324, 1e21, math.Copysign(0, -1), map[string]any{"-0": math.Copysign(0, -1), "x\"-0": "-0"}},
		"strings":   []any{"", "\ufffd", "\x00\x7f", "<&>", "\u2028", "日本語 😀", `\ufffd`, `\ud800`, "-0", "NaN"},
		"512":       nested(512),
		"names":     map[string]any{"": 1, "a": map[string]any{"a": 1}, "\ufffd": 2, "A": 3},
		"constants": []any{nil, true, false, []any{}, map[string]any{}},
		"digits":    new(big.Int).Sub(new(big.Int).Exp(big.NewInt(10), big.NewInt(4300), nil), big.NewInt(1)),
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := EncodeDocument(v)
			if err != nil {
				t.Error(err)
				return
			}
			got, err := DecodeJSON(doc)
			if err != nil || !reflect.DeepEqual(got, v) || name == "floats" && !math.Signbit(got.([]any)[5].(float64)) {
				t.Errorf("%v, %v, want %v", got, err, v)
			}
		})
	}
	if doc, err := EncodeDocument(json.RawMessage(`["\ufffd\ud83d\ude00"]`)); err != nil {
		t.Errorf("escapes of whole characters: %s, %v", doc, err)
	}
	if doc, err := EncodePython(map[string]any{"a": math.NaN(), "b": math.Inf(-1), "NaN": "\ufffd"}); err != nil {
		t.Errorf("words: %s, %v", doc, err)
	}
	if doc, err := EncodePython([]any{math.NaN(), "\xff"}); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("a word beside what is not UTF-8: %s, %v", doc, err)
	}
	if doc, err := EncodeDocument([]any{math.Copysign(0, -1), 1e-07, -0.5, json.Number("1e-0")}); err != nil || string(doc) != "[-0.0,1e-7,-0.5,1e-0]" {
		t.Errorf("zeros: %s, %v", doc, err)
	}
}

// Numbers in variables of type any are exact, whatever they are in; all others have
// the type of the program.
func TestNumbersIn(t *testing.T) {
	type target struct {
		A any
		B map[string]any
		C []any
		D []*target
		E json.Number
		F float64
		G map[string]*target
		H *target
	}
	x := &target{E: "1", A: json.Number("18446744073709551615"), B: map[string]any{"a": json.Number("1"), "b": []any{json.Number("-0")}}}
	x.C = []any{json.Number("0.5"), map[string]any{"x": json.Number("7")}}
	x.D, x.G, x.H = []*target{{A: json.Number("2")}}, map[string]*target{"x": x}, x
	NumbersIn(x)
	if x.A != uint64(math.MaxUint64) || x.B["a"] != 1 || x.C[0] != 0.5 || x.E != "1" || x.D[0].A != 2 {
		t.Errorf("got %+v, want A=%d B[a]=1 C[0]=0.5 D[0].A=2 E=1", x, uint64(math.MaxUint64))
	}
	if zero, ok := x.B["b"].([]any)[0].(float64); !ok || !math.Signbit(zero) {
		t.Errorf("-0 is %v", x.B["b"])
	}
}
