// Package transform turns the pytree of a checkpoint into another one by rules.
//
// Rules rename, cast, cut, split, join, compute, add and drop leaves. They are checked
// and planned before anything is read. A load that uses rules reads each chunk that the
// result needs once, straight to its place.
//
//	state, err := orbax.LoadAs[State](ctx, path, orbax.Transform(
//		transform.Rename(map[string]string{"params.embed": "params.embedding"}),
//		transform.Unstack("params.layers", 0, "params.layer_%d"),
//		transform.Each("params.**.kernel", func(x transform.Expr) transform.Expr {
//			return x.Transpose().Cast(array.BFloat16)
//		}),
//		transform.Drop("opt_state"),
//	))
//
// Rules act one after the other, each on the tree that the earlier rules have left.
// Leaves that no rule names stay as they are. [Compile] returns the new tree without
// loading it. A program can show it, load it, or save it as a new checkpoint; see
// [view.Tree.Lazy].
//
// # Names
//
// The name of a leaf is its keys joined with dots, as everywhere. Where the documentation
// of a rule says so, a rule that takes a leaf's name also takes the name of a dict or
// sequence, and means all leaves below it.
//
// In a name that a rule gives to a leaf, params.w is a key of a dict, and layers[3] a
// position in a sequence. A number after a dot, as in layers.3, may be a key or a
// position. Where the new name of a leaf ends like its old one, each of these keys and
// positions stays what it was. Where the new name begins with the name of a dict or
// sequence that the tree has, a number is a key in the dict and a position in the
// sequence. Everywhere else it is a key.
//
// A sequence that loses elements becomes a dict with the positions of the remaining
// elements as keys, so that they keep their names. But a sequence in which a rule has
// made positions must have all positions from 0 on.
//
// # Errors
//
// All mistakes are reported together, before anything is read. Each error names the rule,
// except the error that the rules leave no leaf. An error about a leaf is a
// *orbax.LeafError, which names the leaf.
//
// A mistake that may only be the result of another one is not reported until the other is
// corrected. There are three cases: a rule reads a leaf that a failed rule was to make; a
// rule uses a name that a rule with a malformed pattern might have freed or given; an
// operation does not fit a leaf that a failed [Each] was to change.
//
// A name or pattern that matches no leaf is an error that matches orbax.ErrStructure,
// except in [Optional]. So is a tree that cannot exist, for example one with a leaf below
// a leaf. Two leaves with one name match orbax.ErrKeyCollision. An operation that does
// not fit its leaf matches orbax.ErrShape, orbax.ErrDType or, if the leaf is not an
// array, orbax.ErrLeafType.
package transform

import (
	"errors"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/view"
)

// Rule changes a tree. The functions of this package make rules. Mistakes in their
// arguments are reported when the rule is used. A Rule can be used any number of times,
// by several goroutines.
type Rule struct {
	text  string
	err   error          // mistake in its arguments
	fails func(*planner) // records the effect that the rule would have had without err; nil if that may be anything
	apply func(*planner)
	// each says that an optional rule skips only those of its names that no leaf has.
	each bool
}

// String returns the name of the rule in messages.
func (r Rule) String() string { return r.text }

// Compile applies rules to t and returns a [Plan] of the tree that they make. It reads no
// array. If a rule names another checkpointable (see [Include] and [Expr.Of]), Compile
// calls open with that name, once for each name. An error of open is a mistake of each
// rule that names the checkpointable. open may be nil if there are no other
// checkpointables.
func Compile(t *view.Tree, open func(checkpointable string) (*view.Tree, error), rules ...Rule) (*Plan, error) {
	p := newPlanner(t, open)
	for i, r := range rules {
		p.number = i + 1
		p.apply(r)
	}
	p.check()
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return p.plan(t.Metadata()), nil
}

// apply applies a rule. If the rule fails, it records the doubts that the rule leaves.
func (p *planner) apply(r Rule) {
	p.rule = fmt.Sprintf("rule %d (%s)", p.number, r.text)
	switch {
	case r.err != nil && r.fails != nil:
		p.report(r.err)
		r.fails(p)
	case r.err != nil:
		p.failRule(r.err, anything)
	case r.apply == nil:
		p.failRule(fmt.Errorf("%w: the zero Rule", fault.ErrStructure), anything)
	default:
		r.apply(p)
	}
}
