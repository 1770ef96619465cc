package tree_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// A tree may have as many levels when it is saved as when it is loaded, whatever Go
// values it is made of, and what is loaded can be saved again.
func TestDepth(t *testing.T) {
	type chain struct{ K any }
	makers := map[string]func(v any) any{
		"maps":     func(v any) any { return map[string]any{"K": v} },
		"lists":    func(v any) any { return []any{v} },
		"pointers": func(v any) any { return &chain{&v} },
		"tuples":   func(v any) any { return tree.Tuple{v} },
	}
	for name, maker := range makers {
		for _, c := range []struct {
			levels int
			ok     bool
		}{{1000, true}, {4095, true}, {4096, true}, {4097, false}, {5000, false}, {100_000, false}} {
			v := any(1)
			for range c.levels {
				v = maker(v)
			}
			leaves, err := tree.Flatten(v)
			if !c.ok {
				if !errors.Is(err, fault.ErrLeafType) || !strings.Contains(err.Error(), "nested more than 4096 levels") {
					t.Errorf("%s: %d levels: %.100v", name, c.levels, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %d levels: %.100v", name, c.levels, err)
				continue
			}
			built, err := tree.Build(leaves)
			if err != nil {
				t.Fatal(err)
			}
			again, err := tree.Flatten(built)
			if err != nil || len(again) != 1 || again[0].Path.Compare(leaves[0].Path) != 0 {
				t.Errorf("%s: %d levels: what was loaded is saved: %.100v", name, c.levels, err)
			}
			var into any
			if err := load(&into, leaves); err != nil {
				t.Errorf("%s: %d levels: loaded into a new value: %.100v", name, c.levels, err)
			}
			if err := load(&built, leaves); err != nil {
				t.Errorf("%s: %d levels: loaded into a value as loaded: %.100v", name, c.levels, err)
			}
		}
	}
}
