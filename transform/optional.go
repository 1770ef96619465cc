package transform

import (
	"maps"
	"slices"
)

// Optional makes rules that may stay in a program after the first checkpoint of the new
// shape: it applies those of rules, one after the other, whose leaves the tree has, and
// passes over the others.
//
//	transform.Optional(
//		transform.Rename(map[string]string{"lr": "rate"}),
//		transform.Set("params.qkv", transform.Concat(1,
//			transform.Leaf("params.q"), transform.Leaf("params.k"), transform.Leaf("params.v"))),
//		transform.Drop("params.q", "params.k", "params.v"),
//	)
//
// A rule is passed over if a name that it takes is that of no leaf, dict or sequence, or
// if no leaf matches its pattern. A [Rename] or [Drop] does without those of its names and
// patterns alone of which that is true. All other mistakes are reported. A name that is
// misspelled is passed over too: a load then reports that its target does not fit. Names
// that change places, as a to b and b to a, are there before and after, so that such a
// Rename must not stay. [DropRest] does not spare what a rule that was passed over would
// have named.
func Optional(rules ...Rule) Rule {
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].text = "Optional " + rules[i].text
	}
	return Rule{text: "Optional", apply: func(p *planner) {
		for _, r := range rules {
			p.try(r)
		}
	}}
}

// try applies a rule, unless leaves are missing that it needs.
func (p *planner) try(r Rule) {
	if r.err != nil {
		p.apply(r)
		return
	}
	before, optional := *p, p.optional
	before.entries, before.dropped, before.errs = slices.Clone(p.entries), slices.Clone(p.dropped), slices.Clone(p.errs)
	before.byName, before.seated, before.nodes = maps.Clone(p.byName), maps.Clone(p.seated), nil
	before.doubts.made = slices.Clone(p.doubts.made)
	p.optional, p.missing = true, false
	p.apply(r)
	if p.missing && !r.each {
		*p = before
	}
	p.optional, p.missing = optional, false
}
