package transform

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
)

// Rename gives leaves new names, all at once, so that two leaves may change places. names
// maps old names to new ones. If an old name is that of a dict or sequence, all leaves
// below it move. If several old names fit a leaf, the longest counts. "" is the whole
// tree: {"": "params"} puts it below params, and {"params": ""} makes the leaves below
// params the whole tree.
func Rename(names map[string]string) Rule {
	names = maps.Clone(names)
	text := "Rename"
	for from, to := range names {
		if len(names) == 1 {
			text = fmt.Sprintf("Rename %q to %q", from, to)
		}
	}
	find := func(e *entry) (from, to string, ok bool) {
		for from := range prefixes(e.name) {
			if to, ok := names[from]; ok {
				rest, _ := cutName(e.name, from)
				return from, joinName(to, rest), true
			}
		}
		return "", "", false
	}
	return Rule{text: text, each: true, apply: func(p *planner) {
		p.named = names
		defer func() { p.named = nil }()
		unused := maps.Clone(names)
		for _, e := range p.entries {
			if from, _, ok := find(e); ok {
				delete(unused, from)
			}
		}
		var failed []*entry
		for _, from := range slices.Sorted(maps.Keys(unused)) {
			switch found := p.take(from); {
			case p.optional:
				continue
			case len(found) > 0:
				p.fail(from, fmt.Errorf("%w: longer names of the same rule fit all leaves below %q", fault.ErrStructure, from))
			}
			failed = append(failed, p.broken(names[from])...)
		}
		p.rename(func(e *entry) (string, bool) {
			_, to, ok := find(e)
			return to, ok
		})
		p.replace(nil, failed)
	}}
}

// RenameRegexp gives each leaf whose whole name matches a regular expression the name
// replacement. In it $1 or ${name} stand for the groups of pattern, as in
// [regexp.Regexp.Expand]:
//
//	transform.RenameRegexp(`layers_(\d+)\.(.*)`, "blocks[$1].$2")
func RenameRegexp(pattern, replacement string) Rule {
	re, err := compile(pattern, replacement)
	targets := []names{namesOfTarget(replacement, "$")}
	fails := func(p *planner) { p.doubt(doubts{made: targets, gone: true}) }
	return Rule{text: fmt.Sprintf("RenameRegexp %q", pattern), err: err, fails: fails, apply: func(p *planner) {
		matched := false
		p.rename(func(e *entry) (string, bool) {
			to, ok := re.expand(e.name)
			if !ok {
				return "", false
			}
			matched = true
			if _, err := p.resolve(to, e.path); err != nil && p.doubts.gone {
				p.unnamed(to) // the leaf might have had another name if no rule had failed
				e.leaf = nil
				return "", false
			}
			return to, true
		})
		if !matched {
			p.failUnused(noMatch(pattern), re.names(), doubts{made: targets})
		}
	}}
}

// noMatch is the error for a pattern that no leaf matches.
func noMatch(pattern string) error {
	return fmt.Errorf("%w: no leaf matches %q", fault.ErrNoMatch, pattern)
}

// rename gives leaves the names that f returns.
func (p *planner) rename(f func(*entry) (string, bool)) {
	var old, made []*entry
	for _, e := range p.entries {
		if to, ok := f(e); ok {
			old = append(old, e)
			made = append(made, p.renamed(to, e, e.value)...)
		}
	}
	p.replace(old, made)
}

// replacer is a regular expression for whole names, with its replacement.
type replacer struct {
	*regexp.Regexp
	begin       string // common beginning of all names that it matches
	replacement string
}

// names returns the names that the expression may match.
func (r *replacer) names() names { return names{text: r.begin} }

var reference = regexp.MustCompile(`\$(?:\$|(\w+)|\{(\w+)\})`)

func compile(pattern, replacement string) (*replacer, error) {
	given, err := regexp.Compile(pattern)
	if err != nil { // the message shows the pattern as the caller wrote it
		return nil, fmt.Errorf("%w: %w", fault.ErrStructure, err)
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fault.ErrStructure, err)
	}
	for _, ref := range reference.FindAllStringSubmatch(replacement, -1) {
		group := ref[1] + ref[2]
		isNumber := isPosition(group)
		known := isNumber && len(group) < 5 && groupNumber(group) <= re.NumSubexp() || !isNumber && re.SubexpIndex(group) >= 0
		if group != "" && !known {
			return nil, fmt.Errorf("%w: %q refers to the group %q, which %q does not have; ${1} is the first if a letter, digit or _ follows",
				fault.ErrStructure, replacement, group, pattern)
		}
	}
	begin, _ := given.LiteralPrefix()
	return &replacer{re, begin, replacement}, nil
}

// expand returns the replacement for name, if name matches.
func (r *replacer) expand(name string) (string, bool) {
	m := r.FindStringSubmatchIndex(name)
	if m == nil {
		return "", false
	}
	return string(r.ExpandString(nil, r.replacement, name, m)), true
}
