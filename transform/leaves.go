package transform

import (
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// Set adds the leaf target, or replaces it if x reads it. The other leaves that x reads
// stay; see [Drop].
//
//	transform.Set("params.qkv", transform.Concat(1,
//		transform.Leaf("params.q"), transform.Leaf("params.k"), transform.Leaf("params.v")))
func Set(target string, x Expr) Rule {
	changes := x.op.reads(target)
	return Rule{text: fmt.Sprintf("Set %q", target), apply: func(p *planner) {
		v := p.eval(target, x.op)
		old := p.byName[target]
		if changes && old != nil {
			p.replace([]*entry{old}, p.entry(target, old.path, v))
			return
		}
		p.replace(nil, p.entry(target, nil, v))
	}}
}

// Each replaces all leaves that match a pattern by the expressions that f returns for
// them. See [tree.ParsePattern] for patterns. f is called once for each leaf. Its result
// must depend only on its argument.
func Each(pattern string, f func(x Expr) Expr) Rule {
	parsed, err := tree.ParsePattern(pattern)
	r := each(fmt.Sprintf("Each %q", pattern), noMatch(pattern), namesOfPattern(pattern), f,
		func(e *entry) bool { return parsed.Match(e.path) })
	if err != nil {
		r.err = err
	}
	return r
}

// EachFunc is [Each] for the leaves for which match returns true.
func EachFunc(match func(*view.LeafMetadata) bool, f func(x Expr) Expr) Rule {
	none := fmt.Errorf("%w: no leaf matches", fault.ErrNoMatch)
	r := each("EachFunc", none, anyName, f, func(e *entry) bool { return e.leaf != nil && match(e.leaf.Metadata()) })
	if match == nil {
		r.err = errNil
	}
	return r
}

var errNil = fmt.Errorf("%w: the function is nil", fault.ErrStructure)

// each returns the rule for the leaves that match. about is the set of their names, and
// none is the error if no leaf matches.
func each(text string, none error, about names, f func(Expr) Expr, match func(*entry) bool) Rule {
	fails := func(p *planner) { p.doubt(doubts{changed: true}) }
	if f == nil {
		return Rule{text: text, err: errNil, fails: fails}
	}
	return Rule{text: text, fails: fails, apply: func(p *planner) {
		var old, made []*entry
		for _, e := range p.entries {
			if !match(e) {
				continue
			}
			old = append(old, e)
			if e.leaf == nil {
				made = append(made, e)
				continue
			}
			v := p.eval(e.name, f(e.expr()).op)
			made = append(made, p.entry(e.name, e.path, v)...)
		}
		if len(old) == 0 {
			p.failUnused(none, about, doubts{changed: true})
		}
		p.replace(old, made)
	}}
}

// Default adds the leaf target with a value of the program (see [Value]), unless the tree
// has a leaf, dict or sequence of that name.
func Default(target string, v any) Rule {
	x := Value(v)
	return Rule{text: fmt.Sprintf("Default %q", target), apply: func(p *planner) {
		there := p.below(target)
		for _, e := range there {
			e.rule = p.rule
		}
		if len(there) == 0 && !p.failedAt(target) {
			p.replace(nil, p.entry(target, nil, p.eval(target, x.op)))
		}
	}}
}

// Include adds the tree of another checkpointable of the checkpoint below the name at; ""
// is the root.
func Include(checkpointable, at string) Rule {
	return Rule{text: fmt.Sprintf("Include %q", checkpointable), apply: func(p *planner) {
		t := p.other(at, checkpointable)
		if t == nil {
			p.replace(nil, p.broken(at))
			return
		}
		var made []*entry
		for name, l := range t.Leaves() {
			made = append(made, p.entry(joinName(at, name), l.Metadata().Path, stored(checkpointable, l))...)
		}
		p.replace(nil, made)
	}}
}

// Drop removes the leaves that match one of the patterns; see [tree.ParsePattern]. Leaves
// that were made from them stay.
func Drop(patterns ...string) Rule {
	var parsed tree.Patterns
	var malformed []error
	for _, pattern := range patterns {
		one, err := tree.ParsePattern(pattern)
		if err != nil {
			malformed = append(malformed, err)
			continue
		}
		parsed = append(parsed, one)
	}
	return Rule{text: "Drop " + quote(patterns), each: true, apply: func(p *planner) {
		used := make([]bool, len(parsed))
		p.drop(func(e *entry) bool { return parsed.Match(e.path, used) })
		for _, err := range malformed {
			p.failRule(err, doubts{gone: true})
		}
		for i, pattern := range parsed {
			if !used[i] {
				p.failUnused(noMatch(pattern.String()), namesOfPattern(pattern.String()), doubts{})
			}
		}
	}}
}

// DropRest removes all leaves that no earlier rule has named, made or added. It also
// removes leaves that expressions have only read, such as the members of a [Concat].
func DropRest() Rule {
	return Rule{text: "DropRest", apply: func(p *planner) {
		p.drop(func(e *entry) bool { return e.rule == "" })
	}}
}

func (p *planner) drop(match func(*entry) bool) {
	var old []*entry
	for _, e := range p.entries {
		if match(e) {
			old = append(old, e)
		}
	}
	p.replace(old, nil)
	p.dropped = append(p.dropped, slices.DeleteFunc(old, func(e *entry) bool { return e.leaf == nil })...)
}
