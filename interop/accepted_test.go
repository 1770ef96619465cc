package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/big"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
)

// TestAccepted saves what is just within the limits of a save: Python loads all of it,
// and its JSON is the same.
func TestAccepted(t *testing.T) {
	interpreter := needPython(t)
	nested := func(n int) any {
		v := any(1)
		for i := range n {
			if i%2 == 0 {
				v = []any{v}
			} else {
				v = map[string]any{"k": v}
			}
		}
		return v
	}
	tree := func(n int) any {
		v := any(1)
		for range n {
			v = map[string]any{"k": v}
		}
		return v
	}
	keys := map[string]any{}
	for impl, words := range map[string]int{"threefry2x32": 2, "rbg": 4, "unsafe_rbg": 4} {
		key, err := array.PRNGKey(impl, array.Of(make([]uint32, words)))
		if err != nil {
			t.Fatal(err)
		}
		keys[impl] = key
	}
	digits := new(big.Int).Sub(new(big.Int).Exp(big.NewInt(10), big.NewInt(4300), nil), big.NewInt(1))
	rank := make([]int, 32)
	for i := range rank {
		rank[i] = 1
	}
	unit := any(map[string]any{"a": 1})
	cases := map[string]struct{ state, doc any }{
		"deep":     {unit, map[string]any{"d": nested(511)}},
		"numbers":  {unit, map[string]any{"u": uint64(math.MaxUint64), "i": math.MinInt64, "big": new(big.Int).Neg(digits), "zero": math.Copysign(0, -1), "f": 5e-324}},
		"text":     {unit, map[string]any{"\ufffd": "\x00\x7f\u2028 <&> 😀", "": "NaN"}},
		"tree":     {tree(850), map[string]any{}},
		"keys":     {keys, map[string]any{}},
		"slashes":  {map[string]any{"s" + strings.Repeat("/", 511): "text"}, map[string]any{}},
		"rank":     {map[string]any{"a": array.Of([]bool{true}, rank...)}, map[string]any{}},
		"bools":    {map[string]any{"a": []bool{true, false}, "b": true}, map[string]any{}},
		"sharding": {map[string]any{"a": array.Of([]int8{1}).WithSharding(sharding.Host())}, map[string]any{}},
	}
	dir := t.TempDir()
	for name, c := range cases {
		items := map[string]any{"state": c.state, "doc": handler.JSON{Value: c.doc}}
		if err := orbax.SaveCheckpointables(t.Context(), filepath.Join(dir, name), items, orbax.CustomMetadata(c.doc)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	script, err := filepath.Abs(filepath.Join("testdata", "accepted.py"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), answerTime)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, interpreter, "-B", script, dir)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	answers := 0
	for line := range bytes.Lines(out) {
		var answer struct {
			Name, Error string
			Custom, Doc json.RawMessage
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		answers++
		want, err := json.Marshal(cases[answer.Name].doc)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Error != "" {
			t.Errorf("%s: %s", answer.Name, answer.Error)
			continue
		}
		for what, doc := range map[string][]byte{"custom metadata": answer.Custom, "doc": answer.Doc} {
			if !reflect.DeepEqual(exactJSON(t, doc), exactJSON(t, want)) {
				t.Errorf("%s: %s: %.200s, want %.200s", answer.Name, what, doc, want)
			}
		}
	}
	if answers != len(cases) {
		t.Errorf("%d answers\n%s", answers, &stderr)
	}
}

// exactJSON decodes a document, integers as they are spelled and floats as numbers.
func exactJSON(t *testing.T, doc []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return exactNumbers(v)
}

func exactNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = exactNumbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = exactNumbers(v[i])
		}
	case json.Number:
		if v == "-0" || strings.ContainsAny(string(v), ".e") {
			f, _ := v.Float64()
			return math.Float64bits(f)
		}
	}
	return v
}
