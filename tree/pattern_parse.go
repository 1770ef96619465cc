package tree

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// token is one element of a pattern.
type token struct {
	kind tokenKind
	text string // the character of a literal; the regular expression of a class
}

type tokenKind uint8

const (
	literal tokenKind = iota
	star
	doubleStar
	question
	class
	openBrace
	comma
	closeBrace
)

func (t token) isDot() bool { return t.kind == literal && t.text == "." }

// regexp returns the regular expression of a token other than a brace.
func (t token) regexp() string {
	switch t.kind {
	case star:
		return `[^.]*`
	case doubleStar:
		return `.*`
	case question:
		return `[^.]`
	case class:
		return t.text
	}
	return regexp.QuoteMeta(t.text)
}

// patternParser splits a pattern into tokens, and then resolves the braces.
type patternParser struct {
	tokens []token
	pos    int
}

// scan splits s into tokens.
func (p *patternParser) scan(s string) error {
	depth := 0
	for s != "" {
		t := token{text: s[:1]}
		switch s[0] {
		case '\\':
			if len(s) == 1 {
				return errors.New("ends in a backslash")
			}
			s = s[1:]
			t.text = s[:charLen(s)]
		case '*':
			t.kind = star
			if strings.HasPrefix(s, "**") {
				t = token{doubleStar, "**"}
			}
		case '?':
			t.kind = question
		case '[':
			n, re, err := scanClass(s)
			if err != nil {
				return err
			}
			p.tokens = append(p.tokens, token{class, re})
			s = s[n:]
			continue
		case '{':
			t.kind = openBrace
			depth++
		case ',':
			if depth > 0 {
				t.kind = comma
			}
		case '}':
			if depth == 0 {
				return errors.New("has a } without its {")
			}
			t.kind = closeBrace
			depth--
		default:
			t.text = s[:charLen(s)]
		}
		p.tokens = append(p.tokens, t)
		s = s[len(t.text):]
	}
	if depth > 0 {
		return errors.New("has a { without its }")
	}
	return nil
}

// charLen returns the length of the first character of s.
func charLen(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// scanClass returns the length of the class that s begins with, and its regular
// expression. No class matches a dot.
func scanClass(s string) (n int, re string, err error) {
	rest := s[1:]
	negated := rest != "" && (rest[0] == '!' || rest[0] == '^')
	if negated {
		rest = rest[1:]
	}
	char := func() (r rune) {
		rest = strings.TrimPrefix(rest, `\`)
		r, n := utf8.DecodeRuneInString(rest)
		rest = rest[n:]
		return r
	}
	var b strings.Builder
	add := func(lo, hi rune) {
		if lo <= hi {
			fmt.Fprintf(&b, `\x{%x}-\x{%x}`, lo, hi)
		}
	}
	for rest != "" && rest[0] != ']' {
		lo := char()
		hi := lo
		if len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
			rest = rest[1:]
			hi = char()
		}
		switch {
		case lo > hi:
			return 0, "", fmt.Errorf("has the range %c-%c, which is empty", lo, hi)
		case lo <= '.' && '.' <= hi && !negated:
			add(lo, '.'-1)
			add('.'+1, hi)
		default:
			add(lo, hi)
		}
	}
	switch {
	case rest == "":
		return 0, "", errors.New("has a [ without its ]")
	case b.Len() == 0:
		return 0, "", errors.New("has a class [] that matches nothing; no class matches a dot")
	}
	n = len(s) - len(rest) + 1
	if negated {
		return n, `[^.` + b.String() + `]`, nil
	}
	return n, `[` + b.String() + `]`, nil
}

// sequence parses the tokens up to the end or, inside braces, up to the next comma or
// brace. It returns the sequences without braces that those tokens stand for.
func (p *patternParser) sequence() (seqs [][]token, err error) {
	seqs = [][]token{nil}
	for p.pos < len(p.tokens) {
		t := p.tokens[p.pos]
		tails := [][]token{{t}}
		switch t.kind {
		case comma, closeBrace:
			return seqs, nil
		case openBrace:
			if tails, err = p.alternatives(); err != nil {
				return nil, err
			}
		default:
			p.pos++
		}
		if seqs, err = product(seqs, tails); err != nil {
			return nil, err
		}
	}
	return seqs, nil
}

// alternatives resolves the braces that begin at the current token.
func (p *patternParser) alternatives() (all [][]token, err error) {
	for {
		p.pos++ // the opening brace or a comma
		seqs, err := p.sequence()
		if err != nil {
			return nil, err
		}
		if all = append(all, seqs...); len(all) > maxExpansions {
			return nil, errTooMany
		}
		if p.tokens[p.pos].kind == closeBrace {
			p.pos++
			return all, nil
		}
	}
}

var errTooMany = fmt.Errorf("stands for too many patterns; at most %d are allowed", maxExpansions)

// product returns every head followed by every tail.
func product(heads, tails [][]token) (seqs [][]token, err error) {
	if len(tails) == 1 { // most often: grow in place
		for i := range heads {
			heads[i] = append(heads[i], tails[0]...)
		}
		return heads, checkTokens(heads)
	}
	if len(heads)*len(tails) > maxExpansions {
		return nil, errTooMany
	}
	for _, h := range heads {
		for _, t := range tails {
			seqs = append(seqs, append(h[:len(h):len(h)], t...))
		}
	}
	return seqs, checkTokens(seqs)
}

func checkTokens(seqs [][]token) error {
	n := 0
	for _, s := range seqs {
		n += len(s)
	}
	if n > maxTokens {
		return errTooMany
	}
	return nil
}
