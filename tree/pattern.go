package tree

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
)

// Pattern matches leaves by name. The zero Pattern matches none.
type Pattern struct {
	text string
	re   *regexp.Regexp
}

// Limits on the size of one pattern. Patterns that a program contains are far below them.
const (
	maxPattern    = 4096    // bytes of the text
	maxExpansions = 1024    // patterns without braces
	maxTokens     = 1 << 16 // in all of these patterns
)

// ParsePattern parses a pattern for the names of leaves. The name of a leaf is its keys
// joined with dots, as [Path.String] returns it and every message shows it:
//
//	params.dense.kernel   this leaf; if it is no leaf, all below it
//	params.*.kernel       * is any text without a dot: a key, or part of one
//	layers.?.w            ? is any one character except a dot
//	layers.[0-37].w       one of these characters; [!0-3] is any except these and a dot
//	params.**             ** between dots is any number of keys, none included:
//	                      params itself, params.w, params.dense.w
//	**.bias               bias, params.bias, params.dense.bias
//	{params,opt.mu}.w     braces stand for one pattern for each of their parts
//
// A pattern without *, ? and [ also matches all leaves below the dict or sequence that it
// names; a pattern with one of these characters matches whole names only. A ** that
// shares the space between two dots with other characters, as in a**b, is any text, dots
// included. A backslash makes the character after it an ordinary one. A dot inside a key
// is like a dot between keys, because the pattern is matched with the name.
//
// A pattern that is empty, malformed or too large (more than 4096 bytes, or more than
// 1024 patterns in its braces) is an error that matches orbax.ErrStructure. Matching
// takes time proportional to the length of the name times the size of the pattern: it
// never backtracks.
func ParsePattern(s string) (Pattern, error) {
	re, err := compilePattern(s)
	if err != nil {
		return Pattern{}, fmt.Errorf("%w: the pattern %.100q %w", fault.ErrStructure, s, err)
	}
	return Pattern{s, re}, nil
}

// Match reports whether the name of path matches.
func (p Pattern) Match(path Path) bool { return p.re != nil && p.re.MatchString(path.String()) }

// String returns the text of the pattern.
func (p Pattern) String() string { return p.text }

// Patterns is a list of patterns. It matches a leaf if one of them does.
type Patterns []Pattern

// ParsePatterns parses several patterns; see [ParsePattern].
func ParsePatterns(texts ...string) (Patterns, error) {
	ps := make(Patterns, len(texts))
	for i, s := range texts {
		var err error
		if ps[i], err = ParsePattern(s); err != nil {
			return nil, err
		}
	}
	return ps, nil
}

// Match reports whether the name of path matches one of the patterns. used is nil or as
// long as ps. Match sets used[i] to true for each pattern ps[i] that matches, so that the
// caller can report the patterns that have matched nothing.
func (ps Patterns) Match(path Path, used []bool) bool {
	match := false
	for i, p := range ps {
		if p.Match(path) {
			match = true
			if used == nil {
				break
			}
			used[i] = true
		}
	}
	return match
}

// compilePattern returns a regular expression that matches the same names as s, in linear
// time. Its errors are the ends of sentences that begin with the pattern.
func compilePattern(s string) (*regexp.Regexp, error) {
	switch {
	case s == "":
		return nil, errors.New("is empty; ** matches everything")
	case len(s) > maxPattern:
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", len(s), maxPattern)
	case !utf8.ValidString(s):
		return nil, errors.New("is not valid UTF-8")
	}
	p := patternParser{}
	if err := p.scan(s); err != nil {
		return nil, err
	}
	all, err := p.sequence()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(`(?s)\A(?:`)
	for i, tokens := range all {
		if i > 0 {
			b.WriteByte('|')
		}
		writeRegexp(&b, tokens)
	}
	b.WriteString(`)\z`)
	return regexp.Compile(b.String())
}

// writeRegexp writes the regular expression of a pattern without braces.
func writeRegexp(b *strings.Builder, tokens []token) {
	const below = `(?:\..*)?`
	var keys [][]token
	wildcards := false
	start := 0
	for i, t := range tokens {
		if t.isDot() {
			keys = append(keys, tokens[start:i])
			start = i + 1
		}
		wildcards = wildcards || t.kind != literal
	}
	keys = append(keys, tokens[start:])

	dot := "" // the text between the last key and the next
	for i, key := range keys {
		switch {
		case len(key) != 1 || key[0].kind != doubleStar:
			b.WriteString(dot)
			for _, t := range key {
				b.WriteString(t.regexp())
			}
			dot = `\.`
		case len(keys) == 1:
			b.WriteString(`.*`)
		case i == 0:
			b.WriteString(`(?:.*\.)?`)
		case dot == "" && i+1 == len(keys): // **.** and nothing else
			b.WriteString(`.*`)
		case dot == "":
		default:
			b.WriteString(below)
		}
	}
	if !wildcards {
		b.WriteString(below)
	}
}
