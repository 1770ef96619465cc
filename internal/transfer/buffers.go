package transfer

import (
	"math/bits"
	"slices"
	"sync"
	"unsafe"

	"github.com/go-orbax/orbax/internal/memory"
	"github.com/go-orbax/orbax/storage"
)

// bufferPool keeps the buffers of an engine for its next jobs. The garbage collector
// waits until the heap has doubled, so without the pool buffers would pile up to the size
// of the state.
type bufferPool struct {
	mu   sync.Mutex
	free [][]byte // by capacity, ascending
	kept int64    // sum of the capacities
}

// pools holds the pools that no engine uses now. A tree that is read lazily while it is
// written makes many small reads, which then need no new memory.
var pools = sync.Pool{New: func() any { return new(bufferPool) }}

func borrowPool(budget int64) *bufferPool {
	p := pools.Get().(*bufferPool)
	p.shrink(budget)
	return p
}

func (p *bufferPool) release() { pools.Put(p) }

// shrink drops the smallest buffers until the others take at most limit.
func (p *bufferPool) shrink(limit int64) {
	for len(p.free) > 0 && p.kept > limit {
		p.kept -= int64(cap(p.free[0]))
		p.free = slices.Delete(p.free, 0, 1)
	}
}

// get returns n bytes from the smallest buffer that is large enough. If there is none it
// makes one, and drops smaller buffers so that all stay within the budget. If the process
// cannot have the memory, the error matches fault.ErrNoMemory.
func (p *bufferPool) get(n, budget int64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	size := sizeClass(n)
	if b := p.take(n, size, budget); b != nil {
		return b[:n], nil
	}
	b, err := pageMemory(size)
	if err != nil {
		return nil, err
	}
	return b[:n], nil
}

func (p *bufferPool) take(n, size, budget int64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, b := range p.free {
		if int64(cap(b)) >= n {
			p.free = slices.Delete(p.free, i, i+1)
			p.kept -= int64(cap(b))
			return b
		}
	}
	p.shrink(budget - size)
	return nil
}

func (p *bufferPool) put(b []byte, budget int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// One buffer is kept even if it exceeds the budget: the next job may need as much.
	if size := int64(cap(b)); size > 0 && (p.kept == 0 || p.kept+size <= budget) {
		i, _ := slices.BinarySearchFunc(p.free, size, func(b []byte, n int64) int { return int(int64(cap(b)) - n) })
		p.free = slices.Insert(p.free, i, b[:0])
		p.kept += size
	}
}

// sizeClass rounds n up by at most a quarter, so that jobs of nearly equal sizes, such as
// compressed chunks, can use the same buffers.
func sizeClass(n int64) int64 {
	step := int64(1) << max(16, bits.Len64(uint64(n))-3)
	return (n + step - 1) / step * step
}

// pageMemory is pageBuffer for a size that a checkpoint states. It returns an error if
// the process cannot have the memory.
func pageMemory(capacity int64) ([]byte, error) {
	b, err := memory.Bytes(capacity + storage.PageSize)
	if err != nil {
		return nil, err
	}
	return onPage(b, int(capacity)), nil
}

// pageBuffer returns an empty buffer of at least the given capacity that
// starts on a page, so that the file system can take it without a copy.
func pageBuffer(capacity int) []byte {
	return onPage(make([]byte, capacity+storage.PageSize), capacity)
}

// onPage returns the memory of b from its first page on, empty.
func onPage(b []byte, capacity int) []byte {
	skip := -address(b) % storage.PageSize
	return b[skip : skip : skip+uintptr(capacity)]
}

// address returns the address of b.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// roundUp returns n rounded up to a whole number of pages.
func roundUp(n int) int {
	return (n + storage.PageSize - 1) &^ (storage.PageSize - 1)
}

// roundDown returns n rounded down to a whole number of pages.
func roundDown(n int) int { return n &^ (storage.PageSize - 1) }
