package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"state", "a", "params.ema", "0", "日本語", "a b", "Metrics", "d", "x.orbax", strings.Repeat("n", 255)} {
		t.Run(name, func(t *testing.T) {
			if err := CheckName(name); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{
		"", ".", "..", "/", "a/b", "/a", "a/", `a\b`, "a\x00b", "\xff", strings.Repeat("n", 256),
		"metrics", "AUTO", "_CHECKPOINT_METADATA", "_CHECKPOINT_DELETION", "_METADATA",
		"orbax.checkpoint", "commit_success.txt", "digests.sha256",
		"x.orbax-checkpoint-tmp", ".orbax-checkpoint-tmp", "x.orbax-checkpoint-tmp-12",
	} {
		t.Run(name, func(t *testing.T) {
			if err := CheckName(name); !errors.Is(err, fault.ErrReservedName) {
				t.Errorf("%v, want %v", err, fault.ErrReservedName)
			}
		})
	}
}

func TestDecodeJSON(t *testing.T) {
	inf := math.Inf(1)
	for doc, want := range map[string]any{
		`null`:                         nil,
		` [1, -0, 1.0, 1e2] `:          []any{1, math.Copysign(0, -1), 1.0, 100.0},
		`9223372036854775807`:          math.MaxInt64,
		`-9223372036854775808`:         math.MinInt64,
		`9223372036854775808`:          uint64(1 << 63),
		`-9223372036854775809`:         new(big.Int).Sub(big.NewInt(math.MinInt64), big.NewInt(1)),
		`1e400`:                        inf,
		`Infinity`:                     inf,
		`[-Infinity,Infinity]`:         []any{-inf, inf},
		`{"Infinity": Infinity}`:       map[string]any{"Infinity": inf},
		`["NaN", "a\"NaN", "\\", "é"]`: []any{"NaN", `a"NaN`, `\`, "é"},
		`["\\", Infinity, "\\\"NaN"]`:  []any{`\`, inf, `\"NaN`},
		`[0e-7370001,-0e-7370001 ]`:    []any{0.0, math.Copysign(0, -1)},
		`[10e-7370001, 0e-73700011]`:   []any{0.0, 0.0},
		`[0.0e-7370001, 1.0e-7370001]`: []any{0.0, 0.0},
		`"0e-7370001"`:                 "0e-7370001",
		`{"a": "-Infinity"}`:           map[string]any{"a": "-Infinity"},
	} {
		t.Run(doc, func(t *testing.T) {
			if got, err := DecodeJSON([]byte(doc)); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%#v, %v, want %#v", got, err, want)
			}
		})
	}
	// NaN is not equal to itself, and no spelling of zero is taken for it.
	v, err := DecodeJSON([]byte(`[NaN, 0e0, 0e00000000, 0e00000001, {"NaN": NaN}]`))
	if err != nil {
		t.Fatal(err)
	}
	list := v.([]any)
	if !math.IsNaN(list[0].(float64)) || !math.IsNaN(list[4].(map[string]any)["NaN"].(float64)) {
		t.Errorf("NaN became %v", list)
	}
	if !reflect.DeepEqual(list[1:4], []any{0.0, 0.0, 0.0}) {
		t.Errorf("zeros became %v", list[1:4])
	}
	for _, doc := range []string{
		``, `{`, `{} {}`, `1NaN`, `NaN1`, `-NaN`, `- Infinity`, `--Infinity`, `+Infinity`, `Infinity1`, `1Infinity`, `nan`, `{NaN: 1}`, `01`,
		"\"\xff\"", `"a`, `[1,]`, `'a'`, strings.Repeat("[", 1e6),
	} {
		if v, err := DecodeJSON([]byte(doc)); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%.20s: %v, %v", doc, v, err)
		}
	}
}

// A document of nothing but spellings of zero takes no more than linear time.
func TestDecodeJSONManyZeros(t *testing.T) {
	doc := "[NaN" + strings.Repeat(",0e00000000,NaN,"+strings.Repeat("0", 0)+"0e"+strings.Repeat("0", 500), 2000) + "]"
	start := time.Now()
	if _, err := DecodeJSON([]byte(doc)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestParseCheckpoint(t *testing.T) {
	at := time.Unix(0, 1795449825435074560).UTC()
	for doc, want := range map[string]CheckpointMetadata{
		``:   {Handlers: map[string]string{}, Custom: map[string]any{}},
		`{}`: {Handlers: map[string]string{}, Custom: map[string]any{}},
		`{"item_handlers": null, "init_timestamp_nsecs": null, "custom_metadata": null, "metrics": null}`: {
			Handlers: map[string]string{}, Custom: map[string]any{}},
		`{"item_handlers": "single.Handler", "commit_timestamp_nsecs": 1795449825435074560}`: {
			Handlers: map[string]string{"": "single.Handler"}, CommitTime: at, Custom: map[string]any{}},
		`{"item_handlers": {"a": "x.A", "b": null}, "init_timestamp_nsecs": 1795449825435074560}`: {
			Handlers: map[string]string{"a": "x.A"}, InitTime: at, Custom: map[string]any{}},
		`{"custom_metadata": {"a": 1}}`:            {Handlers: map[string]string{}, Custom: map[string]any{"a": 1}},
		`{"a": 2, "custom_metadata": {"a": 1}}`:    {Handlers: map[string]string{}, Custom: map[string]any{"a": 1}},
		`{"future": [1], "custom_metadata": {}}`:   {Handlers: map[string]string{}, Custom: map[string]any{"future": []any{1}}},
		`{"custom_metadata":{"orbax_go_list":[]}}`: {Handlers: map[string]string{}, Custom: []any{}},
	} {
		for range 5 { // the order of a map's keys must not matter
			got, err := ParseCheckpoint([]byte(doc))
			if err != nil || !reflect.DeepEqual(*got, want) {
				t.Errorf("%s\n got %+v, %v\nwant %+v", doc, got, err, want)
				break
			}
		}
	}
	for _, doc := range []string{
		`[]`, `null`, `3`, `{`, `{"item_handlers": 3}`, `{"item_handlers": {"a": 3}}`, `{"init_timestamp_nsecs": "now"}`,
		`{"commit_timestamp_nsecs": 1.5}`, `{"custom_metadata": 3}`, `{"custom_metadata": []}`, "{\"\xff\": 1}",
	} {
		t.Run(doc, func(t *testing.T) {
			if got, err := ParseCheckpoint([]byte(doc)); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("got %+v, %v, want %v", got, err, fault.ErrCorrupt)
			}
		})
	}
}

func TestCheckpointDocument(t *testing.T) {
	for _, custom := range []any{
		nil, map[string]any{"a": 1}, []any{1, "x"}, []string{}, map[string]int(nil), map[int]bool{1: true},
		struct{ Epoch int }{3}, &struct{ A []float64 }{[]float64{1.5}}, json.RawMessage(` {"b": [ ] } `), map[string]any{},
		map[string]any{"html": "<&>", "nested": map[string]any{listKey: []any{1}}},
	} {
		raw, err := CheckCustom(custom)
		if err != nil {
			t.Errorf("%#v: %v", custom, err)
			continue
		}
		m := &CheckpointMetadata{
			Handlers: map[string]string{"state": "x.H"}, Custom: raw,
			InitTime: time.Unix(1, 2).UTC(), CommitTime: time.Unix(3, 4).UTC(),
		}
		doc, err := m.Document()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseCheckpoint(doc)
		if err != nil {
			t.Fatal(err)
		}
		want, err := DecodeJSON(raw)
		if err != nil {
			t.Fatal(err)
		}
		m.Custom = want
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%#v:\n got %+v\nwant %+v", custom, got, m)
		}
	}
	// Times that are not known stay so, and one that is null, as a save has begun, stays
	// null.
	for doc, null := range map[string]bool{
		`{}`:                    false,
		`{"item_handlers": {}}`: false,
		`{"item_handlers": {"a": "x.A"}, "init_timestamp_nsecs": 5}`:                                   false,
		`{"item_handlers": {"a": "x.A"}, "init_timestamp_nsecs": 5, "commit_timestamp_nsecs": null}`:   true,
		`{"item_handlers": null, "init_timestamp_nsecs": 5, "commit_timestamp_nsecs": null}`:           true,
		`{"init_timestamp_nsecs": 5, "commit_timestamp_nsecs": null}`:                                  false,
		`{"item_handlers": {}, "init_timestamp_nsecs": null, "commit_timestamp_nsecs": null}`:          false,
		`{"item_handlers": {"a": "x.A"}, "commit_timestamp_nsecs": 6}`:                                 false,
		`{"item_handlers": {"a": "x.A"}, "init_timestamp_nsecs": 5, "commit_timestamp_nsecs": 6}`:      false,
		`{"item_handlers": {"a": "x.A"}, "init_timestamp_nsecs": 5, "custom_metadata": {"a": [null]}}`: false,
	} {
		m, err := ParseCheckpoint([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		written, err := m.Document()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseCheckpoint(written)
		if err != nil || !reflect.DeepEqual(got, m) || got.Uncommitted != null {
			t.Errorf("%s became %s: %+v, %v", doc, written, got, err)
		}
		if spelled := bytes.Contains(written, []byte(`"commit_timestamp_nsecs":null`)); spelled != null {
			t.Errorf("%s became %s", doc, written)
		}
	}
}

func TestCheckCustomRefuses(t *testing.T) {
	for name, v := range map[string]any{
		"number":    3,
		"string":    "text",
		"channel":   map[string]any{"a": make(chan int)},
		"function":  map[string]any{"a": func() {}},
		"NaN":       math.NaN(),
		"raw NaN":   json.RawMessage(`{"a": NaN}`),
		"cycle":     cycle(),
		"raw":       json.RawMessage("{"),
		"our key":   map[string]any{listKey: []any{1}},
		"our key 2": json.RawMessage(`{"\u006frbax_go_list": [1]}`),
	} {
		t.Run(name, func(t *testing.T) {
			if raw, err := CheckCustom(v); err == nil {
				t.Errorf("accepted as %s", raw)
			}
		})
	}
	if _, err := CheckCustom(map[string]any{listKey: 1}); !errors.Is(err, fault.ErrReservedName) {
		t.Errorf("reserved key: %v", err)
	}
}

func cycle() any {
	m := map[string]any{}
	m["m"] = m
	return m
}

func TestParseTreeRefuses(t *testing.T) {
	entry := func(e string) string { return `{"tree_metadata": {"('a',)": ` + e + `}}` }
	const value = `"value_metadata": {"value_type": "scalar", "skip_deserialize": false}`
	for doc, want := range map[string]error{
		``: fault.ErrCorrupt, `{}`: fault.ErrCorrupt, `[]`: fault.ErrCorrupt, `null`: fault.ErrCorrupt,
		`{"tree_metadata": {}}`:       fault.ErrCorrupt,
		entry(`null`):                 fault.ErrCorrupt,
		entry(`{}`):                   fault.ErrCorrupt,
		entry(`{"key_metadata": []}`): fault.ErrCorrupt,
		entry(`{"key_metadata": [], "value_metadata": {"value_type": "scalar"}}`):          fault.ErrCorrupt,
		entry(`{"key_metadata": [{"key": 1.5, "key_type": 2}], ` + value + `}`):            fault.ErrCorrupt,
		entry(`{"key_metadata": [{"key": [], "key_type": 2}], ` + value + `}`):             fault.ErrCorrupt,
		entry(`{"key_metadata": [{"key": "a", "key_type": 3}], ` + value + `}`):            fault.ErrUnsupported,
		entry(`{"key_metadata": [{"key": "a"}], ` + value + `}`):                           fault.ErrUnsupported,
		entry("{\"key_metadata\": [{\"key\": \"\xff\", \"key_type\": 2}], " + value + `}`): fault.ErrCorrupt,
		entry(`{"key_metadata": ` + strings.Repeat("[", 1e6) + `}`):                        fault.ErrCorrupt,
	} {
		if m, err := ParseTree([]byte(doc)); !errors.Is(err, want) {
			t.Errorf("%.100s: %+v, %v", doc, m, err)
		}
	}
	m, err := ParseTree([]byte(entry(`{"key_metadata": [{"key": 3, "key_type": 1}], ` + value + `}`)))
	if err != nil || !reflect.DeepEqual(m.Leaves[0].Path, tree.Path{{Name: "3", Seq: true}}) {
		t.Errorf("a numeric index: %+v, %v", m, err)
	}
}

func TestStringsDocument(t *testing.T) {
	values := map[string]string{
		"a": "", "b.c": "x", "d/e": "y", "d/f/g": "z", "d.e": "w", "": "bare", "é\n": "\"\\<>\u2028",
	}
	doc, err := StringsDocument(values)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseStrings(doc)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range values {
		t.Run(name, func(t *testing.T) {
			if got, ok := s.Get(name); !ok || got != want {
				t.Errorf("%q %v, want %q", got, ok, want)
			}
		})
	}
	for _, name := range []string{"x", "d", "a/b", "d/e/f", "/", "b"} {
		if got, ok := s.Get(name); ok {
			t.Errorf("%q is %q", name, got)
		}
	}
	for _, names := range [][]string{{"a", "a/b"}, {"a/b", "a"}, {"a/b/c", "a/b"}, {"a/b/c", "a"}, {"", "/x"}} {
		t.Run(strings.Join(names, " "), func(t *testing.T) {
			if doc, err := StringsDocument(map[string]string{names[0]: "", names[1]: ""}); !errors.Is(err, fault.ErrKeyCollision) {
				t.Errorf("got %s, %v, want %v", doc, err, fault.ErrKeyCollision)
			}
		})
	}
	for name, ok := range map[string]bool{"a": true, "a/b": true, "a~": false, "~0": false, "": true} {
		t.Run(name, func(t *testing.T) {
			if err := CheckStringName(name); (err == nil) != ok || err != nil && !errors.Is(err, fault.ErrReservedName) {
				t.Error(err)
			}
		})
	}
}

func TestParseStrings(t *testing.T) {
	for _, doc := range []string{``, `[]`, `3`, `{`, `"a"`, "{\"a\": \"\xff\"}", strings.Repeat(`{"a":`, 1e6)} {
		if s, err := ParseStrings([]byte(doc)); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%.20s: %+v, %v", doc, s, err)
		}
	}
	s, err := ParseStrings([]byte(`{"a": 3, "b": null, "c": {"d": []}, "e/f": "slash", "g~h": "tilde"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c", "c/d", ""} {
		if v, ok := s.Get(name); ok {
			t.Errorf("%s is %q", name, v)
		}
	}
	if v, _ := s.Get("e~1f"); v != "slash" {
		t.Errorf("an escaped slash: %q", v)
	}
	if v, _ := s.Get("g~0h"); v != "tilde" {
		t.Errorf("an escaped tilde: %q", v)
	}
}

func TestParseArrays(t *testing.T) {
	for _, doc := range []string{``, `[]`, `3`, `{`, `{"array_metadatas": 3}`, `{"array_metadatas": [{"array_metadata": {"write_shape": [1.5]}}]}`,
		`{"array_metadatas": {}}`, `{"array_metadatas": "["}`, `{"array_metadatas": [3]}`, `{"array_metadatas": [{}, []]}`, `{"array_metadatas": [{}}`} {
		t.Run(doc, func(t *testing.T) {
			if m, err := ParseArrays([]byte(doc)); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("got %+v, %v, want %v", m, err, fault.ErrCorrupt)
			}
		})
	}
	for doc, want := range map[string]map[string]ArrayMetadata{
		`{}`: {}, `null`: {}, `{"array_metadatas": null}`: {}, `{"array_metadatas": []}`: {}, `{"array_metadatas": [null]}`: {"": {}},
		`{"x": [{}], "array_metadatas": [{}, {"y": 1}, {"array_metadata": null}]}`: {"": {}},
		`{"array_metadatas": [{"array_metadata": {"param_name": "a", "write_shape": [1]}}, {"array_metadata": {"param_name": "a", "chunk_shape": [2]}}, {}]}`: {
			"a": {Name: "a", ChunkShape: []int{2}}, "": {}},
		`{"array_metadatas": [{"array_metadata": {"param_name": "a", "ext_metadata": {"random_key_impl": "rbg", "z": {}}}}]}`: {"a": {Name: "a", PRNGImpl: "rbg"}},
	} {
		t.Run(doc, func(t *testing.T) {
			if m, err := ParseArrays([]byte(doc)); err != nil || !reflect.DeepEqual(m, want) {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
	doc := ArraysDocument([]ArrayMetadata{{Name: "s"}})
	if strings.Contains(string(doc), `"write_shape":null`) {
		t.Errorf("%s", doc)
	}
}
