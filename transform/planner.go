package transform

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// planner holds the tree while rules change it.
type planner struct {
	open    func(checkpointable string) (*view.Tree, error) // may be nil
	others  map[string]*other                               // that were opened
	entries []*entry
	byName  map[string]*entry
	dropped []*entry

	nodes map[string]*node // the dicts and sequences by name; nil if they are to be found anew
	// seated has the sequences, by the ID of their path, in which a rule has made positions,
	// and the rule.
	seated map[string]string

	number   int               // of the rule that is applied
	optional bool              // it is passed over if leaves are missing
	missing  bool              // and some are
	rule     string            // that is applied, for messages
	named    map[string]string // the names that the rule takes leaves by, if it is a Rename
	errs     []error
	doubts   doubts
}

// other is another checkpointable: its tree, or why there is none.
type other struct {
	tree *view.Tree
	err  error
	rule string // the last that has reported err
}

// entry is a leaf of the tree.
type entry struct {
	name string // that of path
	path tree.Path
	value
	rule string // the last that gave or changed it; "" if it is as it was stored
	was  string // its name before that rule; "" if it was none, or one of several leaves
}

// value is what an entry holds. It has no leaf if the rule that makes it failed,
// which is reported already: what is made of it fails silently.
type value struct {
	leaf *view.Leaf
	text string   // how it is made of stored leaves
	from []string // what these are
}

func newPlanner(t *view.Tree, open func(string) (*view.Tree, error)) *planner {
	p := &planner{open: open, others: map[string]*other{}, byName: make(map[string]*entry, t.Len()), seated: map[string]string{}}
	for name, l := range t.Leaves() {
		p.add(&entry{name: name, path: l.Metadata().Path, value: stored("", l)})
	}
	return p
}

// stored is the value of a leaf of a checkpointable, "" for the one that is
// changed.
func stored(of string, l *view.Leaf) value {
	name := l.Metadata().Path.String()
	if of != "" {
		name = of + ":" + name
	}
	return value{l, name, []string{describe(l.Metadata())}}
}

// add puts an entry into the tree.
func (p *planner) add(e *entry) {
	other, taken := p.byName[e.name]
	switch {
	case !taken:
		p.entries = append(p.entries, e)
		p.byName[e.name] = e
		p.addNodes(e)
	case other.leaf == nil || e.leaf == nil || p.doubts.gone: // reported already, or it may follow from that
	default:
		p.fail(e.name, fmt.Errorf("%w: both %s and %s would have this name%s", fault.ErrKeyCollision, other.text, e.text, p.onlySecond(other, e)))
	}
}

// onlySecond says how the rule that is applied can make second without a collision with
// first, if that is known.
func (p *planner) onlySecond(first, second *entry) string {
	drop := first.name
	if first.rule == p.rule { // which had another name before the rule
		drop = first.was
	}
	if drop == "" || drop == second.was {
		return ""
	}
	also := ""
	if _, named := p.named[drop]; named {
		also = fmt.Sprintf(", and leave %q out of this rule", drop)
	}
	return fmt.Sprintf("; to have only the second, put Drop(%q) before%s", drop, also)
}

// replace takes old out of the tree and puts made into it.
func (p *planner) replace(old, made []*entry) {
	if len(old) > 0 {
		gone := make(map[*entry]bool, len(old))
		for _, e := range old {
			gone[e] = true
			delete(p.byName, e.name)
		}
		p.entries = slices.DeleteFunc(p.entries, func(e *entry) bool { return gone[e] })
		p.nodes = nil
	}
	for _, e := range made {
		p.add(e)
	}
}

// entry returns an entry for v at the name target, which a rule gives to what
// was at source before; nil if that cannot be.
func (p *planner) entry(target string, source tree.Path, v value) []*entry {
	path, err := p.resolve(target, source)
	if err != nil {
		p.fail(target, err)
		p.unnamed(target)
		return nil
	}
	if v.leaf != nil {
		v.leaf = v.leaf.At(path)
	}
	return []*entry{{name: path.String(), path: path, value: v, rule: p.rule}}
}

