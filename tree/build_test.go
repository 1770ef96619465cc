package tree_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

func TestBuild(t *testing.T) {
	k := func(keys ...string) (p tree.Path) {
		for _, s := range keys {
			name, seq := strings.CutPrefix(s, "#")
			p = append(p, tree.Key{Name: name, Seq: seq})
		}
		return p
	}
	good := []struct {
		leaves []tree.Leaf
		want   any
	}{
		{nil, nil},
		{[]tree.Leaf{{nil, 1}}, 1},
		{[]tree.Leaf{{nil, tree.EmptyTuple}}, tree.Tuple{}},
		{[]tree.Leaf{{k("b", "#1"), 2}, {k("a"), tree.None}, {k("b", "#0"), tree.EmptyList}, {k("c"), tree.EmptyDict}},
			map[string]any{"a": nil, "b": []any{[]any{}, 2}, "c": map[string]any{}}},
	}
	for _, tt := range good {
		if got, err := tree.Build(tt.leaves); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Build(%v) = %#v, %v; want %#v", tt.leaves, got, err, tt.want)
		}
	}
	deep := make(tree.Path, 5000)
	bad := []struct {
		paths []tree.Path
		want  string
	}{
		{[]tree.Path{k("a"), k("a")}, `leaf a: structure mismatch: two leaves have the path ["a"]`},
		{[]tree.Path{k("a"), k("a", "b")}, `leaf a.b: structure mismatch: ["a"] is a leaf and the path ["a" "b"] goes through it`},
		{[]tree.Path{k("a", "b"), k("a")}, `leaf a: structure mismatch: ["a"] is a leaf and the path of another leaf goes through it`},
		{[]tree.Path{k("a"), nil}, "structure mismatch"},
		{[]tree.Path{k("a", "b"), k("a", "#0")}, `leaf a.0: structure mismatch: ["a"] has both positions and keys`},
		{[]tree.Path{k("a", "#0"), k("a", "#2")}, "leaf a: structure mismatch: a sequence of 2 elements has none at position 1"},
		{[]tree.Path{k("#00")}, "structure mismatch"},
		{[]tree.Path{k("#999999999999999999")}, "structure mismatch"},
		{[]tree.Path{deep}, "nested 5000 levels deep"},
	}
	for _, tt := range bad {
		var leaves []tree.Leaf
		for _, p := range tt.paths {
			leaves = append(leaves, tree.Leaf{Path: p, Value: 1})
		}
		if _, err := tree.Build(leaves); !errors.Is(err, fault.ErrStructure) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Build(%.60v): %v; want %s", tt.paths, err, tt.want)
		}
	}
}
