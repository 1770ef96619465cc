package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
)

// entry is a tensor's JSON object.
type entry struct {
	dtype      string
	shape      []int
	begin, end int64
}

// maxRank is more than the dimensions that any library of arrays allows: NumPy 64,
// PyTorch 64 in most of its operations.
const maxRank = 128

// parsedFactor is about what memory a byte of a header can become: "\"\":\"\"," is an
// entry of a map.
const parsedFactor = 48

// parser walks a header token by token: decoding into Go values would keep the
// last of two equal names, match member names in any case, and turn names that
// are not text into others.
type parser struct {
	dec *json.Decoder
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
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return &parser{dec}, nil
}

// object reads an object and calls member for each name in it; member must
// read the value.
func (p *parser) object(member func(name string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	for p.dec.More() {
		name, err := p.str()
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
	}
	return p.delim('}')
}

// array reads an array and calls element for each value in it; element must
// read the value.
func (p *parser) array(element func() error) error {
	if err := p.delim('['); err != nil {
		return err
	}
	for p.dec.More() {
		if err := element(); err != nil {
			return err
		}
	}
	return p.delim(']')
}

func (p *parser) delim(want json.Delim) error {
	tok, err := p.dec.Token()
	if err != nil {
		return fmt.Errorf("%w: safetensors header: %v", fault.ErrCorrupt, err)
	}
	if tok != want {
		return fmt.Errorf("%w: safetensors header has %v where %v was expected", fault.ErrCorrupt, tok, want)
	}
	return nil
}

func (p *parser) str() (string, error) {
	tok, err := p.dec.Token()
	if err != nil {
		return "", fmt.Errorf("%w: safetensors header: %v", fault.ErrCorrupt, err)
	}
	s, ok := tok.(string)
	if !ok {
		return "", fmt.Errorf("%w: safetensors header has %v where a string was expected", fault.ErrCorrupt, tok)
	}
	return s, nil
}

// size reads a non-negative integer that fits an int64.
func (p *parser) size() (int64, error) {
	tok, err := p.dec.Token()
	if err != nil {
		return 0, fmt.Errorf("%w: safetensors header: %v", fault.ErrCorrupt, err)
	}
	num, _ := tok.(json.Number)
	n, err := strconv.ParseUint(num.String(), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: safetensors header has %v where a size was expected", fault.ErrCorrupt, tok)
	}
	return int64(n), nil
}

// skip reads a value of any kind.
func (p *parser) skip() error {
	var passed json.RawMessage // in one go, not token by token
	if err := p.dec.Decode(&passed); err != nil {
		return fmt.Errorf("%w: safetensors header: %v", fault.ErrCorrupt, err)
	}
	return nil
}

// entry reads a tensor's object. Members that the format does not know are
// passed over.
func (p *parser) entry() (entry, error) {
	var e entry
	seen := map[string]bool{}
	err := p.object(func(name string) error {
		if seen[name] {
			return fmt.Errorf("%w: member %q is there twice", fault.ErrCorrupt, name)
		}
		seen[name] = true
		var err error
		switch name {
		case "dtype":
			e.dtype, err = p.str()
		case "shape":
			e.shape, err = p.shape()
		case "data_offsets":
			e.begin, e.end, err = p.offsets()
		default:
			err = p.skip()
		}
		return err
	})
	if err != nil {
		return entry{}, err
	}
	for _, name := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[name] {
			return entry{}, fmt.Errorf("%w: member %q is missing", fault.ErrCorrupt, name)
		}
	}
	return e, nil
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
	tok, err := p.dec.Token()
	if err != nil {
		return nil, fmt.Errorf("%w: safetensors header: %v", fault.ErrCorrupt, err)
	}
	if tok == nil {
		return nil, nil
	}
	if tok != json.Delim('{') {
		return nil, fmt.Errorf("%w: safetensors %s is %v, not an object of strings", fault.ErrCorrupt, metadataKey, tok)
	}
	m := map[string]string{}
	for p.dec.More() {
		k, err := p.str()
		if err != nil {
			return nil, err
		}
		v, err := p.str()
		if err != nil {
			return nil, fmt.Errorf("%w (%s, %q)", err, metadataKey, k)
		}
		if _, ok := m[k]; ok {
			return nil, fmt.Errorf("%w: safetensors %s names %q twice", fault.ErrCorrupt, metadataKey, k)
		}
		m[k] = v
	}
	return m, p.delim('}')
}

// hasLoneSurrogate reports whether valid JSON escapes half of a surrogate
// pair. encoding/json reads each as U+FFFD, so that different names become one.
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

// escapedUnit returns the UTF-16 unit of an escape without its backslash
// ("u12ab"), 0 for one of another kind.
func escapedUnit(b []byte) uint64 {
	if len(b) < 5 || b[0] != 'u' {
		return 0
	}
	n, _ := strconv.ParseUint(string(b[1:5]), 16, 16)
	return n
}
