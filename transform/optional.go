package transform

import (
	"maps"
	"slices"
)

// Optional returns a rule that applies rules one after the other and skips those whose
// leaves the tree lacks. Optional rules may stay in a program after it has saved its
// first checkpoint in the new shape:
//
//	transform.Optional(
//		transform.Rename(map[string]string{"lr": "rate"}),
//		transform.Set("params.qkv", transform.Concat(1,
//			transform.Leaf("params.q"), transform.Leaf("params.k"), transform.Leaf("params.v"))),
//		transform.Drop("params.q", "params.k", "params.v"),
//	)
//
// A rule is skipped if it takes a name that no leaf, dict or sequence has, or if no leaf
// matches its pattern. Of a [Rename] or [Drop] only the names and patterns without leaves
// are skipped. All other mistakes are reported. A misspelled name is skipped too: a load
// then reports that its target does not fit.
//
// Names that change places, a to b and b to a, exist before and after the rule. Such a
// Rename applies every time, so it must not stay in the program. [DropRest] also removes
// leaves that only skipped rules have named.
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

// try applies a rule, unless the tree lacks leaves that it needs.
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
