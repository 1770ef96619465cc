package transform

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-orbax/orbax/internal/fault"
)

// inner is a dict or sequence of the finished tree.
type inner struct {
	name      string
	positions map[string]bool
	seq, dict *entry // an entry below a position, and an entry below a key of a dict
}

// check reports mistakes that concern the tree as a whole.
func (p *planner) check() {
	if len(p.entries) == 0 && len(p.errs) == 0 {
		p.errs = append(p.errs, fmt.Errorf("%w: the rules leave no leaf of the tree", fault.ErrStructure))
	}
	inners := map[string]*inner{} // indexed by the ID of the path
	leaves := map[string]*entry{}
	for _, e := range p.entries {
		if e.leaf == nil {
			if len(p.errs) == 0 {
				p.errs = append(p.errs, fmt.Errorf("%w: %s did not make %q", fault.ErrStructure, e.rule, e.name))
			}
			continue
		}
		for i, k := range e.path {
			at := e.path[:i].ID()
			in := inners[at]
			if in == nil {
				in = &inner{name: e.path[:i].String(), positions: map[string]bool{}}
				inners[at] = in
			}
			if k.Seq {
				in.positions[k.Name], in.seq = true, e
			} else {
				in.dict = e
			}
		}
		leaves[e.path.ID()] = e
	}
	for _, at := range slices.Sorted(maps.Keys(inners)) {
		p.checkInner(at, inners[at], leaves[at])
	}
}

// last returns the entry whose name was given later.
func (p *planner) last(a, b *entry) *entry {
	if slices.Index(p.entries, a) < slices.Index(p.entries, b) {
		return b
	}
	return a
}

// checkInner reports mistakes in one dict or sequence. leaf is a leaf at the same place,
// or nil. checkInner does not report mistakes that may follow from a rule that failed.
func (p *planner) checkInner(at string, in *inner, leaf *entry) {
	if leaf != nil && !p.doubts.gone {
		kind, below := "dict", in.dict
		if below == nil {
			kind, below = "sequence", in.seq
		}
		p.rule = p.last(leaf, below).rule
		p.fail(leaf.name, fmt.Errorf("%w: it would be %s, and also the %s that %q is in", fault.ErrStructure, leaf.origin(), kind, below.name))
	}
	gap := -1
	for i := range len(in.positions) {
		if !in.positions[strconv.Itoa(i)] {
			gap = i
			break
		}
	}
	rule, seated := p.seated[at]
	switch {
	case len(in.positions) == 0 || gap >= 0 && !seated: // a dict, or a sequence that becomes one
	case p.doubts.gone, in.dict == nil && p.mayHaveMade(whole(in.name)):
	case in.dict != nil:
		p.rule = cmp.Or(rule, in.dict.rule)
		p.fail(in.name, fmt.Errorf("%w: %q would be a key in a sequence, where %q has a position", fault.ErrStructure, in.dict.name, in.seq.name))
	case gap >= 0:
		p.rule = rule
		p.fail(in.name, fmt.Errorf("%w: a sequence of %d elements has none at position %d", fault.ErrStructure, len(in.positions), gap))
	}
}
