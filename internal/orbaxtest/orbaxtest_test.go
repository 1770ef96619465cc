package orbaxtest

import (
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/sharding"
)

// Difference finds what differs at any depth, and says where.
func TestDifference(t *testing.T) {
	tree := func(leaf any) any {
		return map[string]any{"a": 1, "b": []any{"x", map[string]any{"c": leaf}}}
	}
	w := array.Of([]float32{1, 2})
	for name, c := range map[string]struct {
		got, want any
		says      string
	}{
		"the same":      {tree(w), tree(array.Of([]float32{1, 2})), ""},
		"numbers":       {tree(1), tree(2), `at ".b.1.c": got int 1, want int 2`},
		"types":         {tree(int32(1)), tree(1), `at ".b.1.c": got int32 1, want int 1`},
		"keys":          {map[string]any{"a": 1}, map[string]any{"b": 1}, `at "": got keys ["a"], want ["b"]`},
		"lengths":       {[]any{1}, []any{1, 2}, `at "": got 1 elements, want 2`},
		"kinds":         {map[string]any{}, []any{}, `at "": got map[string]interface {} map[], want []interface {} []`},
		"empty and nil": {map[string]any{}, map[string]any(nil), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Difference(c.got, c.want); got != c.says {
				t.Errorf("got %s, want %s", got, c.says)
			}
		})
	}
	if Same(w, w.WithSharding(sharding.SingleDevice("cpu:0"))) {
		t.Error("arrays with other shardings are the same")
	}
}
