// Package binscan takes binary records apart that this module has written: numbers and
// bytes, within bounds, up to the first thing that is wrong.
package binscan

import (
	"encoding/binary"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// Parser takes a record apart, up to the first thing that is wrong.
type Parser struct {
	Rest []byte
	Err  error
}

// Check notes an error unless ok, and reports whether there is none.
func (p *Parser) Check(ok bool, problem string) bool {
	if !ok && p.Err == nil {
		p.Err = fmt.Errorf("%w: %s", fault.ErrCorrupt, problem)
		p.Rest = nil
	}
	return p.Err == nil
}

// Take returns the next n bytes, none if there are not as many.
func (p *Parser) Take(n int) []byte {
	if !p.Check(n <= len(p.Rest), "it ends too soon") {
		return nil
	}
	b := p.Rest[:n]
	p.Rest = p.Rest[n:]
	return b
}

// Number returns the next number, 0 if it is more than limit.
func (p *Parser) Number(limit int64) int64 {
	v, n := binary.Uvarint(p.Rest)
	if !p.Check(n > 0 && v <= uint64(limit), "a number that cannot be") {
		return 0
	}
	p.Rest = p.Rest[n:]
	return int64(v)
}

// Count returns the next number, of things that take at least so many bytes each.
func (p *Parser) Count(least int) int {
	return int(p.Number(int64(len(p.Rest) / least)))
}
