package zarray

import (
	"fmt"
	"iter"

	"github.com/go-orbax/orbax/zarr"
)

// Meta is the contents of an array's document. Most arrays of a tree share their Meta
// with many others.
type Meta struct {
	*zarr.Metadata
	inner  *zarr.Metadata // of the inner chunks of shards; nil if the chunks are not shards
	codecs string
	few    []place // all chunks, in the order of the grid; nil if there are many
}

// place is the position of a chunk in its array. Its slices must not be changed.
type place struct {
	number    int    // in the order of the grid
	key       string // relative to the array
	index     []int
	off, size []int
}

// fewChunks is the largest number of chunks for which arrays with equal documents share
// the places.
const fewChunks = 16

func newMeta(m *zarr.Metadata) *Meta {
	f := &Meta{Metadata: m, codecs: m.Codecs(), few: []place{}}
	f.inner, _ = m.Inner()
	for index := range m.Chunks() {
		if len(f.few) == fewChunks {
			f.few = nil
			break
		}
		f.few = append(f.few, f.place(index))
	}
	return f
}

func (f *Meta) place(index []int) place {
	p := place{index: index, key: f.Key(index)}
	for i, x := range index {
		p.number = p.number*((f.Shape[i]-1)/f.ChunkShape[i]+1) + x
	}
	p.off, p.size = f.ChunkRegion(index)
	return p
}

// Keys yields the keys of all chunks, in the order of the grid.
func (f *Meta) Keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		if f.few != nil {
			for i := range f.few {
				if !yield(f.few[i].key) {
					return
				}
			}
			return
		}
		for index := range f.Chunks() {
			if !yield(f.Key(index)) {
				return
			}
		}
	}
}

// overlapping yields the chunks that hold elements of the box of the given size at
// off, in the order of the grid.
func (f *Meta) overlapping(off, size []int) iter.Seq[*place] {
	return func(yield func(*place) bool) {
		if f.few != nil {
			for i := range f.few {
				if f.few[i].overlaps(off, size) && !yield(&f.few[i]) {
					return
				}
			}
			return
		}
		for index := range f.Overlapping(off, size) {
			if p := f.place(index); !yield(&p) {
				return
			}
		}
	}
}

// overlaps reports whether the chunk holds elements of the box.
func (p *place) overlaps(off, size []int) bool {
	for i := range p.off {
		if max(off[i], p.off[i]) >= min(off[i]+size[i], p.off[i]+p.size[i]) {
			return false
		}
	}
	return true
}

// Metas holds parsed documents by their text.
type Metas map[string]*Meta

// Parse returns the contents of a document of zarr format 2 or 3.
func (fs Metas) Parse(format int, doc []byte, fill bool) (*Meta, error) {
	if f := fs[string(doc)]; f != nil {
		return f, nil
	}
	m, err := zarr.Parse(format, doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", zarr.DocumentName(format), err)
	}
	if fill {
		m = m.Filling()
	}
	f := newMeta(m)
	fs[string(doc)] = f
	return f, nil
}
