// Package binscan parses binary records that this module has written. It takes numbers
// and bytes, within bounds, up to the first error.
package binscan

import (
	"encoding/binary"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// Parser parses a record up to the first error. Rest is the part that has not been
// parsed.
type Parser struct {
	Rest []byte
	Err  error
}

// Check records a problem unless ok. It reports whether there has been no error so far.
func (p *Parser) Check(ok bool, problem string) bool {
	if !ok && p.Err == nil {
		p.Err = fmt.Errorf("%w: %s", fault.ErrCorrupt, problem)
		p.Rest = nil
	}
	return p.Err == nil
}

// Take returns the next n bytes. It returns nil if fewer than n are left.
func (p *Parser) Take(n int) []byte {
	if !p.Check(n <= len(p.Rest), "it ends too soon") {
		return nil
	}
	b := p.Rest[:n]
	p.Rest = p.Rest[n:]
	return b
}

// Number returns the next number. It returns 0 if the number is greater than limit.
func (p *Parser) Number(limit int64) int64 {
	v, n := binary.Uvarint(p.Rest)
	if !p.Check(n > 0 && v <= uint64(limit), "a number that cannot be") {
		return 0
	}
	p.Rest = p.Rest[n:]
	return int64(v)
}

// Count returns the next number as a count of things that take at least least bytes each.
func (p *Parser) Count(least int) int {
	return int(p.Number(int64(len(p.Rest) / least)))
}
