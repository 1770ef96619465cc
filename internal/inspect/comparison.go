package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// Comparison is the result of [Inspector.Diff] for the checkpoints at A and B.
type Comparison struct {
	A, B  string
	Found *orbax.Difference
}

// Diff compares two checkpoints, or their checkpointables called name. With patterns it
// compares only the leaves that match them, and each pattern must match a leaf.
func (in Inspector) Diff(ctx context.Context, a, b, name string, patterns []string, o view.DiffOptions) (*Comparison, error) {
	parsed, err := tree.ParsePatterns(patterns...)
	if err != nil {
		return nil, err
	}
	used := make([]bool, len(patterns))
	if len(patterns) > 0 {
		o.Only = func(m *view.LeafMetadata) bool { return parsed.Match(m.Path, used) }
	}
	ofA, err := in.Open(ctx, a)
	if err != nil {
		return nil, err
	}
	defer ofA.Close()
	ofB, err := in.Open(ctx, b)
	if err != nil {
		return nil, err
	}
	defer ofB.Close()
	found, err := ofA.Diff(ctx, ofB, o, append(OptionsOf[orbax.LoadOption](in.Fill()), orbax.Name(name))...)
	if err != nil {
		var of *orbax.Error
		if errors.As(err, &of) && of.Path == b {
			return nil, NameHint(err, ofB, name)
		}
		return nil, NameHint(err, ofA, name)
	}
	if name != "" && len(found.Unknown) > 0 {
		m, err := Look(ctx, ofA, name)
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %s is of kind %s, which cannot be compared", a, partTitle(name), in.KindOf(ctx, m, name))
	}
	if i := slices.Index(used, false); i >= 0 {
		return nil, withNames(fmt.Errorf("no leaf matches %q", patterns[i]), AnyLeaf)
	}
	return &Comparison{A: fault.Redacted(a), B: fault.Redacted(b), Found: found}, nil
}

// OnlyKeys reports whether the trees differ only in the division of paths into keys. An
// example is a tensor's name beside the keys of nested dicts.
func (c *Comparison) OnlyKeys() bool {
	d := c.Found
	if len(d.OnlyA)+len(d.OnlyB) > 0 || slices.Contains(slices.Collect(maps.Values(d.Documents)), true) {
		return false
	}
	for _, leaves := range d.Trees {
		for i := range leaves {
			if leaves[i].In != view.DiffersKeys {
				return false
			}
		}
	}
	return true
}

// Several reports whether the names of leaves need the names of their checkpointables.
func (c *Comparison) Several() bool {
	d := c.Found
	return len(d.Trees)+len(d.Documents)+len(d.Unknown)+len(d.OnlyA)+len(d.OnlyB) > 1
}

// ElementArray returns an element as an array of rank 0.
func ElementArray(v any) *array.Array {
	if a, ok := v.(*array.Array); ok {
		return a
	}
	return array.ScalarOf(v)
}
