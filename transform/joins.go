package transform

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"

	"github.com/go-orbax/orbax/view"
)

// StackRegexp joins leaves along a new axis. It takes the leaves whose whole names match
// the regular expression pattern, and joins the leaves to which replacement gives the
// same name; see [RenameRegexp]. The first group of pattern must match a number, which
// gives the order of the leaves. The numbers of n leaves that are joined must be 0 to
// n-1.
//
//	transform.StackRegexp(`params\.layer_(\d+)\.(.*)`, 0, "params.layers.$2")
func StackRegexp(pattern string, axis int, replacement string) Rule {
	return joinRegexp("Stack", stack, pattern, axis, replacement)
}

// ConcatRegexp is [StackRegexp], except that it joins the leaves along an axis that they
// have already, in the order of their numbers:
//
//	transform.ConcatRegexp(`params\.shard_(\d+)\.(.*)`, 0, "params.$2")
func ConcatRegexp(pattern string, axis int, replacement string) Rule {
	return joinRegexp("Concat", concat, pattern, axis, replacement)
}

func joinRegexp(name string, join func(axis int, args []*view.Leaf) (*view.Leaf, error), pattern string, axis int, replacement string) Rule {
	step := fmt.Sprintf("%s %d", strings.ToLower(name), axis)
	re, err := compile(pattern, replacement)
	if err == nil && re.NumSubexp() == 0 {
		err = fmt.Errorf("%w: %q has no group for the number", fault.ErrStructure, pattern)
	}
	targets := []names{namesOfTarget(replacement, "$")}
	fails := func(p *planner) { p.doubt(doubts{made: targets, gone: true}) }
	return Rule{text: fmt.Sprintf("%sRegexp %q", name, pattern), err: err, fails: fails, apply: func(p *planner) {
		groups := map[string][]numbered{}
		var old, made []*entry
		for _, e := range p.entries {
			if target, ok := re.expand(e.name); ok {
				old = append(old, e)
				groups[target] = append(groups[target], numbered{re.FindStringSubmatch(e.name)[1], e})
			}
		}
		if len(old) == 0 {
			p.failUnused(noMatch(pattern), re.names(), doubts{made: targets})
		}
		more := p.mayHaveMade(re.names()) // some of the leaves to be joined may be missing
		for _, target := range slices.Sorted(maps.Keys(groups)) {
			members, err := inOrder(groups[target])
			if err != nil && !more && !p.doubts.gone {
				p.fail(target, err)
			}
			if err != nil || more {
				made = append(made, p.broken(target)...)
				continue
			}
			joined := p.make(target, step, members, func(l []*view.Leaf) (*view.Leaf, error) { return join(axis, l) })
			made = append(made, p.entry(target, groups[target][0].path, joined)...)
		}
		p.replace(old, made)
	}}
}

// numbered is a leaf with the number in its name.
type numbered struct {
	number string
	*entry
}

// groupNumber returns the number that s spells, or -1.
func groupNumber(s string) int {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}

// inOrder returns the values of the leaves in the order of their numbers.
func inOrder(leaves []numbered) ([]value, error) {
	ordered := make([]value, len(leaves))
	taken := make([]string, len(leaves))
	for _, l := range leaves {
		n := groupNumber(l.number)
		switch {
		case n < 0:
			return nil, fmt.Errorf("%w: the first group of %q is %q, not a number", fault.ErrStructure, l.name, l.number)
		case n >= len(leaves):
			return nil, fmt.Errorf("%w: %d leaves are to be joined, and %q has the number %d; they must be 0 to %d", fault.ErrStructure, len(leaves), l.name, n, len(leaves)-1)
		case taken[n] != "":
			return nil, fmt.Errorf("%w: both %q and %q have the number %d", fault.ErrKeyCollision, taken[n], l.name, n)
		}
		ordered[n], taken[n] = l.value, l.name
	}
	return ordered, nil
}

// maxLeaves bounds the number of leaves into which one leaf is divided, because the shape
// of a hostile checkpoint can be anything.
const maxLeaves = 1 << 20

// Unstack divides the leaf source, or each leaf below source, into its elements along an
// axis. The new leaves do not have that axis. In their names target replaces source, and
// %d in target is the number of the element, from 0 on:
//
//	transform.Unstack("params.layers", 0, "params.layer_%d")
func Unstack(source string, axis int, target string) Rule {
	r := Rule{text: fmt.Sprintf("Unstack %q", source)}
	if strings.Count(target, "%d") != 1 {
		r.err = fmt.Errorf("%w: the target %q must have one %%d, where the number goes", fault.ErrStructure, target)
	}
	made := namesOfTarget(target, "%")
	made.whole = false // the intended target contains a number
	r.fails = func(p *planner) {
		p.giveUp(source)
		p.doubt(doubts{made: append(numberedNames(made.text), made)})
	}
	r.apply = func(p *planner) {
		if !p.unstack(source, axis, target) {
			p.doubt(doubts{made: []names{made}})
		}
	}
	return r
}

// numberedNames returns the names that may have been meant by a target that lacks its %d:
// those that begin with any prefix of target and a digit.
func numberedNames(target string) (made []names) {
	for i := range len(target) + 1 {
		for _, digit := range "0123456789" {
			made = append(made, names{text: target[:i] + string(digit)})
		}
	}
	return made
}

