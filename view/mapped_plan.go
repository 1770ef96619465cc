package view

import (
	"cmp"
	"context"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/memory"
	"github.com/go-orbax/orbax/internal/mmap"
	"github.com/go-orbax/orbax/tree"
)

// mappedFileBytes is the least number of wanted bytes for which a file is mapped: copying
// fewer is faster than mapping them and faulting their pages in. Only tests change it.
var mappedFileBytes int64 = 64 << 10

// mapPlan is the plan of the mappings of one load. It maps one range of each file, which
// has all leaves that lie there in one run, and all checksums. A leaf of several runs
// gets its own memory, to which each run is mapped once more.
type mapPlan struct {
	leaves []mappedLeaf
	files  map[fileKey]*mappedFile
	order  []*mappedFile
	// The memory that the slices of the leaves use.
	parts []mappedPart
	runs  []mappedRun
}

type fileKey struct {
	dir  *Dir
	name string
}

// mappedFile is a file with a mapped range.
type mappedFile struct {
	fileKey
	wanted int64 // number of bytes of wanted elements
	size   int64 // the size that the file must have at least
	bad    bool  // the file is not mapped

	// The range [lo, hi), if it is not empty, is mapped to offset at of the space.
	lo, hi int64
	at     int
	// apart holds the runs that are mapped to places of their own.
	apart []mappedRun
}

// mappedLeaf is a leaf that can be mapped.
type mappedLeaf struct {
	leaf   *Leaf
	number int // its number in the load
	want   array.ShapeDtypeStruct
	parts  []mappedPart
	runs   []mappedRun // that all parts form together
	at     int         // offset in the space, if there are several runs
}

// mappedPart is a part and the place of its elements.
type mappedPart struct {
	*Chunk
	mappedRun
	summed bool // the part has a checksum that covers its elements
}

// mappedRun is n bytes of a file at off. to is their offset in the leaf, and later in the
// space.
type mappedRun struct {
	file  *mappedFile
	off   int64
	to, n int
}

// add adds leaf l, number i of the load, to the plan, if files hold all wanted elements
// as they are in memory. If it finds an error, it leaves the leaf out; reading the leaf
// reports that error.
func (p *mapPlan) add(ctx context.Context, l *Leaf, i int, want array.ShapeDtypeStruct) {
	d := l.meta.DType
	n, err := l.bytes()
	if err != nil || n == 0 || l.meta.Kind == tree.KindScalar ||
		d == array.Bool || narrow(d) || // not every byte is a valid element
		want.DType != d || !slices.Equal(want.Shape, l.meta.Shape) {
		return
	}
	m := mappedLeaf{leaf: l, number: i, want: want}
	parts, runs := len(p.parts), len(p.runs)
	if !p.addParts(ctx, &m) || !p.addRuns(&m, n) || !m.aligned() {
		p.parts, p.runs = p.parts[:parts], p.runs[:runs]
		return
	}
	for _, r := range m.runs {
		r.file.wanted += int64(r.n)
	}
	p.leaves = append(p.leaves, m)
}

// addParts adds the parts of the leaf in the order of their elements, if each part is one
// run of elements.
func (p *mapPlan) addParts(ctx context.Context, m *mappedLeaf) bool {
	start := len(p.parts)
	for i := range m.leaf.pieces {
		if !p.addPiece(ctx, m.leaf, &m.leaf.pieces[i]) {
			return false
		}
	}
	m.parts = p.parts[start:len(p.parts):len(p.parts)]
	slices.SortFunc(m.parts, func(a, b mappedPart) int { return cmp.Compare(a.to, b.to) })
	return true
}

// addPiece adds the parts of one piece.
func (p *mapPlan) addPiece(ctx context.Context, l *Leaf, pc *piece) bool {
	switch pc.array.(type) {
	case *reading, *computed: // are in no file
		return false
	}
	place := placement{
		view: pc.view, whole: len(l.pieces) == 1 && pc.view.Identity(), casts: pc.casts,
		dstShape: l.meta.Shape, dstOff: pc.at,
	}
	box := place.bounds()
	item := pc.dtype.Size()
	for part, err := range pc.array.Chunks(ctx, box.Offset, box.Size) {
		if err != nil || !p.room() {
			return false
		}
		first, n, ok := place.run(part)
		if !ok || part.Inline != nil ||
			part.At < 0 || part.Length < int64(n*item) || part.At+part.Length < part.At {
			return false
		}
		step, done := part.Form.Direct(part, nil)
		if done == nil {
			return false // the file does not hold its elements as they are
		}
		run := mappedRun{p.file(part), part.At, first * item, n * item}
		p.parts = append(p.parts, mappedPart{part, run, step != nil})
	}
	return true
}

