package view

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// DiffOptions says which differences count. With the zero value, two trees differ if and
// only if their digests do; see [Digest].
type DiffOptions struct {
	// RTol and ATol let numbers differ: a and b count as equal if their difference is at
	// most ATol + RTol·|b|, as in numpy.allclose. If both are 0 the bits must be the
	// same; otherwise -0 equals 0.
	RTol, ATol float64
	// EqualNaN makes all NaNs equal. Otherwise NaNs are equal if their bits are.
	EqualNaN bool
	// IgnoreDType compares arrays of different element types by value: integers with
	// integers exactly, others as float64 or complex128.
	IgnoreDType bool
	// IgnoreKeys compares leaves that have the same name, which is their keys joined with
	// dots, also if the keys themselves differ: a position in a sequence against a key of
	// a dict, or one key against several.
	IgnoreKeys bool
	// Kinds makes it a difference whether a leaf is an array of JAX or NumPy, a scalar or
	// a byte string. Shardings makes different shardings a difference.
	Kinds, Shardings bool
	// MetadataOnly compares no values of arrays, so that no array is read.
	MetadataOnly bool
	// Only selects the leaves to compare; nil selects all.
	Only func(*LeafMetadata) bool
}

// Differs is a set of ways in which leaves differ, a sum of the constants.
type Differs uint8

// These are the ways in which leaves differ.
const (
	DiffersPresence Differs = 1 << iota // only one of the trees has the leaf
	DiffersKeys                         // the names are the same, the keys are not
	DiffersKind                         // array, string, empty node and so on
	DiffersDType                        // or the generator of PRNG keys
	DiffersShape
	DiffersSharding
	DiffersValues
)

var differsNames = []string{"presence", "keys", "kind", "dtype", "shape", "sharding", "values"}

// String returns words such as "dtype, values".
func (d Differs) String() string {
	var words []string
	for i, name := range differsNames {
		if d&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, ", ")
}

// LeafDiff is a leaf that differs between two trees a and b.
type LeafDiff struct {
	Name string        // the leaf's keys, joined with dots
	A, B *LeafMetadata // nil if the tree lacks the leaf
	In   Differs
	// Values describes how the values differ, if In has [DiffersValues]. [Diff] compares
	// the values of strings, and of arrays that have one shape and, unless
	// [DiffOptions.IgnoreDType] is set, one dtype.
	Values *ValuesDiff
}

// ValuesDiff describes how the elements of two arrays differ, or two strings, each of
// which counts as one element.
type ValuesDiff struct {
	Count, Elements int   // number of elements that differ, and of all elements
	First           []int // index of the first element that differs
	A, B            any   // its values, in the Go type that Leaf.Load gives a scalar or string
	// MaxAbs is the largest |a-b| of the elements that differ, and MaxRel the largest
	// |a-b|/|b| of those where b is not 0. Both are infinite if one of two numbers is
	// finite and the other is not. Two NaNs have the distance 0.
	MaxAbs, MaxRel float64
}

// SideError is an error in reading one of two trees, and says which.
type SideError struct {
	B   bool // it is the second tree
	Err error
}

func (e *SideError) Error() string {
	if e.B {
		return fmt.Sprintf("second tree: %v", e.Err)
	}
	return fmt.Sprintf("first tree: %v", e.Err)
}

func (e *SideError) Unwrap() error { return e.Err }

// sided marks err, unless it is nil, as an error of tree b or else of tree a.
func sided(b bool, err error) error {
	if err == nil {
		return nil
	}
	return &SideError{b, err}
}

