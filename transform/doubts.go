package transform

import (
	"errors"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// doubts are what is unknown of the tree because rules failed. A mistake that may
// follow from them is not reported.
type doubts struct {
	made    []names // that the rules may have made
	gone    bool    // leaves may still be there that a malformed pattern should have taken
	changed bool    // leaves that they would have changed hold what they held before
}

// names are the names of some leaves: those that begin with text, or, if it is a whole
// name, text and what is below it.
type names struct {
	text  string
	whole bool
}

// anyName are all names.
var anyName = names{}

// anything is what a rule may do of which nothing is known.
var anything = doubts{made: []names{anyName}, gone: true, changed: true}

// whole are a name and those below it.
func whole(name string) names { return names{name, true} }

// overlaps reports whether a name may be one of both, or one of n may be below one of m.
func (n names) overlaps(m names) bool {
	switch {
	case n.whole && m.whole:
		_, in := cutName(n.text, m.text)
		_, around := cutName(m.text, n.text)
		return in || around
	case n.whole:
		n, m = m, n
		fallthrough
	case m.whole:
		return strings.HasPrefix(m.text, n.text) || m.text == "" || strings.HasPrefix(n.text, m.text+".")
	}
	return strings.HasPrefix(n.text, m.text) || strings.HasPrefix(m.text, n.text)
}

// namesOfTarget are the names that a rule gives with target, in which what begins with
// one of marks stands for something else.
func namesOfTarget(target, marks string) names {
	if i := strings.IndexAny(target, marks+"["); i >= 0 {
		return names{text: target[:i]}
	}
	if keys, err := parseKeys(target); err == nil {
		return whole(tree.Path(keys).String())
	}
	// A key is empty: what the name was to be is known up to there.
	known, _, _ := strings.Cut(target, "..")
	if strings.HasPrefix(target, ".") {
		return anyName
	}
	return names{text: strings.TrimSuffix(known, ".")}
}

// namesOfPattern are the names that a pattern may match; see tree.ParsePattern.
func namesOfPattern(pattern string) names {
	if i := strings.IndexAny(pattern, `*?[{\`); i >= 0 {
		// With no key for the ** the pattern matches what is before the dot.
		return names{text: strings.TrimSuffix(pattern[:i], ".")}
	}
	return whole(pattern)
}

// doubt notes what a failed rule leaves unknown. What would have gone or changed may be
// any leaf; but of those that have a name that may have been made, it is certain that
// they do not hold what the rules after it read.
func (p *planner) doubt(d doubts) {
	p.doubts.made = append(p.doubts.made, d.made...)
	p.doubts.gone = p.doubts.gone || d.gone
	p.doubts.changed = p.doubts.changed || d.changed
	if !p.doubts.gone {
		return
	}
	for _, e := range p.entries {
		if slices.ContainsFunc(p.doubts.made, whole(e.name).overlaps) {
			e.leaf = nil
		}
	}
}

// mayHaveMade reports whether a leaf of such a name may be what a failed rule would have
// made, or be below it.
func (p *planner) mayHaveMade(n names) bool {
	return slices.ContainsFunc(p.doubts.made, n.overlaps) || slices.ContainsFunc(p.entries, func(e *entry) bool {
		return e.leaf == nil && n.overlaps(whole(e.name))
	})
}

// failRule reports that the rule cannot be applied at all; d is what it would have done.
func (p *planner) failRule(err error, d doubts) {
	p.report(err)
	p.doubt(d)
}

// failUnused reports that none of the leaves is one that the rule is about, unless a
// failed rule may have made such a leaf.
func (p *planner) failUnused(err error, about names, d doubts) {
	may := p.mayHaveMade(about)
	switch {
	case p.optional:
		p.missing = p.missing || !may
		return
	case !may:
		p.report(err)
	}
	p.doubt(d)
}

// failMissing is fail for a leaf that the rule needs and the tree has not.
func (p *planner) failMissing(target string, err error) {
	if p.optional {
		p.missing = true
		return
	}
	p.fail(target, err)
}

// failValue reports that the rule cannot make the leaf target of what leaves hold, unless
// these may hold something else once a failed rule is mended.
func (p *planner) failValue(target string, err error) {
	of := func(kind error) bool { return errors.Is(err, kind) }
	if p.doubts.changed && (of(fault.ErrShape) || of(fault.ErrDType) || of(fault.ErrLeafType)) {
		return
	}
	p.fail(target, err)
}
