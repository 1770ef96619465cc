package tree

import (
	"fmt"
	"strconv"

	"github.com/go-orbax/orbax/internal/fault"
)

// Build makes a value of leaves, in any order: dicts become map[string]any,
// sequences []any, None nil, other empty containers empty ones of their own
// (Tuple for EmptyTuple), all other leaves their value. A sequence all of whose
// keys are marked as a tuple's is a Tuple. A leaf at the root is
// returned bare, and without leaves the result is nil.
//
// The errors wrap orbax.ErrStructure: two leaves with one path, a leaf that is
// also a container, positions and dict keys in one container, positions that
// are not 0 to n-1.
func Build(leaves []Leaf) (any, error) {
	root, err := grow(len(leaves), func(i int) Path { return leaves[i].Path })
	if err != nil {
		return nil, err
	}
	return root.value(func(i int) any {
		if e, ok := leaves[i].Value.(Empty); ok {
			return e.value()
		}
		return leaves[i].Value
	}), nil
}

// branch is a node of a tree of leaves that are known by number.
type branch struct {
	leaf  int // the number of the leaf, -1 for a container
	seq   bool
	tuple bool // of a seq
	kids  map[string]*branch
}

// grow makes a tree of n leaves with the given paths and checks that it is one.
// The recursion of all who walk it is bounded by maxDepth.
func grow(n int, path func(int) Path) (*branch, error) {
	root := &branch{leaf: -1}
	var errs pathErrors
	for i := range n {
		p := path(i)
		if len(p) > maxDepth {
			errs.add(p[:8], fmt.Errorf("%w: below this a leaf is nested %d levels deep, at most %d can be read", fault.ErrStructure, len(p), maxDepth))
			continue
		}
		if err := root.insert(p, i); err != nil {
			errs.add(p, err)
		}
	}
	root.checkDense(nil, &errs)
	if len(errs) > 0 {
		return nil, errs.join()
	}
	return root, nil
}

func (b *branch) insert(p Path, leaf int) error {
	for i, k := range p {
		if b.leaf >= 0 {
			return fmt.Errorf("%w: %s is a leaf and the path %s goes through it", fault.ErrStructure, p[:i].keys(), p.keys())
		}
		if b.kids == nil {
			b.kids = map[string]*branch{}
			b.seq, b.tuple = k.Seq, k.Seq
		}
		b.tuple = b.tuple && k.Tuple
		if b.seq != k.Seq {
			return fmt.Errorf("%w: %s has both positions and keys; %s is the odd one", fault.ErrStructure, p[:i].keys(), p[:i+1].keys())
		}
		kid := b.kids[k.Name]
		if kid == nil {
			kid = &branch{leaf: -1}
			b.kids[k.Name] = kid
		}
		b = kid
	}
	switch {
	case b.leaf >= 0:
		return fmt.Errorf("%w: two leaves have the path %s", fault.ErrStructure, p.keys())
	case b.kids != nil:
		return fmt.Errorf("%w: %s is a leaf and the path of another leaf goes through it", fault.ErrStructure, p.keys())
	}
	b.leaf = leaf
	return nil
}

// checkDense checks that the keys of each sequence are the decimal numbers from
// 0 to n-1.
func (b *branch) checkDense(p Path, errs *pathErrors) {
	if b.seq {
		for i := range len(b.kids) {
			if b.kids[strconv.Itoa(i)] == nil {
				errs.add(append(Path(nil), p...), fmt.Errorf("%w: a sequence of %d elements has none at position %d", fault.ErrStructure, len(b.kids), i))
				break
			}
		}
	}
	for name, kid := range b.kids {
		if kid.kids != nil {
			kid.checkDense(append(p, Key{Name: name, Seq: b.seq}), errs)
		}
	}
}

// value returns the subtree as plain maps and slices.
func (b *branch) value(leaf func(int) any) any {
	switch {
	case b.leaf >= 0:
		return leaf(b.leaf)
	case b.seq:
		s := make([]any, len(b.kids))
		for i := range s {
			s[i] = b.kids[strconv.Itoa(i)].value(leaf)
		}
		if b.tuple {
			return Tuple(s)
		}
		return s
	case b.kids != nil:
		m := make(map[string]any, len(b.kids))
		for name, kid := range b.kids {
			m[name] = kid.value(leaf)
		}
		return m
	}
	return nil
}
