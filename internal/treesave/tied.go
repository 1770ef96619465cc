package treesave

import (
	"unsafe"

	"github.com/go-orbax/orbax/array"
)

// tied returns for each array the number of the first array that is in the same memory
// and is stored in the same way. Most often that is the array itself, and always if
// several processes save together.
func (p *Plan) tied() []int {
	first := make([]int, len(p.arrays))
	if p.process.Size > 1 { // another process may hold the arrays in separate memory
		for i := range first {
			first[i] = i
		}
		return first
	}
	seen := make(map[memoryID]int, len(p.arrays))
	for i := range p.arrays {
		a := &p.arrays[i]
		first[i] = i
		id, ok := memoryOf(a.src)
		if !ok {
			continue
		}
		j, ok := seen[id]
		if !ok {
			seen[id] = i
			continue
		}
		b := &p.arrays[j]
		if a.src.DType() == b.src.DType() && a.zarr == b.zarr { // arrays stored in the same way share their metadata
			first[i] = j
		}
	}
	return first
}

// memoryID is a range of memory.
type memoryID struct {
	start *byte
	len   int
}

// memoryOf returns the memory of an array. ok is false if it has none.
func memoryOf(r array.Reader) (memoryID, bool) {
	a, ok := r.(*array.Array)
	if !ok || len(a.Bytes()) == 0 {
		return memoryID{}, false
	}
	b := a.Bytes()
	return memoryID{unsafe.SliceData(b), len(b)}, true
}

// LeastBytes returns the least number of bytes that the arrays take in the store, those
// that other processes write included.
func (p *Plan) LeastBytes() int64 {
	var n int64
	for i, first := range p.tied() {
		m := p.arrays[i].zarr
		if (first == i || p.storage.PlainFiles) && !p.arrays[i].automatic() {
			n += int64(m.NumChunks()) * int64(m.EncodedLeast())
		}
	}
	return n
}
