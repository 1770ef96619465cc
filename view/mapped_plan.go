package view

import (
	"cmp"
	"context"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/mmap"
	"github.com/go-orbax/orbax/tree"
)

// mappedFileBytes is what must be wanted of a file for it to be mapped: less is
// copied sooner than it is mapped and its pages are found. Only tests change it.
var mappedFileBytes int64 = 64 << 10

// mapPlan is what one load maps. Of each file one range is mapped, in which are
// all leaves that lie there in one run, and all checksums. A leaf of several runs
// gets memory of its own, to which each of them is mapped once more.
type mapPlan struct {
	leaves []mappedLeaf
	files  map[fileKey]*mappedFile
	order  []*mappedFile
}

type fileKey struct {
	dir  *Dir
	name string
}

// mappedFile is a file of which something is mapped.
type mappedFile struct {
	fileKey
	wanted int64 // bytes of elements
	size   int64 // what the file must have
	bad    bool  // it cannot be mapped

	// The range [lo, hi), if it is not empty, is mapped to the place at of the space.
	lo, hi int64
	at     int
	// apart is mapped to places of its own.
	apart []mappedRun
}

// mappedLeaf is a leaf that can be mapped.
type mappedLeaf struct {
	leaf   *Leaf
	number int // in the load
	want   array.ShapeDtypeStruct
	parts  []mappedPart
	runs   []mappedRun // that the parts make together
	at     int         // in the space, if there are several runs
}

// mappedPart is a part and where its elements are.
type mappedPart struct {
	*Part
	mappedRun
}

// mappedRun is n bytes of a file, at off, for the place to: of the leaf, or of the
// space.
type mappedRun struct {
	file  *mappedFile
	off   int64
	to, n int
}

// add adds leaf l, number i of the load, to the plan, if all elements that are
// wanted lie in files as they are. Why a part cannot be had is left to those who
// read it then.
func (p *mapPlan) add(ctx context.Context, l *Leaf, i int, want array.ShapeDtypeStruct) {
	d := l.meta.DType
	n, err := l.bytes()
	if err != nil || n == 0 || l.meta.Kind == tree.KindScalar ||
		d == array.Bool || narrow(d) || // not any byte is an element
		want.DType != d || !slices.Equal(want.Shape, l.meta.Shape) {
		return
	}
	m := mappedLeaf{leaf: l, number: i, want: want}
	for k := range l.pieces {
		if !p.addPiece(ctx, &m, &l.pieces[k]) {
			return
		}
	}
	slices.SortFunc(m.parts, func(a, b mappedPart) int { return cmp.Compare(a.to, b.to) })
	end := 0
	for _, part := range m.parts {
		if part.to != end {
			return
		}
		end += part.n
		m.addRun(part.mappedRun)
	}
	if end != n || !m.aligned() {
		return
	}
	for _, r := range m.runs {
		r.file.wanted += int64(r.n)
	}
	p.leaves = append(p.leaves, m)
}

// addPiece adds the parts of a piece of the leaf, if each is one run of it.
func (p *mapPlan) addPiece(ctx context.Context, m *mappedLeaf, pc *piece) bool {
	switch pc.array.(type) {
	case *reading, *computed: // are in no file
		return false
	}
	pl := placement{view: pc.view, casts: pc.casts, dstShape: m.leaf.meta.Shape, dstOff: pc.at}
	off, size := pc.view.Bounds()
	parts, err := pc.array.Parts(ctx, off, size)
	if err != nil {
		return false
	}
	item := pc.dtype.Size()
	for i := range parts {
		part := &parts[i]
		first, n, ok := pl.run(part)
		if !ok || !part.mappable(int64(n*item)) {
			return false
		}
		m.parts = append(m.parts, mappedPart{part, mappedRun{p.file(part), part.At, first * item, n * item}})
	}
	return true
}

// mappable reports whether the part is a range of a file that begins with its
// elements, which take n bytes.
func (p *Part) mappable(n int64) bool {
	if p.Inline != nil || p.At < 0 || p.Length < n || p.At+p.Length < p.At ||
		!fs.ValidPath(p.File) || !filepath.IsLocal(filepath.FromSlash(p.File)) {
		return false
	}
	_, done := p.Form.Direct(p, nil)
	return done != nil
}

func (p *mapPlan) file(part *Part) *mappedFile {
	key := fileKey{part.Dir, part.File}
	f := p.files[key]
	if f == nil {
		f = &mappedFile{fileKey: key}
		p.files[key] = f
		p.order = append(p.order, f)
	}
	return f
}

// addRun adds a run, to the one before it if it follows that in the file too.
func (m *mappedLeaf) addRun(r mappedRun) {
	if k := len(m.runs) - 1; k >= 0 && m.runs[k].file == r.file && m.runs[k].off+int64(m.runs[k].n) == r.off {
		m.runs[k].n += r.n
		return
	}
	m.runs = append(m.runs, r)
}

// aligned reports whether the elements will be aligned in memory, and several runs
// are all of pages, but for the end of the last.
func (m *mappedLeaf) aligned() bool {
	if len(m.runs) == 1 {
		return m.runs[0].off%int64(min(m.leaf.meta.DType.Size(), 8)) == 0
	}
	page := mmap.PageSize()
	return !slices.ContainsFunc(m.runs, func(r mappedRun) bool { return r.off%int64(page) != 0 || r.to%page != 0 })
}

// settle leaves out leaves whose files cannot be mapped, or are not worth it, and
// those that would need more mappings than there may be. It returns how many are
// needed.
func (p *mapPlan) settle(ctx context.Context) (maps int) {
	for _, f := range p.order {
		f.bad = f.wanted < mappedFileBytes
	}
	p.drop((*mappedLeaf).bad)
	for i := range p.leaves {
		p.leaves[i].need()
	}
	for _, f := range p.order {
		if f.size > 0 {
			info, err := f.dir.Store.Stat(ctx, f.path())
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

func (f *mappedFile) path() string { return f.dir.Path + "/" + f.name }

// drop leaves out leaves.
func (p *mapPlan) drop(out func(*mappedLeaf) bool) {
	kept := p.leaves[:0]
	for i := range p.leaves {
		if !out(&p.leaves[i]) {
			kept = append(kept, p.leaves[i])
		}
	}
	p.leaves = kept
}

// bad reports whether one of the leaf's files is.
func (m *mappedLeaf) bad() bool {
	return slices.ContainsFunc(m.runs, func(r mappedRun) bool { return r.file.bad })
}

// need makes the files of the leaf have what is needed of them.
func (m *mappedLeaf) need() {
	for _, part := range m.parts {
		f, end := part.file, part.At+part.Length
		f.size = max(f.size, end)
		lo := part.At
		if len(m.runs) > 1 {
			lo += int64(part.n) // what follows the elements
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