// renamed is entry for what a rule makes of e alone.
func (p *planner) renamed(target string, e *entry, v value) []*entry {
	made := p.entry(target, e.path, v)
	for _, m := range made {
		m.was = e.name
	}
	return made
}

// broken returns an entry without a leaf for what a failed rule would have made.
func (p *planner) broken(target string) []*entry {
	path, err := p.resolve(target, nil)
	if err != nil {
		p.unnamed(target)
		return nil
	}
	return []*entry{{name: path.String(), path: path, rule: p.rule}}
}

// unnamed notes that the name target, which a rule gives, cannot be.
func (p *planner) unnamed(target string) {
	p.doubt(doubts{made: []names{namesOfTarget(target, "")}})
}

// find returns the leaf called name. If there is none it reports that, for the
// leaf target, and returns one without a leaf.
func (p *planner) find(target, name string) value {
	if e := p.byName[name]; e != nil {
		return e.value
	}
	switch {
	case p.failedAt(name):
	case len(p.below(name)) > 0:
		if p.doubts.gone { // the leaves below it may be those that a failed rule should have taken
			break
		}
		p.fail(target, fmt.Errorf("%w: %q is no leaf; there are leaves below it", fault.ErrStructure, name))
	default:
		p.failMissing(target, fmt.Errorf("%w: there is no leaf %q%s", fault.ErrStructure, name, p.renamedBefore(name)))
	}
	return value{}
}

// renamedBefore says what helps if the rule is a Rename that has been applied to the tree
// already, before it was saved.
func (p *planner) renamedBefore(name string) string {
	to, is := p.named[name]
	if !is || len(p.below(to)) == 0 {
		return ""
	}
	return fmt.Sprintf("; %q is there already: Optional makes it a rule for trees of either name", to)
}

// failedAt reports whether name may be what a failed rule would have made.
func (p *planner) failedAt(name string) bool {
	if slices.ContainsFunc(p.doubts.made, whole(name).overlaps) {
		return true
	}
	for prefix := range prefixes(name) {
		if e := p.byName[prefix]; e != nil && e.leaf == nil {
			return true
		}
	}
	return false
}

// below returns the leaf called name, or all that are below it.
func (p *planner) below(name string) (found []*entry) {
	for _, e := range p.entries {
		if _, ok := cutName(e.name, name); ok {
			found = append(found, e)
		}
	}
	return found
}

// take is below for a rule that needs a leaf there; target is for messages.
func (p *planner) take(name string) []*entry {
	found := p.below(name)
	if len(found) == 0 {
		p.find(name, name)
	}
	return found
}

// giveUp is take for a rule that fails: nothing is known of the leaves that it takes.
func (p *planner) giveUp(name string) {
	for _, e := range p.take(name) {
		e.leaf = nil
	}
}

// fail reports that the rule cannot make the leaf target.
func (p *planner) fail(target string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			p.fail(target, e)
		}
		return
	}
	if l, ok := err.(*fault.Leaf); ok && (l.Path == target || l.Path == "") {
		err = l.Err
	}
	if p.rule != "" {
		err = fmt.Errorf("%s: %w", p.rule, err)
	}
	p.errs = append(p.errs, &fault.Leaf{Path: target, Err: err})
}

// report reports a mistake of the rule that is not about one leaf.
func (p *planner) report(err error) {
	p.errs = append(p.errs, fmt.Errorf("%s: %w", p.rule, err))
}

// prefixes yields name and the names of what it is in, from the inside out; the
// last is "", the root.
func prefixes(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name != "" {
			if !yield(name) {
				return
			}
			name = name[:max(0, strings.LastIndexByte(name, '.'))]
		}
		yield("")
	}
}

// cutName returns what name has behind prefix, if it is prefix or below it.
func cutName(name, prefix string) (rest string, ok bool) {
	switch {
	case prefix == "":
		return name, true
	case name == prefix:
		return "", true
	}
	return strings.CutPrefix(name, prefix+".")
}

// joinName is the inverse of cutName.
func joinName(prefix, rest string) string {
	if prefix == "" || rest == "" {
		return prefix + rest
	}
	return prefix + "." + rest
}
