package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
)

// entry is the JSON object of a tensor.
type entry struct {
	dtype      string
	shape      []int
	begin, end int64
}

// maxRank is more than the number of dimensions that any array library allows: NumPy 64,
// PyTorch 64 in most of its operations.
const maxRank = 128

// parsedFactor bounds about how much memory a byte of a header can become. The worst case
// is "\"\":\"\",", an entry of a map.
const parsedFactor = 48

// parser walks a header token by token. Decoding into Go values would keep the last of
// two equal names, match member names in any case, and change names that are not valid
// text. The header is known to be valid JSON, so there is nothing to check between
// tokens.
type parser struct {
	rest []byte
}

func newParser(raw []byte) (*parser, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w: safetensors header is not UTF-8", fault.ErrCorrupt)
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%w: safetensors header is not JSON: %v", fault.ErrCorrupt, json.Unmarshal(raw, new(any)))
	}
	if hasLoneSurrogate(raw) {
		return nil, fmt.Errorf("%w: safetensors header has an unpaired surrogate in a string", fault.ErrCorrupt)
	}
	return &parser{raw}, nil
}

// peek returns the first byte of the next token, 0 at the end.
func (p *parser) peek() byte {
	for i, c := range p.rest {
		switch c {
		case ' ', '\t', '\r', '\n', ',', ':':
		default:
			p.rest = p.rest[i:]
			return c
		}
	}
	p.rest = nil
	return 0
}

// token returns the next token as the header spells it: one bracket, a string with its
// quotation marks, a number or a word. At the end it returns nothing.
func (p *parser) token() []byte {
	n := 1
	switch p.peek() {
	case 0:
		return nil
	case '{', '}', '[', ']':
	case '"':
		for p.rest[n] != '"' {
			if p.rest[n] == '\\' {
				n++
			}
			n++
		}
		n++
	default:
		for n < len(p.rest) && bytes.IndexByte([]byte(" \t\r\n,:]}"), p.rest[n]) < 0 {
			n++
		}
	}
	tok := p.rest[:n]
	p.rest = p.rest[n:]
	return tok
}

// shown returns a token for a message, cut if it is long.
func shown(tok []byte) []byte {
	const most = 60
	if len(tok) > most {
		return append(tok[:most:most], "…"...)
	}
	return tok
}

// more reports whether the object or the array has another member.
func (p *parser) more() bool {
	c := p.peek()
	return c != '}' && c != ']'
}

// object reads an object and calls member for each name in it; member must
// read the value.
func (p *parser) object(member func(name string) error) error {
	if err := p.bracket('{'); err != nil {
		return err
	}
	for p.more() {
		name, err := p.str()
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
	}
	return p.bracket('}')
}

// array reads an array and calls element for each value in it; element must
// read the value.
func (p *parser) array(element func() error) error {
	if err := p.bracket('['); err != nil {
		return err
	}
	for p.more() {
		if err := element(); err != nil {
			return err
		}
	}
	return p.bracket(']')
}

func (p *parser) bracket(want byte) error {
	if tok := p.token(); len(tok) == 0 || tok[0] != want {
		return fmt.Errorf("%w: safetensors header has %s where %c was expected", fault.ErrCorrupt, shown(tok), want)
	}
	return nil
}

func (p *parser) str() (string, error) {
	tok := p.token()
	if len(tok) == 0 || tok[0] != '"' {
		return "", fmt.Errorf("%w: safetensors header has %s where a string was expected", fault.ErrCorrupt, shown(tok))
	}
	if bytes.IndexByte(tok, '\\') < 0 {
		return string(tok[1 : len(tok)-1]), nil
	}
	var s string
	if err := json.Unmarshal(tok, &s); err != nil {
		return "", fmt.Errorf("%w: safetensors header: %v", fault.ErrCorrupt, err)
	}
	return s, nil
}

// size reads a non-negative integer that fits an int64.
func (p *parser) size() (int64, error) {
	tok := p.token()
	n, err := strconv.ParseUint(string(tok), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: safetensors header has %s where a size was expected", fault.ErrCorrupt, shown(tok))
	}
	return int64(n), nil
}