// room reports whether memory has room for a further part. If not, the leaf is read
// instead of mapped; reading plans its parts in groups.
func (p *mapPlan) room() bool {
	n := len(p.parts)
	return n%maxPlanned != 0 || memory.Covers(int64(n+maxPlanned), mappedPartBytes) == nil
}

// mappedPartBytes is about the memory that a part of the plan takes until it is verified.
const mappedPartBytes = 512

func (p *mapPlan) file(part *Chunk) *mappedFile {
	key := fileKey{part.Dir, part.File}
	f := p.files[key]
	if f == nil {
		f = &mappedFile{fileKey: key}
		p.files[key] = f
		p.order = append(p.order, f)
	}
	return f
}

// addRuns joins the parts of the leaf that are adjacent in the file too. It reports
// whether they make up the n bytes of the leaf.
func (p *mapPlan) addRuns(m *mappedLeaf, n int) bool {
	start, end := len(p.runs), 0
	for _, part := range m.parts {
		if part.to != end {
			return false
		}
		end += part.n
		if k := len(p.runs) - 1; k >= start && p.runs[k].goesOn(part.mappedRun) {
			p.runs[k].n += part.n
		} else {
			p.runs = append(p.runs, part.mappedRun)
		}
	}
	m.runs = p.runs[start:len(p.runs):len(p.runs)]
	return end == n
}

// goesOn reports whether next follows the run in the same file.
func (r mappedRun) goesOn(next mappedRun) bool {
	return r.file == next.file && r.off+int64(r.n) == next.off
}

// aligned reports whether the elements will be aligned in memory. Several runs must begin
// at page boundaries, in the file and in the leaf.
func (m *mappedLeaf) aligned() bool {
	if len(m.runs) == 1 {
		return m.runs[0].off%int64(min(m.leaf.meta.DType.Size(), 8)) == 0
	}
	page := mmap.PageSize()
	return !slices.ContainsFunc(m.runs, func(r mappedRun) bool {
		return r.off%int64(page) != 0 || r.to%page != 0
	})
}

// settle drops the leaves whose files cannot be mapped or are not worth it, and the
// leaves that would exceed the allowed number of mappings. It returns the number of
// mappings that are needed.
func (p *mapPlan) settle(ctx context.Context) (maps int) {
	for _, f := range p.order {
		f.bad = f.wanted < mappedFileBytes
	}
	p.drop((*mappedLeaf).bad)
	for i := range p.leaves {
		p.leaves[i].need()
	}
	// The size of the reservation must not depend on sizes of files that a damaged
	// checkpoint states.
	for _, f := range p.order {
		if f.size > 0 {
			info, err := f.dir.At.Join(f.name).Stat(ctx)
			f.bad = err != nil || info.Size < f.size
			maps++
		}
	}
	p.drop((*mappedLeaf).bad)
	free := mmap.Free()
	p.drop(func(m *mappedLeaf) bool {
		if len(m.runs) == 1 {
			return maps > free
		}
		if maps+len(m.runs) > free {
			return true
		}
		maps += len(m.runs)
		return false
	})
	return maps
}

// drop removes the leaves for which out returns true.
func (p *mapPlan) drop(out func(*mappedLeaf) bool) {
	kept := p.leaves[:0]
	for i := range p.leaves {
		if !out(&p.leaves[i]) {
			kept = append(kept, p.leaves[i])
		}
	}
	p.leaves = kept
}

// bad reports whether one of the leaf's files is bad.
func (m *mappedLeaf) bad() bool {
	return slices.ContainsFunc(m.runs, func(r mappedRun) bool { return r.file.bad })
}

// need extends the ranges of the leaf's files so that they cover the leaf.
func (m *mappedLeaf) need() {
	for _, part := range m.parts {
		f, end := part.file, part.At+part.Length
		f.size = max(f.size, end)
		lo := part.At
		if len(m.runs) > 1 {
			lo += int64(part.n) // the bytes after the elements
		}
		if lo == end {
			continue
		}
		if f.hi == 0 {
			f.lo = lo
		}
		f.lo, f.hi = min(f.lo, lo), max(f.hi, end)
	}
}