// Diff compares two trees, leaf by leaf, and returns the leaves that differ, in the order
// of their paths. It reads both trees in boxes of whole stored chunks, several at a time.
// It holds about 64 MiB of them, or eight chunks if these are larger. It may read chunks
// several times if the chunks of the two arrays cross each other. An error in reading is
// a *[SideError]; differences are not an error.
func Diff(ctx context.Context, a, b *Tree, o DiffOptions) ([]LeafDiff, error) {
	if !(o.RTol >= 0 && o.ATol >= 0) {
		return nil, fmt.Errorf("%w: tolerances %v and %v; they must not be negative", fault.ErrUsage, o.RTol, o.ATol)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !o.MetadataOnly {
		if err := cmp.Or(sided(false, mayRead(ctx, a.leaves)), sided(true, mayRead(ctx, b.leaves))); err != nil {
			return nil, err
		}
	}
	pairs := pairUp(a, b, o.Only)
	if err := checkPairs(pairs, &o); err != nil {
		return nil, err
	}
	for _, p := range pairs {
		p.compareMetadata(&o)
	}
	if !o.MetadataOnly {
		if err := diffValues(ctx, pairs, &o); err != nil {
			return nil, err
		}
	}
	var diffs []LeafDiff
	for _, p := range pairs {
		if p.diff.In != 0 {
			diffs = append(diffs, p.diff)
		}
	}
	return diffs, nil
}

// pair is a leaf of one tree, or of both.
type pair struct {
	a, b *Leaf
	diff LeafDiff

	mu sync.Mutex // guards diff.Values while arrays are compared
}

// pairUp pairs the leaves that have the same name. If a tree has several leaves of one
// name, they are paired in their order.
func pairUp(a, b *Tree, only func(*LeafMetadata) bool) []*pair {
	byName := func(t *Tree) []*Leaf {
		var leaves []*Leaf
		for _, l := range t.leaves {
			if only == nil || only(&l.meta) {
				leaves = append(leaves, l)
			}
		}
		slices.SortStableFunc(leaves, func(x, y *Leaf) int { return strings.Compare(x.meta.Path.String(), y.meta.Path.String()) })
		return leaves
	}
	left, right := byName(a), byName(b)
	pairs := make([]*pair, 0, max(len(left), len(right)))
	for len(left)+len(right) > 0 {
		order := 0
		switch {
		case len(left) == 0:
			order = 1
		case len(right) == 0:
			order = -1
		default:
			order = strings.Compare(left[0].meta.Path.String(), right[0].meta.Path.String())
		}
		p := &pair{}
		pairs = append(pairs, p)
		if order <= 0 {
			p.a, left = left[0], left[1:]
			p.diff.A, p.diff.Name = &p.a.meta, p.a.meta.Path.String()
		}
		if order >= 0 {
			p.b, right = right[0], right[1:]
			p.diff.B, p.diff.Name = &p.b.meta, p.b.meta.Path.String()
		}
	}
	slices.SortStableFunc(pairs, func(p, q *pair) int { return p.first().meta.Path.Compare(q.first().meta.Path) })
	return pairs
}

// checkPairs returns the errors of leaves that must be read and cannot be: those of the
// first tree, or else those of the second. A leaf that only one tree has differs in any
// case, so it need not be read.
func checkPairs(pairs []*pair, o *DiffOptions) error {
	var leaves, others []*Leaf
	for _, p := range pairs {
		if p.a != nil && p.b != nil {
			leaves, others = append(leaves, p.a), append(others, p.b)
		}
	}
	enough := func(leaves []*Leaf) func(i int) bool {
		return func(i int) bool { return o.MetadataOnly && leaves[i].isArray() }
	}
	return cmp.Or(sided(false, checkAll(leaves, enough(leaves))), sided(true, checkAll(others, enough(others))))
}

func (p *pair) first() *Leaf { return cmp.Or(p.a, p.b) }

// compareMetadata finds the differences that are visible without reading arrays.
func (p *pair) compareMetadata(o *DiffOptions) {
	if p.a == nil || p.b == nil {
		p.diff.In = DiffersPresence
		return
	}
	a, b := &p.a.meta, &p.b.meta
	in := &p.diff.In
	if !o.IgnoreKeys && !slices.EqualFunc(a.Path, b.Path, func(k, l tree.Key) bool { return k.Name == l.Name && k.Seq == l.Seq }) {
		*in |= DiffersKeys
	}
	if p.a.isArray() != p.b.isArray() || !p.a.isArray() && (a.Kind != b.Kind || a.Empty != b.Empty) {
		*in |= DiffersKind
		return
	}
	if o.Kinds && (a.Kind != b.Kind || a.ValueType != b.ValueType) {
		*in |= DiffersKind
	}
	if !p.a.isArray() {
		if s, t := p.a.value, p.b.value; a.Kind == tree.KindString && s != t && !o.MetadataOnly {
			*in |= DiffersValues
			p.diff.Values = &ValuesDiff{Count: 1, Elements: 1, A: s, B: t}
		}
		return
	}
	if a.PRNGImpl != b.PRNGImpl || a.DType != b.DType && !o.IgnoreDType {
		*in |= DiffersDType
	}
	if !slices.Equal(a.Shape, b.Shape) {
		*in |= DiffersShape
	}
	if o.Shardings && shardingText(a.Sharding) != shardingText(b.Sharding) {
		*in |= DiffersSharding
	}
}

func shardingText(s *sharding.Sharding) string {
	if s == nil {
		return ""
	}
	text, err := s.Marshal()
	if err != nil {
		return s.String()
	}
	return string(text)
}
