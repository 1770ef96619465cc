package layout

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

const richLeaf = `{"category": "custom", "clazz": "ValueMetadataEntry", "data": {"value_type": "scalar"}}`

func richTuple(entries ...string) string {
	return `{"category": "custom", "clazz": "tuple", "entries": [` + strings.Join(entries, ", ") + `]}`
}

// treeWith returns a document with the given leaves, whose keys are positions
// where they are numbers, and with value_metadata_tree.
func treeWith(t *testing.T, rich string, leaves ...string) []byte {
	t.Helper()
	all := map[string]any{}
	for _, l := range leaves {
		var keys []any
		for k := range strings.SplitSeq(l, ".") {
			kind := dictKey
			if strings.Trim(k, "0123456789") == "" {
				kind = sequenceKey
			}
			keys = append(keys, map[string]any{"key": k, "key_type": kind})
		}
		all[l] = map[string]any{"key_metadata": keys, "value_metadata": map[string]any{"value_type": "None", "skip_deserialize": true}}
	}
	doc, err := json.Marshal(map[string]any{"tree_metadata": all, "value_metadata_tree": rich})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestTuplesAreMarked(t *testing.T) {
	rich := `{"a": ` + richTuple("["+richLeaf+"]", richTuple(richLeaf)) + `,
		"nt": {"category": "namedtuple", "module": "m", "clazz": "C", "entries": [{"key": "mu", "value": ` + richTuple(richLeaf) + `}, {"key": "n", "value": null}]},
		"category": {"entries": [` + richLeaf + `]}}`
	m, err := ParseTree(treeWith(t, rich, "a.0.0", "a.1.0", "nt.mu.0", "category.entries.0"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, l := range m.Leaves {
		for _, k := range l.Path {
			mark := "-"
			if k.Tuple {
				mark = "t"
			}
			got[l.Path.String()] += mark
		}
	}
	for name, want := range map[string]string{"a.0.0": "-t-", "a.1.0": "-tt", "nt.mu.0": "--t", "category.entries.0": "---"} {
		t.Run(name, func(t *testing.T) {
			if got[name] != want {
				t.Errorf("%s, want %s", got[name], want)
			}
		})
	}
}

// Documents of other shapes are damage.
func TestHostileRichTree(t *testing.T) {
	for name, rich := range map[string]string{
		"number":       `1`,
		"text":         `{"a": "b"}`,
		"half":         `{"a": [`,
		"two":          `{} {}`,
		"field":        `{"category": "namedtuple", "entries": [1]}`,
		"field's name": `{"category": "namedtuple", "entries": [{"key": 1}]}`,
		"too deep":     strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseTree(treeWith(t, rich, "a")); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("got %v, want %v", err, fault.ErrCorrupt)
			}
		})
	}
}

// The memory that a deep document takes grows as the document does: what every
// level read anew, it would allocate anew.
func TestDeepRichTree(t *testing.T) {
	parse := func(depth int) uint64 {
		deep := richLeaf
		for range depth {
			deep = richTuple(deep)
		}
		doc := treeWith(t, deep, strings.Repeat("0.", 20*depth-1)+"0")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := ParseTree(doc)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		marked := 0
		for _, k := range m.Leaves[0].Path {
			if k.Tuple {
				marked++
			}
		}
		if marked != depth {
			t.Errorf("%d keys are marked, want %d", marked, depth)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	if half, whole := parse(2_000), parse(4_000); whole > 3*half {
		t.Errorf("a document takes %d bytes, one twice as deep %d", half, whole)
	}
}
