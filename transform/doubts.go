package transform

import (
	"errors"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// doubts describes how the tree may be wrong because rules failed. A mistake that may
// follow from them is not reported.
type doubts struct {
	made    []names // names of leaves that the failed rules may have made
	gone    bool    // the tree may have leaves that a malformed pattern should have taken
	changed bool    // leaves that the failed rules would have changed are unchanged
}

// names is a set of names of leaves: the names that begin with text, or, if whole is set,
// text and the names below it.
type names struct {
	text  string
	whole bool
}

// anyName is the set of all names.
var anyName = names{}

// anything is the doubts that a rule leaves if nothing is known about its effect.
var anything = doubts{made: []names{anyName}, gone: true, changed: true}

// whole returns the set of a name and the names below it.
func whole(name string) names { return names{name, true} }

// overlaps reports whether a name may be in both sets, or a name in n below one in m.
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

// namesOfTarget returns the names that a rule may give with target. Text that begins with
// one of marks stands for other text.
func namesOfTarget(target, marks string) names {
	if i := strings.IndexAny(target, marks+"["); i >= 0 {
		return names{text: target[:i]}
	}
	if keys, err := parseKeys(target); err == nil {
		return whole(tree.Path(keys).String())
	}
	// A key is empty: the name that was meant is known up to there.
	known, _, _ := strings.Cut(target, "..")
	if strings.HasPrefix(target, ".") {
		return anyName
	}
	return names{text: strings.TrimSuffix(known, ".")}
}

// namesOfPattern returns the names that a pattern may match; see tree.ParsePattern.
func namesOfPattern(pattern string) names {
	if i := strings.IndexAny(pattern, `*?[{\`); i >= 0 {
		// The ** may stand for no key: the pattern then matches the name before the dot.
		return names{text: strings.TrimSuffix(pattern[:i], ".")}
	}
	return whole(pattern)
}

// doubt adds the doubts that a failed rule leaves. Any leaf may be one that should be
// gone or changed. If leaves should be gone, entries with a name that may have been made
// lose their leaf, because it is certain that later rules do not read it.
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

// mayHaveMade reports whether a failed rule may have made a leaf with such a name, or a
// leaf above it.
func (p *planner) mayHaveMade(n names) bool {
	return slices.ContainsFunc(p.doubts.made, n.overlaps) || slices.ContainsFunc(p.entries, func(e *entry) bool {
		return e.leaf == nil && n.overlaps(whole(e.name))
	})
}

// failRule reports that the rule cannot be applied at all. d describes the effect that it
// would have had.
func (p *planner) failRule(err error, d doubts) {
	p.report(err)
	p.doubt(d)
}

// failUnused reports that no leaf is one that the rule is about, unless a failed rule may
// have made such a leaf.
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

// failMissing is fail for a leaf that the rule needs and the tree lacks.
func (p *planner) failMissing(target string, err error) {
	if p.optional {
		p.missing = true
		return
	}
	p.fail(target, err)
}

// failValue reports that the rule cannot make the leaf target from its leaves, unless
// these may change when a failed rule is corrected.
func (p *planner) failValue(target string, err error) {
	of := func(kind error) bool { return errors.Is(err, kind) }
	if p.doubts.changed && (of(fault.ErrShape) || of(fault.ErrDType) || of(fault.ErrLeafType)) {
		return
	}
	p.fail(target, err)
}
