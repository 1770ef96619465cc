package tree

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// branch is a node of a tree whose leaves are known by number.
type branch struct {
	leaf  int // the number of the leaf, -1 for a container
	seq   bool
	tuple bool  // for a seq: it is a tuple
	kids  []kid // in their order, once the tree has been grown
	next  int   // guess for the index of the next kid to be looked up
	// byName holds the kids while the tree grows, if they do not come in their order.
	byName map[string]*branch
}

// kid is a child of a container, with its name.
type kid struct {
	name string
	*branch
}

// grow makes a tree of n leaves with the given paths and checks that the paths form a
// tree. maxDepth bounds the recursion of all functions that walk it.
func grow(n int, path func(int) Path) (*branch, error) {
	root := &branch{leaf: -1}
	var slab branches
	var errs pathErrors
	for i := range n {
		p := path(i)
		if len(p) > maxDepth {
			errs.add(p[:8], fmt.Errorf("%w: below this a leaf is nested %d levels deep, at most %d can be read", fault.ErrStructure, len(p), maxDepth))
			continue
		}
		if err := root.insert(p, i, &slab); err != nil {
			errs.add(p, err)
		}
	}
	root.settle(make(Path, 0, 16), &errs)
	if len(errs) > 0 {
		return nil, errs.join()
	}
	return root, nil
}

// branches is memory for branches.
type branches []branch

func (s *branches) new() *branch {
	if len(*s) == 0 {
		*s = make(branches, 64)
	}
	b := &(*s)[0]
	*s = (*s)[1:]
	b.leaf = -1
	return b
}

func (b *branch) insert(p Path, leaf int, slab *branches) error {
	for i, k := range p {
		if b.leaf >= 0 {
			return fmt.Errorf("%w: %s is a leaf and the path %s goes through it", fault.ErrStructure, p[:i].keys(), p.keys())
		}
		if len(b.kids) == 0 {
			b.seq, b.tuple = k.Seq, k.Seq
		}
		b.tuple = b.tuple && k.Tuple
		if b.seq != k.Seq {
			return fmt.Errorf("%w: %s has both positions and keys; %s is the odd one", fault.ErrStructure, p[:i].keys(), p[:i+1].keys())
		}
		b = b.under(k.Name, slab)
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

// under returns the child with a name, and makes it if there is none. It is fastest if
// the leaves come in the order of their paths, as they mostly do.
func (b *branch) under(name string, slab *branches) *branch {
	if n := len(b.kids); n > 0 && b.byName == nil {
		switch order := b.compare(b.kids[n-1].name, name); {
		case order == 0:
			return b.kids[n-1].branch
		case order > 0:
			b.byName = make(map[string]*branch, 2*n)
			for _, k := range b.kids {
				b.byName[k.name] = k.branch
			}
		}
	}
	if found := b.byName[name]; found != nil {
		return found
	}
	k := kid{name, slab.new()}
	b.kids = append(b.kids, k)
	if b.byName != nil {
		b.byName[name] = k.branch
	}
	return k.branch
}

// compare is [Path.Compare] for two keys of the branch.
func (b *branch) compare(x, y string) int {
	if b.seq && len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(x, y)
}

// settle sorts the kids, and checks that the keys of each sequence are the decimal
// numbers from 0 to n-1.
func (b *branch) settle(p Path, errs *pathErrors) {
	if b.byName != nil {
		slices.SortFunc(b.kids, func(x, y kid) int { return b.compare(x.name, y.name) })
		b.byName = nil
	}
	if b.seq {
		for i := range b.kids {
			if b.kid(strconv.Itoa(i)) == nil {
				errs.add(slices.Clone(p), fmt.Errorf("%w: a sequence of %d elements has none at position %d", fault.ErrStructure, len(b.kids), i))
				break
			}
		}
	}
	for _, k := range b.kids {
		if k.kids != nil {
			k.settle(append(p, Key{Name: k.name, Seq: b.seq}), errs)
		}
	}
}

// kid returns the child with a name, or nil. It is fastest if the names are looked up in
// their order.
func (b *branch) kid(name string) *branch {
	if b.next >= len(b.kids) || b.kids[b.next].name != name {
		i, ok := slices.BinarySearchFunc(b.kids, name, func(k kid, name string) int { return b.compare(k.name, name) })
		if !ok {
			return nil
		}
		b.next = i
	}
	b.next++
	return b.kids[b.next-1].branch
}

// value returns the subtree as plain maps and slices.
func (b *branch) value(leaf func(int) any) any {
	switch {
	case b.leaf >= 0:
		return leaf(b.leaf)
	case b.seq:
		s := make([]any, len(b.kids))
		for i, k := range b.kids {
			s[i] = k.value(leaf)
		}
		if b.tuple {
			return Tuple(s)
		}
		return s
	case b.kids != nil:
		m := make(map[string]any, len(b.kids))
		for _, k := range b.kids {
			m[k.name] = k.value(leaf)
		}
		return m
	}
	return nil
}
