package layouts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
)

// pytree is what a checkpointable is expected to hold.
type pytree struct {
	Name   string // "" for the one that a load picks itself
	Leaves []leaf
}

// sort brings the leaves into the order in which package tree lists them.
func (p *pytree) sort() {
	slices.SortFunc(p.Leaves, func(a, b leaf) int { return a.Path.Compare(b.Path) })
}

// withoutData returns the leaves as their metadata tells of them.
func (p *pytree) withoutData() []leaf {
	leaves := slices.Clone(p.Leaves)
	for i := range leaves {
		leaves[i].SHA256 = ""
		if leaves[i].Kind != "empty" {
			leaves[i].Value = nil
		}
	}
	return leaves
}

// leaf is a leaf's contents. Equal leaves have equal strings, others differ.
type leaf struct {
	Path   tree.Path
	Kind   string // "array", "scalar", "string" or "empty"
	DType  string // of an array or scalar
	Shape  []int  // of an array
	SHA256 string // of an array
	Impl   string // of an array of PRNG keys
	Value  any    // of another kind; a number is a json.Number where it is expected
}

func (l leaf) String() string {
	s := l.Kind + " " + l.DType
	if l.Kind == "array" {
		return fmt.Sprintf("%s%v %s %s", s, l.Shape, l.Impl, l.SHA256)
	}
	if l.DType == "float64" && l.Value != nil { // Python's digits are others
		if v, err := strconv.ParseFloat(fmt.Sprint(l.Value), 64); err == nil {
			return fmt.Sprintf("%s %v", s, v)
		}
	}
	return fmt.Sprintf("%s %v", s, l.Value)
}

// leavesOf returns the leaves of what has been loaded.
func leavesOf(t *testing.T, v any) []leaf {
	t.Helper()
	flat, err := tree.Flatten(v)
	if err != nil {
		t.Fatal(err)
	}
	var leaves []leaf
	for _, l := range flat {
		leaves = append(leaves, leafOfValue(t, l.Path, l.Value))
	}
	return leaves
}

func leafOfValue(t *testing.T, path tree.Path, v any) leaf {
	t.Helper()
	a, ok := v.(*array.Array)
	if !ok {
		l := leafOfSpec(tree.Leaf{Path: path, Value: v}.Spec(), "")
		if l.Kind != "empty" {
			l.Value = v
		}
		return l
	}
	l := leafOfSpec(tree.Leaf{Path: path, Value: a}.Spec(), a.PRNGImpl())
	sum := sha256.Sum256(a.Bytes())
	l.SHA256 = hex.EncodeToString(sum[:])
	return l
}

func leafOfSpec(s tree.Spec, impl string) leaf {
	switch s.Kind {
	case tree.KindArray:
		return leaf{Path: s.Path, Kind: "array", DType: s.DType.String(), Shape: s.Shape, Impl: impl}
	case tree.KindScalar:
		return leaf{Path: s.Path, Kind: "scalar", DType: s.DType.String()}
	case tree.KindString:
		return leaf{Path: s.Path, Kind: "string"}
	case tree.KindEmpty:
		return leaf{Path: s.Path, Kind: "empty", Value: s.Empty.String()}
	}
	return leaf{Path: s.Path, Kind: s.String()}
}

// diffLeaves reports how lists of leaves, both in order, differ.
func diffLeaves(t *testing.T, got, want []leaf) {
	t.Helper()
	for len(got) > 0 || len(want) > 0 {
		switch {
		case len(got) == 0 || len(want) > 0 && got[0].Path.Compare(want[0].Path) > 0:
			t.Errorf("%+v is missing: %v", []tree.Key(want[0].Path), want[0])
			want = want[1:]
		case len(want) == 0 || got[0].Path.Compare(want[0].Path) < 0:
			t.Errorf("%+v should not be there: %v", []tree.Key(got[0].Path), got[0])
			got = got[1:]
		default:
			if g, w := got[0].String(), want[0].String(); g != w {
				t.Errorf("%v is %s, want %s", got[0].Path, g, w)
			}
			got, want = got[1:], want[1:]
		}
	}
}