// unstack reports whether it has made all leaves.
func (p *planner) unstack(source string, axis int, target string) (ok bool) {
	old := p.take(source)
	ok = len(old) > 0
	var made []*entry
	var first *entry // its size along the axis is required of the others
	for _, e := range old {
		if e.leaf == nil {
			ok = false
			continue
		}
		n, err := countAlong(axis, e, first)
		if err != nil {
			p.failValue(e.name, err)
			ok = false
			continue
		}
		first = cmp.Or(first, e)
		rest, _ := cutName(e.name, source)
		for i := range n {
			name := joinName(strings.Replace(target, "%d", strconv.Itoa(i), 1), rest)
			made = append(made, p.part(name, e, e.expr().Index(axis, i))...)
		}
	}
	p.replace(old, made)
	return ok
}

// countAlong returns the number of leaves into which e is divided along an axis. It must
// equal that of first, if first is not nil.
func countAlong(axis int, e, first *entry) (int, error) {
	n, err := dimension(e.leaf, axis)
	switch {
	case err != nil:
		return 0, err
	case n == 0 || n > maxLeaves:
		return 0, fmt.Errorf("%w: %s has %d elements along axis %d, and can be divided into 1 to %d leaves", fault.ErrShape, describe(e.leaf.Metadata()), n, axis, maxLeaves)
	case first == nil:
		return n, nil
	}
	if count, _ := dimension(first.leaf, axis); n != count {
		return 0, fmt.Errorf("%w: it has %d elements along axis %d, and %q has %d", fault.ErrShape, n, axis, first.name, count)
	}
	return n, nil
}

// Split divides the leaf source, or each leaf below source, into pieces along an axis.
// The pieces have the given sizes, or equal sizes if sizes is empty. There is one piece
// for each target, which replaces source in its name:
//
//	transform.Split("attn.qkv", -1, nil, "attn.q", "attn.k", "attn.v")
func Split(source string, axis int, sizes []int, targets ...string) Rule {
	sizes, targets = slices.Clone(sizes), slices.Clone(targets)
	r := Rule{text: fmt.Sprintf("Split %q", source)}
	if len(targets) == 0 || len(sizes) > 0 && len(sizes) != len(targets) {
		r.err = fmt.Errorf("%w: %d sizes for %d targets", fault.ErrStructure, len(sizes), len(targets))
	}
	r.fails = func(p *planner) {
		p.giveUp(source)
		for _, target := range targets {
			p.doubt(doubts{made: []names{namesOfTarget(target, "")}})
		}
		if len(targets) == 0 {
			p.doubt(doubts{made: []names{anyName}})
		}
	}
	r.apply = func(p *planner) {
		old := p.take(source)
		var made []*entry
		for _, e := range old {
			rest, _ := cutName(e.name, source)
			of := sizes
			if e.leaf != nil {
				var err error
				if of, err = parts(e.leaf, axis, sizes, len(targets)); err != nil {
					p.failValue(e.name, err)
				}
			}
			start := 0
			for i, target := range targets {
				name := joinName(target, rest)
				if len(of) == 0 {
					made = append(made, p.broken(name)...)
					continue
				}
				made = append(made, p.part(name, e, e.expr().Slice(axis, start, start+of[i], 1))...)
				start += of[i]
			}
		}
		if len(old) == 0 {
			for _, target := range targets {
				made = append(made, p.broken(target)...)
			}
		}
		p.replace(old, made)
	}
	return r
}

// part returns an entry for x, which is a piece of e.
func (p *planner) part(name string, e *entry, x Expr) []*entry {
	return p.renamed(name, e, p.eval(name, x.op))
}

// dimension returns the number of elements along an axis.
func dimension(l *view.Leaf, axis int) (int, error) {
	shape := l.Metadata().Shape
	axis = axisOf(axis, len(shape))
	switch {
	case l.Metadata().Err != nil:
		return 0, l.Metadata().Err
	case l.DType() == array.Invalid:
		return 0, fmt.Errorf("%w: it is %v, not an array", fault.ErrLeafType, l.Metadata().Spec())
	}
	if _, err := l.Slice(axis, 0, 0, 1); err != nil { // the error describes the fault of the axis
		return 0, err
	}
	return shape[axis], nil
}

// parts returns the sizes of n pieces along an axis: the given sizes, or equal ones.
func parts(l *view.Leaf, axis int, sizes []int, n int) ([]int, error) {
	dim, err := dimension(l, axis)
	if err != nil {
		return nil, err
	}
	if len(sizes) == 0 {
		if dim%n != 0 {
			return nil, fmt.Errorf("%w: %d elements along axis %d do not divide into %d equal parts", fault.ErrShape, dim, axis, n)
		}
		return slices.Repeat([]int{dim / n}, n), nil
	}
	sum := 0
	for _, s := range sizes {
		if s < 0 || s > dim-sum {
			sum = -1
			break
		}
		sum += s
	}
	if sum != dim {
		return nil, fmt.Errorf("%w: axis %d has %d elements, and parts of %v do not add up to that", fault.ErrShape, axis, dim, sizes)
	}
	return sizes, nil
}
