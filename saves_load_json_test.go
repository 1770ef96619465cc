package orbax_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
)

// nestedJSON returns a document of n levels.
func nestedJSON(n int) any {
	var v any = 1
	for range n {
		v = []any{v}
	}
	return v
}

// JSON of the program that would be read as something else, or not at all, is refused
// before anything is written.
func TestSaveRefusesJSON(t *testing.T) {
	for name, v := range map[string]any{
		"value":         map[string]any{"v": "a\xffb"},
		"keys":          map[string]any{"k\xfe": 1, "k\xff": 2},
		"half a pair":   map[string]any{"v": json.RawMessage(`"\udfff"`)},
		"twice":         json.RawMessage(`{"a": 1, "a": 2}`),
		"513 levels":    nestedJSON(513),
		"9,999 levels":  nestedJSON(9999),
		"10,000 levels": nestedJSON(10000),
		"20,000 levels": nestedJSON(20000),
		"digits":        []any{json.Number(strings.Repeat("7", 5000))},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := filepath.Join(dir, "ck")
			state := map[string]any{"a": 1}
			for kind, err := range map[string]error{
				"custom": orbax.Save(t.Context(), p, state, orbax.CustomMetadata(v)),
				"json":   orbax.SaveCheckpointables(t.Context(), p, map[string]any{"state": state, "j": handler.JSON{Value: v}}),
			} {
				if !errors.Is(err, orbax.ErrLeafType) || errors.Is(err, orbax.ErrCorrupt) {
					t.Errorf("%s: %.200v", kind, err)
				}
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			_, err := handler.MetricsHandler{}.Save(t.Context(), v, handler.SaveOptions{})
			if !errors.Is(err, orbax.ErrLeafType) {
				t.Errorf("metrics: %.200v", err)
			}
		})
	}
}

// Values of JSON come back as they were, into new values and into those of the
// program, and what came back can be saved again.
func TestSavedJSONLoads(t *testing.T) {
	want := map[string]any{
		"u": uint64(math.MaxUint64), "i": math.MinInt64, "i53": 1<<53 + 1, "f": 1.5, "big": 1e300, "zero": math.Copysign(0, -1),
		"huge": new(big.Int).Lsh(big.NewInt(-3), 200), "text": "\ufffd <&> \u2028 😀", "": []any{nil, true, map[string]any{}},
		"deep": nestedJSON(511),
	}
	var saved any = want
	for range 2 {
		p := filepath.Join(t.TempDir(), "ck")
		items := map[string]any{"state": map[string]any{"a": 1}, "j": handler.JSON{Value: saved}}
		if err := orbax.SaveCheckpointables(t.Context(), p, items, orbax.CustomMetadata(saved)); err != nil {
			t.Fatal(err)
		}
		var into any
		typed := struct {
			U   uint64 `json:"u"`
			I53 any    `json:"i53"`
		}{}
		loaded := map[string]any{}
		for name, target := range map[string]any{"nil": nil, "any": handler.JSON{Value: &into}, "struct": handler.JSON{Value: &typed}} {
			got, err := orbax.LoadCheckpointables(t.Context(), p, map[string]any{"j": target})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			loaded[name] = got["j"]
		}
		m, err := orbax.CheckpointablesMetadata(t.Context(), p)
		if err != nil || orbax.Verify(t.Context(), p) != nil {
			t.Fatal(err, orbax.Verify(t.Context(), p))
		}
		for name, got := range map[string]any{"custom": m.Custom, "item": loaded["nil"], "into any": into} {
			if !reflect.DeepEqual(got, want) || !math.Signbit(got.(map[string]any)["zero"].(float64)) {
				t.Errorf("%s: %v", name, got)
			}
		}
		if typed.U != math.MaxUint64 || typed.I53 != 1<<53+1 {
			t.Errorf("struct: %+v", typed)
		}
		saved = into
	}
}