// skip reads a value of any kind.
func (p *parser) skip() {
	for depth := 0; ; {
		switch tok := p.token(); {
		case len(tok) == 0:
			return
		case tok[0] == '{' || tok[0] == '[':
			depth++
		case tok[0] == '}' || tok[0] == ']':
			depth--
		}
		if depth == 0 {
			return
		}
	}
}

// entry reads a tensor's object. It skips members that the format does not define.
func (p *parser) entry() (entry, error) {
	var e entry
	var dtype, shape, offsets bool
	var others map[string]bool
	err := p.object(func(name string) (err error) {
		twice := false
		switch name {
		case "dtype":
			twice, dtype = dtype, true
			e.dtype, err = p.str()
		case "shape":
			twice, shape = shape, true
			e.shape, err = p.shape()
		case "data_offsets":
			twice, offsets = offsets, true
			e.begin, e.end, err = p.offsets()
		default:
			if others == nil {
				others = map[string]bool{}
			}
			twice, others[name] = others[name], true
			p.skip()
		}
		if twice {
			return fmt.Errorf("%w: member %q is there twice", fault.ErrCorrupt, name)
		}
		return err
	})
	if err != nil {
		return entry{}, err
	}
	missing := ""
	switch {
	case !dtype:
		missing = "dtype"
	case !shape:
		missing = "shape"
	case !offsets:
		missing = "data_offsets"
	default:
		return e, nil
	}
	return entry{}, fmt.Errorf("%w: member %q is missing", fault.ErrCorrupt, missing)
}

func (p *parser) shape() ([]int, error) {
	shape := []int{}
	err := p.array(func() error {
		n, err := p.size()
		if err == nil && len(shape) == maxRank {
			err = fmt.Errorf("%w: more than %d dimensions", fault.ErrUnsupported, maxRank)
		}
		if err == nil && int64(int(n)) != n {
			err = fmt.Errorf("%w: dimension %d does not fit", fault.ErrCorrupt, n)
		}
		shape = append(shape, int(n))
		return err
	})
	return shape, err
}

func (p *parser) offsets() (begin, end int64, err error) {
	var o []int64
	err = p.array(func() error {
		n, err := p.size()
		if err == nil && len(o) == 2 {
			err = fmt.Errorf("%w: data_offsets has more than two numbers", fault.ErrCorrupt)
		}
		o = append(o, n)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if len(o) != 2 {
		return 0, 0, fmt.Errorf("%w: data_offsets has %d numbers, want 2", fault.ErrCorrupt, len(o))
	}
	return o[0], o[1], nil
}

// metadata reads the value of "__metadata__": an object of strings, or null.
func (p *parser) metadata() (map[string]string, error) {
	if p.peek() == 'n' {
		p.token()
		return nil, nil
	}
	if c := p.peek(); c != '{' {
		return nil, fmt.Errorf("%w: safetensors %s is %s, not an object of strings", fault.ErrCorrupt, metadataKey, shown(p.token()))
	}
	m := map[string]string{}
	err := p.object(func(k string) error {
		v, err := p.str()
		if err != nil {
			return fmt.Errorf("%w (%s, %q)", err, metadataKey, k)
		}
		if _, ok := m[k]; ok {
			return fmt.Errorf("%w: safetensors %s names %q twice", fault.ErrCorrupt, metadataKey, k)
		}
		m[k] = v
		return nil
	})
	return m, err
}

// hasLoneSurrogate reports whether valid JSON has an escaped half of a surrogate pair.
// encoding/json reads each such half as U+FFFD, so that different names would become one.
func hasLoneSurrogate(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++ // now at the escaped character
		switch c := escapedUnit(raw[i:]); {
		case c < 0xd800 || c > 0xdfff:
		case c >= 0xdc00:
			return true
		default:
			if i+5 >= len(raw) || raw[i+5] != '\\' {
				return true
			}
			if low := escapedUnit(raw[i+6:]); low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 10 // at the last digit of the second half
		}
	}
	return false
}

// escapedUnit returns the UTF-16 unit of an escape without its backslash ("u12ab"), or 0
// for another kind of escape.
func escapedUnit(b []byte) uint64 {
	if len(b) < 5 || b[0] != 'u' {
		return 0
	}
	n, _ := strconv.ParseUint(string(b[1:5]), 16, 16)
	return n
}
