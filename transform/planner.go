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
	others  map[string]*other                               // that rules have opened
	entries []*entry
	byName  map[string]*entry
	dropped []*entry

	nodes map[string]*node // the dicts and sequences by name; nil if they must be found again
	// seated maps the sequences in which a rule has made positions, by the ID of their
	// path, to that rule.
	seated map[string]string

	number   int               // of the current rule
	optional bool              // the rule is skipped if leaves are missing
	missing  bool              // leaves are missing
	rule     string            // the current rule, for messages
	named    map[string]string // the names of the current rule, if it is a Rename
	errs     []error
	doubts   doubts
}

// other is another checkpointable: its tree, or the reason why there is none.
type other struct {
	tree *view.Tree
	err  error
	rule string // the last rule that has reported err
}

// entry is a leaf of the tree.
type entry struct {
	name string // name of path
	path tree.Path
	value
	rule string // the last rule that named or changed it; "" for an untouched leaf
	was  string // its name before that rule; "" if it had none, or was made of several leaves
}

// value is the content of an entry. It has no leaf if the rule that makes it failed. That
// failure is reported already, so everything that is made from it fails silently.
type value struct {
	leaf *view.Leaf
	text string   // the steps that make it from stored leaves
	from []string // the stored leaves
}

func newPlanner(t *view.Tree, open func(string) (*view.Tree, error)) *planner {
	p := &planner{open: open, others: map[string]*other{}, byName: make(map[string]*entry, t.Len()), seated: map[string]string{}}
	for name, l := range t.Leaves() {
		p.add(&entry{name: name, path: l.Metadata().Path, value: stored("", l)})
	}
	return p
}

// stored is the value of a leaf of the checkpointable of; "" is the one that the rules
// change.
func stored(of string, l *view.Leaf) value {
	name := l.Metadata().Path.String()
	if of != "" {
		name = of + ":" + name
	}
	return value{l, name, []string{describe(l.Metadata())}}
}

// add adds an entry to the tree.
func (p *planner) add(e *entry) {
	other, taken := p.byName[e.name]
	switch {
	case !taken:
		p.entries = append(p.entries, e)
		p.byName[e.name] = e
		p.addNodes(e)
	case other.leaf == nil || e.leaf == nil || p.doubts.gone: // reported already, or perhaps a consequence
	default:
		p.fail(e.name, fmt.Errorf("%w: both %s and %s would have this name%s", fault.ErrKeyCollision, other.text, e.text, p.onlySecond(other, e)))
	}
}

// onlySecond advises how the current rule can make second without a collision with first,
// if it can.
func (p *planner) onlySecond(first, second *entry) string {
	drop := first.name
	if first.rule == p.rule { // it had another name before the rule
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

// replace removes old from the tree and adds made.
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

// entry returns an entry for v with the name target. source is the path of the leaf
// before. The result is empty if the entry cannot exist.
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

// renamed is entry for a value that a rule makes from e alone.
func (p *planner) renamed(target string, e *entry, v value) []*entry {
	made := p.entry(target, e.path, v)
	for _, m := range made {
		m.was = e.name
	}
	return made
}

// broken returns an entry without a leaf in place of a leaf that a failed rule would have
// made.
func (p *planner) broken(target string) []*entry {
	path, err := p.resolve(target, nil)
	if err != nil {
		p.unnamed(target)
		return nil
	}
	return []*entry{{name: path.String(), path: path, rule: p.rule}}
}

// unnamed records that a rule gives the name target, which is not valid.
func (p *planner) unnamed(target string) {
	p.doubt(doubts{made: []names{namesOfTarget(target, "")}})
}

// find returns the leaf called name. If there is none, it reports that for the leaf
// target, and returns a value without a leaf.
func (p *planner) find(target, name string) value {
	if e := p.byName[name]; e != nil {
		return e.value
	}
	switch {
	case p.failedAt(name):
	case len(p.below(name)) > 0:
		if p.doubts.gone { // a failed rule may have been meant to take the leaves below name
			break
		}
		p.fail(target, fmt.Errorf("%w: %q is no leaf; there are leaves below it", fault.ErrStructure, name))
	default:
		p.failMissing(target, fmt.Errorf("%w: there is no leaf %q%s", fault.ErrStructure, name, p.renamedBefore(name)))
	}
	return value{}
}

// renamedBefore returns advice for a Rename that was applied to the tree already before
// the tree was saved.
func (p *planner) renamedBefore(name string) string {
	to, is := p.named[name]
	if !is || len(p.below(to)) == 0 {
		return ""
	}
	return fmt.Sprintf("; %q is there already: Optional makes it a rule for trees of either name", to)
}

// failedAt reports whether a failed rule may have made name.
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

// below returns the leaf called name, or all leaves below it.
func (p *planner) below(name string) (found []*entry) {
	for _, e := range p.entries {
		if _, ok := cutName(e.name, name); ok {
			found = append(found, e)
		}
	}
	return found
}

// take is below for a rule that needs a leaf there. It reports if there is none.
func (p *planner) take(name string) []*entry {
	found := p.below(name)
	if len(found) == 0 {
		p.find(name, name)
	}
	return found
}

// giveUp is take for a rule that fails. The leaves that it takes lose their content.
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

// report reports a mistake of the rule that does not concern one leaf.
func (p *planner) report(err error) {
	p.errs = append(p.errs, fmt.Errorf("%s: %w", p.rule, err))
}

// prefixes yields name and the names of the nodes that contain it, from the inside out.
// The last is "", the root.
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

// cutName returns the rest of name after prefix, if name is prefix or below it.
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
