package orbax

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/internal/found"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/view"
)

// Difference is the result of [Diff] for two checkpoints a and b.
type Difference struct {
	// OnlyA and OnlyB name the checkpointables that only one of them has. A
	// checkpointable whose kind differs, such as a pytree in one and a JSON document in
	// the other, is in both lists.
	OnlyA, OnlyB []string
	// Trees has the leaves that differ, for each pytree that both have.
	Trees map[string][]view.LeafDiff
	// Documents says, for each JSON document that both have, whether its values differ.
	Documents map[string]bool
	// Unknown names the checkpointables that both have and that cannot be compared,
	// because they are of other kinds.
	Unknown []string
	// Leaves is the number of leaves in the pytrees of both, each counted once.
	Leaves int
}

// Equal reports whether the comparison found no difference. It ignores Unknown.
func (d *Difference) Equal() bool {
	for _, leaves := range d.Trees {
		if len(leaves) > 0 {
			return false
		}
	}
	for _, differs := range d.Documents {
		if differs {
			return false
		}
	}
	return len(d.OnlyA) == 0 && len(d.OnlyB) == 0
}

// Diff compares the checkpoints at the paths a and b. It compares checkpointables that
// have the same name, or with [Name] only that one. If each checkpoint has only one
// checkpointable, or is itself one, as a file of another format is, Diff compares these
// two whatever their names. It reads both in pieces, so that memory does not limit their
// size. The other options say how pytrees are read. A difference is in the result and is
// not an error.
//
// To compare a state in memory with a checkpoint, use [view.Diff] with the trees that
// [view.Of] and [Checkpoint.Tree] return.
func Diff(ctx context.Context, a, b string, o view.DiffOptions, options ...LoadOption) (*Difference, error) {
	return with(ctx, a, opening(options), func(ckA *Checkpoint) (*Difference, error) {
		return once(ctx, b, opening(options), func(ckB *Checkpoint) (*Difference, error) { return ckA.Diff(ctx, ckB, o, options...) })
	})
}

// Diff compares c with b; see the function [Diff].
func (c *Checkpoint) Diff(ctx context.Context, b *Checkpoint, o view.DiffOptions, options ...LoadOption) (*Difference, error) {
	d := &differ{a: side{c, c.config(options)}, b: side{b, b.config(options)}, options: o}
	d.found.Trees, d.found.Documents = map[string][]view.LeafDiff{}, map[string]bool{}
	if err := d.run(ctx); err != nil {
		return nil, err
	}
	return &d.found, nil
}

// differ compares two checkpoints.
type differ struct {
	a, b    side
	options view.DiffOptions
	found   Difference
}

// side is one of the checkpoints that are compared.
type side struct {
	*Checkpoint
	config *loadConfig
}

// both calls f for both sides, each with the name of a checkpointable.
func both[T any](ctx context.Context, d *differ, nameA, nameB string, f func(s side, name string) (T, error)) (a, b T, err error) {
	if a, err = f(d.a, nameA); err != nil {
		return a, b, wrap(ctx, "diff", d.a.path, err)
	}
	if b, err = f(d.b, nameB); err != nil {
		return a, b, wrap(ctx, "diff", d.b.path, err)
	}
	return a, b, nil
}

