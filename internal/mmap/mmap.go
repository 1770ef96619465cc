// Package mmap maps files into memory, privately, in ranges of the address space that are
// never used for anything else. A program that uses mapped memory after its end faults,
// and never sees other data.
//
//	space, err := mmap.Reserve(size, 1)
//	err = space.Map(0, file, 0, size)
//	data := space.Bytes(0, size) // is read when it is touched
//	err = space.Retire()         // data faults from here on
//
// Mapped memory belongs to the program: a write changes its copy of the page, and neither
// the file nor another mapping. The garbage collector does not know the memory. Touching
// a page that the file no longer has, because it was truncated, or a page that cannot be
// read, is a fault too.
//
// On systems that cannot do this, [Reserve] fails with an error that matches
// [errors.ErrUnsupported].
package mmap

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
)

// MaxSpace bounds the size of all spaces of the process together: a quarter of the
// addresses that most systems give a program. The rest is for the heap; if the heap finds
// no addresses, the program ends. Retired spaces count.
const MaxSpace = min(1<<45, math.MaxInt/4)

// reserved is the size of all spaces together, and mapped the number of mappings that
// they may make.
var reserved, mapped atomic.Int64

// ErrAddresses is the error of a [Reserve] that would leave the process too little
// address space. Everything that was ever mapped counts, because addresses are not used
// again.
var ErrAddresses = errors.New("the addresses for mapped memory are used up")

// errMappings is the error of a Reserve that would leave the process too few mappings for
// its own memory.
var errMappings = errors.New("too much is mapped")

// Space is a range of the address space. Several goroutines may use different parts of
// it. [Space.Retire] and [Space.Release] do not wait for them.
type Space struct {
	memory  []byte // nil after Release
	maps    int64  // number of mappings that the space may make
	retired bool
}

// Reserve takes size bytes of the address space, and the right to make maps mappings in
// them. It takes no memory: accesses fault until something is mapped there. Reserve fails
// if the process has too much already.
func Reserve(size, maps int) (*Space, error) {
	if size <= 0 || maps < 0 {
		return nil, fmt.Errorf("a space of %d bytes for %d mappings", size, maps)
	}
	if size > MaxSpace {
		return nil, fmt.Errorf("%w: %d bytes more", ErrAddresses, size)
	}
	s := &Space{maps: int64(maps)}
	n := int64(RoundUp(size))
	taken, made := reserved.Add(n), mapped.Add(s.maps)
	var err error
	switch {
	case taken > MaxSpace:
		err = fmt.Errorf("%w: %d bytes more, and %d are used of %d", ErrAddresses, size, taken-n, int64(MaxSpace))
	case made > int64(maxMappings()):
		err = fmt.Errorf("%w: %d mappings more", errMappings, maps)
	default:
		s.memory, err = reserve(int(n))
	}
	if err != nil {
		reserved.Add(-n)
		mapped.Add(-s.maps)
		return nil, err
	}
	return s, nil
}

// Bytes returns n bytes of the space from offset at.
func (s *Space) Bytes(at, n int) []byte { return s.memory[at : at+n : at+n] }

// Map maps n bytes at offset off of f to offset at of the space. Both offsets must be
// multiples of [PageSize]. The rest of the last page is mapped as well. f must be open
// for reading, and may be closed afterwards.
func (s *Space) Map(at int, f *os.File, off int64, n int) error {
	inside := at >= 0 && n > 0 && at <= len(s.memory)-n && off >= 0
	if !inside || at%pageSize != 0 || off%int64(pageSize) != 0 {
		return fmt.Errorf("mapping %d bytes at %d of %s to %d of %d", n, off, f.Name(), at, len(s.memory))
	}
	return mapFile(s.memory[at:at+n], f, off)
}

// Retire ends all mappings. The addresses stay reserved as long as the process lives, so
// that a stale use of the memory faults.
func (s *Space) Retire() error {
	if s.memory == nil || s.retired {
		return nil
	}
	if err := retire(s.memory); err != nil {
		return err
	}
	mapped.Add(-s.maps)
	s.maps, s.retired = 0, true
	return nil
}

// Release ends all mappings and returns the addresses to the system. It is for memory
// that was never handed out.
func (s *Space) Release() error {
	if s.memory == nil {
		return nil
	}
	if err := release(s.memory); err != nil {
		return err
	}
	reserved.Add(-int64(len(s.memory)))
	mapped.Add(-s.maps)
	s.memory = nil
	return nil
}

// Free returns the number of mappings that the spaces of the process may still make.
func Free() int { return max(0, maxMappings()-int(mapped.Load())) }

// PageSize returns the size of the system's pages.
func PageSize() int { return pageSize }

var pageSize = os.Getpagesize()

// RoundUp returns n rounded up to a whole number of pages.
func RoundUp(n int) int { return (n + pageSize - 1) &^ (pageSize - 1) }
