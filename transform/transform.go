// Package transform turns the pytree of a checkpoint into another one by rules,
// which are checked and planned before anything is read: leaves get new names,
// are cast, cut, split, joined, computed, added and dropped. A load that uses
// rules reads each chunk that the result needs once, straight to its place.
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
// Rules act one after the other, each on the tree as those before it have left
// it. What no rule names stays as it is. [Compile] gives the tree without loading
// it, to be shown, loaded, or saved as a new checkpoint; see view.Tree.Lazy.
//
// # Names
//
// Leaves are named as everywhere: their keys joined with dots. A rule that takes
// a leaf's name takes that of a dict or sequence as well where it says so, and
// means all leaves below it.
//
// In a name that a rule gives, params.w is a key of a dict, and layers[3] a
// position in a sequence. The keys that a leaf's new name shares with its old one
// at the end stay what they were, and so does the part that leads to a dict or
// sequence which is there: in a sequence, a number is a position. A sequence that
// loses elements becomes a dict of the others' positions, so that they keep their
// names; but one in which a rule has made positions must have all of them.
//
// # Errors
//
// All mistakes are reported together, before anything is read: a *orbax.LeafError
// for each, which says the rule and the leaf. Only what may follow from another
// mistake is left out, and reported when that is mended: a rule that reads what a
// failed rule would have made; that gives a leaf the name of one which a rule with a
// malformed pattern may have renamed or dropped; whose operation does not fit a leaf,
// after an [Each] that failed. Names and patterns that match
// nothing match orbax.ErrStructure, as do trees that cannot be; two leaves of one
// name match orbax.ErrKeyCollision; operations that do not fit their leaves match
// orbax.ErrShape, orbax.ErrDType or, on leaves that are no arrays,
// orbax.ErrLeafType.
package transform

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/view"
)

// Rule changes a tree. The functions of this package make rules; what is wrong
// with their arguments is reported when the rule is used. A Rule can be used any
// number of times, by several goroutines.
type Rule struct {
	text  string
	uses  []string       // other checkpointables that it reads
	err   error          // what is wrong with its arguments
	fails func(*planner) // notes what the rule would have done but for err; nil if that may be anything
	apply func(*planner)
}

// String returns how messages call the rule.
func (r Rule) String() string { return r.text }

// Compile applies rules to t and returns the tree that they make. Nothing is
// read. others has the trees that the rules call by the names of checkpointables,
// see [Checkpointables]; it may be nil.
func Compile(t *view.Tree, others map[string]*view.Tree, rules ...Rule) (*Plan, error) {
	p := newPlanner(t, others)
	for i, r := range rules {
		p.rule = fmt.Sprintf("rule %d (%s)", i+1, r.text)
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
	p.check()
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return p.plan(t.Metadata()), nil
}

// Checkpointables returns the names of the other checkpointables that rules
// read, sorted.
func Checkpointables(rules ...Rule) []string {
	var names []string
	for _, r := range rules {
		names = append(names, r.uses...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