func (d *differ) run(ctx context.Context) error {
	for _, s := range []side{d.a, d.b} {
		if err := cmp.Or(s.config.checkTarget(nil), s.checkReading(s.config), s.found.CheckWhole()); err != nil {
			return wrap(ctx, "diff", s.path, err)
		}
	}
	partsA, partsB := d.a.found.Items(), d.b.found.Items()
	name := d.a.config.Name
	switch {
	case name == "" && len(partsA) == 1 && len(partsB) == 1:
		return d.part(ctx, partsA[0], partsB[0])
	case name != "" || !d.a.found.HasItems() || !d.b.found.HasItems():
		a, b, err := both(ctx, d, name, name, func(s side, name string) (string, error) { return s.pick(ctx, name, s.config.Registry) })
		if err != nil {
			return err
		}
		if name == "" {
			d.found.OnlyA, d.found.OnlyB = without(partsA, a), without(partsB, b)
		}
		return d.part(ctx, a, b)
	}
	for _, name := range partsA {
		if !d.b.found.Has(name) {
			d.found.OnlyA = append(d.found.OnlyA, name)
		} else if err := d.part(ctx, name, name); err != nil {
			return err
		}
	}
	for _, name := range partsB {
		if !d.a.found.Has(name) {
			d.found.OnlyB = append(d.found.OnlyB, name)
		}
	}
	return nil
}

func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
}

// part compares the checkpointable nameA of a with nameB of b.
func (d *differ) part(ctx context.Context, nameA, nameB string) error {
	name := cmp.Or(nameA, nameB)
	kindA, kindB, err := both(ctx, d, nameA, nameB, func(s side, name string) (partKind, error) { return s.kind(ctx, name) })
	if err != nil {
		return err
	}
	switch {
	case kindA != kindB:
		d.found.OnlyA = append(d.found.OnlyA, name)
		d.found.OnlyB = append(d.found.OnlyB, name)
		return nil
	case kindA == otherPart:
		d.found.Unknown = append(d.found.Unknown, name)
		return nil
	case kindA == jsonPart:
		return d.documents(ctx, name, nameA, nameB)
	}
	return d.trees(ctx, name, nameA, nameB)
}

func (d *differ) trees(ctx context.Context, name, nameA, nameB string) error {
	a, b, err := both(ctx, d, nameA, nameB, func(s side, name string) (*view.Tree, error) { return s.tree(ctx, name, s.config) })
	if err != nil {
		return err
	}
	leaves, err := view.Diff(ctx, a, b, d.options)
	var of *view.SideError
	switch {
	case errors.As(err, &of) && of.B:
		return wrap(ctx, "diff", d.b.path, of.Err)
	case errors.As(err, &of):
		return wrap(ctx, "diff", d.a.path, of.Err)
	case err != nil:
		return wrap(ctx, "diff", d.a.path, err)
	}
	d.found.Trees[name] = leaves
	d.found.Leaves += d.count(a, b)
	return nil
}

// count returns how many leaves were compared.
func (d *differ) count(trees ...*view.Tree) int {
	names := map[string]bool{}
	for _, t := range trees {
		for name, l := range t.Leaves() {
			if d.options.Only == nil || d.options.Only(l.Metadata()) {
				names[name] = true
			}
		}
	}
	return len(names)
}

// documents compares JSON documents: their values, not their text.
func (d *differ) documents(ctx context.Context, name, nameA, nameB string) error {
	a, b, err := both(ctx, d, nameA, nameB, func(s side, name string) (any, error) { return s.loadPart(ctx, name, nil, s.config) })
	if err != nil {
		return err
	}
	// With their types, and keys in order; a NaN, which is not equal to itself, is
	// the same text.
	d.found.Documents[name] = fmt.Sprintf("%#v", a) != fmt.Sprintf("%#v", b)
	return nil
}

// partKind is what Diff makes of a checkpointable.
type partKind int

const (
	treePart partKind = iota
	jsonPart
	otherPart
)

// kind reports of which kind a checkpointable is.
func (c side) kind(ctx context.Context, name string) (partKind, error) {
	if err := c.found.LostTree(ctx, name); err != nil {
		return otherPart, err
	}
	if c.ownTrees(name, c.config.Registry) != nil {
		return treePart, nil
	}
	isTree, err := c.found.HasTree(ctx, name)
	if err != nil || isTree {
		return treePart, err
	}
	typ, err := c.found.HandlerType(ctx, name)
	if err == nil && found.IsOf[handler.JSONHandler](typ) {
		return jsonPart, nil
	}
	return otherPart, err
}
