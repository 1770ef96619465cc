package view

import (
	"cmp"
	"context"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/castlog"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/strided"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/sharding"
)

// request asks for the box of size elements at off of a leaf. The elements go to dst, an
// array of shape dstShape, into the box of the same size at dstOff, converted to dtype.
type request struct {
	leaf      *Leaf
	off, size []int

	dst              []byte
	dtype            array.DType
	dstShape, dstOff []int
}

// placement is the share of one stored array in a request.
type placement struct {
	leaf string
	view strided.View // the elements of the stored array
	// whole says that the view is the whole stored array and dst has nothing else. This
	// is the usual case, and needs no arithmetic.
	whole bool

	casts            []array.DType // from the dtype of the stored array to that of dst
	dst              []byte
	dstShape, dstOff []int
}

// source is a stored array and all elements that are wanted from it.
type source struct {
	array  Array
	dtype  array.DType
	log    castlog.Log // from the context, or nil
	placed []placement
	first  [1]placement // the memory of placed, which usually has one element
}

// read fulfils requests. It reads each stored chunk once, and only if an element of the
// chunk is wanted. A cache, which may be nil, keeps elements for later reads.
func read(ctx context.Context, requests []request, cache *chunkCache) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range requests {
		if err := requests[i].leaf.isOpen(); err != nil {
			return err
		}
	}
	p := &planner{
		sources: make(map[Array]*source, len(requests)),
		order:   make([]*source, 0, len(requests)),
		log:     castlog.From(ctx),
		slab:    make([]source, 0, len(requests)),
	}
	for i := range requests {
		if err := p.add(&requests[i]); err != nil {
			return requests[i].leaf.wrap(err)
		}
	}
	for _, s := range p.order {
		if err := p.plan(ctx, s, cache); err != nil {
			return fault.OfLeaf(s.placed[0].leaf, err)
		}
	}
	return p.run(ctx)
}

// planner turns requests into reads.
type planner struct {
	sources map[Array]*source
	order   []*source
	slab    []source // memory for sources
	reads   map[*Dir][]transfer.Read
	dirs    []*Dir
	planned int // number of planned reads in all directories
	log     castlog.Log
}

// add divides a request among the stored arrays of its leaf.
func (p *planner) add(r *request) error {
	l := r.leaf
	if err := l.meta.err(); err != nil {
		return err
	}
	name := l.meta.Path.String()
	if len(l.pieces) == 1 && l.pieces[0].view.Identity() && slices.Equal(r.size, l.meta.Shape) && slices.Equal(r.size, r.dstShape) {
		pc := &l.pieces[0]
		p.place(pc, placement{
			leaf: name, view: pc.view, whole: true, casts: castsTo(pc, l.meta.DType, r.dtype),
			dst: r.dst, dstShape: r.dstShape, dstOff: r.dstOff,
		})
		return nil
	}
	for i := range l.pieces {
		pc := &l.pieces[i]
		// The intersection of the boxes of the request and of the piece, in the leaf.
		off, size, ok := intersect(r.off, r.size, pc.at, pc.view.Shape())
		if !ok {
			continue
		}
		view, err := pc.view.Box(minus(off, pc.at), size)
		if err != nil {
			return err
		}
		p.place(pc, placement{
			leaf: name, view: view, casts: castsTo(pc, l.meta.DType, r.dtype),
			dst: r.dst, dstShape: r.dstShape, dstOff: plus(r.dstOff, minus(off, r.off)),
		})
	}
	return nil
}

// castsTo returns the casts from the stored array to dtype, by way of the leaf's dtype.
func castsTo(pc *piece, leaf, dtype array.DType) []array.DType {
	if dtype == leaf {
		return pc.casts
	}
	return append(slices.Clip(pc.casts), dtype)
}

// place adds a placement to its stored array.
func (p *planner) place(pc *piece, pl placement) {
	s := p.sources[pc.array]
	if s == nil {
		if len(p.slab) == cap(p.slab) { // there are leaves of several arrays
			p.slab = make([]source, 0, 64)
		}
		p.slab = append(p.slab, source{array: pc.array, dtype: pc.dtype, log: p.log})
		s = &p.slab[len(p.slab)-1]
		s.placed = s.first[:0]
		p.sources[pc.array] = s
		p.order = append(p.order, s)
	}
	s.placed = append(s.placed, pl)
}

// plan plans reads of the parts of a stored array that hold wanted elements. Reads
// through the cache happen at once.
func (p *planner) plan(ctx context.Context, s *source, cache *chunkCache) error {
	t := s.tree()
	groups := s.groups(&t)
	if len(groups) > 1 {
		return p.planApart(ctx, s, &t, groups, cache)
	}
	for part, err := range s.array.Chunks(ctx, groups[0].Offset, groups[0].Size) {
		if err != nil {
			return err
		}
		placed := s.overlapping(&t, part.Offset, part.Size)
		if len(placed) == 0 {
			continue
		}
		if err := p.planChunk(ctx, s, part, placed, cache); err != nil {
			return err
		}
	}
	return nil
}

// planChunk plans a read of one part.
func (p *planner) planChunk(ctx context.Context, s *source, part *Chunk, placed []placement, cache *chunkCache) error {
	dst, run := s.run(part, placed)
	if cache != nil && !run && part.Inline == nil {
		return s.placeCached(ctx, part, placed, cache)
	}
	r := transfer.Read{Leaf: placed[0].leaf, Done: func(enc []byte) error {
		return part.describe(s.deliver(part, placed, enc))
	}}
	switch {
	case !run:
		r.Scratch = part.scratch(s.dtype, placed[0].casts)
	case part.Inline == nil && part.Length >= directBytes:
		direct(&r, part, dst)
	}
	if err := p.addChunk(part, r); err != nil {
		return err
	}
	return p.runFull(ctx, maxLoaded)
}

// addChunk plans r to read a part. If the bytes of the part are known, r gets them at
// once.
func (p *planner) addChunk(part *Chunk, r transfer.Read) error {
	if part.Inline != nil {
		return r.Done(part.Inline)
	}
	r.Extent = transfer.Extent{File: part.File, Offset: part.At, Length: part.Length}
	if p.reads == nil {
		p.reads = map[*Dir][]transfer.Read{}
	}
	if _, ok := p.reads[part.Dir]; !ok {
		p.dirs = append(p.dirs, part.Dir)
		p.reads[part.Dir] = make([]transfer.Read, 0, min(len(p.order), maxLoaded)) // most arrays have one part
	}
	p.reads[part.Dir] = append(p.reads[part.Dir], r)
	p.planned++
	return nil
}

// maxPlanned is the number of reads that are planned before they are performed. A read
// takes some hundred bytes of memory, and a checkpoint of terabytes, or a small hostile
// one, has millions of reads.
const (
	maxPlanned = 1 << 14
	// maxLoaded is the same for loads, which report how much is planned.
	maxLoaded = 1 << 17
)

// runFull calls run if most reads or more are planned.
func (p *planner) runFull(ctx context.Context, most int) error {
	if p.planned < most {
		return nil
	}
	return p.run(ctx)
}

// run performs the planned reads. Those of several directories go on at the same time if
// they share an engine, whose budget then bounds all of them.
func (p *planner) run(ctx context.Context) error {
	group, gctx := parallel.WithContext(ctx)
	limit := dirsAtOnce
	for _, dir := range p.dirs {
		limit = transfer.AtOnce(dir.At.Store.Properties(), limit)
		if dir.Engine == nil || dir.Engine != p.dirs[0].Engine {
			limit = 1
		}
	}
	group.SetLimit(limit)
	for _, dir := range p.dirs {
		group.Go(func() error { return (*transfer.Dir)(dir).ReadAll(gctx, p.reads[dir]) })
	}
	err := cmp.Or(group.Wait(), ctx.Err())
	p.reads, p.dirs, p.planned = nil, nil, 0
	return err
}

// dirsAtOnce bounds how many directories have files open for one load.
const dirsAtOnce = 4

// bounds returns a box of the stored array that holds all elements of the placement.
func (pl *placement) bounds() sharding.Box {
	if pl.whole {
		return sharding.Box{Offset: origin(len(pl.dstShape)), Size: pl.dstShape}
	}
	off, size := pl.view.Bounds()
	return sharding.Box{Offset: off, Size: size}
}

// run returns the memory that takes all elements of a part, in their order and without
// others between them, if there is such memory.
func (s *source) run(part *Chunk, placed []placement) ([]byte, bool) {
	if len(placed) != 1 {
		return nil, false
	}
	item := s.dtype.Size()
	first, n, ok := placed[0].run(part)
	if !ok {
		return nil, false
	}
	return placed[0].dst[first*item:][:n*item], true
}

// run returns the run of elements of the destination that takes all elements of a part,
// in their order and unconverted, if there is one.
func (pl *placement) run(part *Chunk) (first, n int, ok bool) {
	if len(pl.casts) > 0 {
		return 0, 0, false
	}
	if pl.whole {
		return region.Run(pl.dstShape, part.Offset, part.Size)
	}
	first, n, ok = pl.view.Run(part.Offset, part.Size)
	base, _, contiguous := region.Run(pl.dstShape, pl.dstOff, pl.view.Shape())
	return base + first, n, ok && contiguous
}

// scratch returns about how many bytes it takes to decode a part that does not go
// straight to its place: its elements, of type d, and the elements that they are
// converted to.
func (p *Chunk) scratch(d array.DType, casts []array.DType) int64 {
	item := d.Size()
	for _, c := range casts {
		item += c.Size()
	}
	n, err := region.NumBytes(p.Size, item)
	if err != nil {
		return 0 // reading the part will report the error
	}
	return int64(n)
}

// intersect returns the intersection of two boxes.
func intersect(off, size, off2, size2 []int) (at, n []int, ok bool) {
	at, n = make([]int, len(off)), make([]int, len(off))
	for i := range off {
		at[i] = max(off[i], off2[i])
		n[i] = min(off[i]+size[i], off2[i]+size2[i]) - at[i]
		if n[i] <= 0 {
			return nil, nil, false
		}
	}
	return at, n, true
}

func plus(a, b []int) []int {
	sum := make([]int, len(a))
	for i := range a {
		sum[i] = a[i] + b[i]
	}
	return sum
}

func minus(a, b []int) []int {
	diff := make([]int, len(a))
	for i := range a {
		diff[i] = a[i] - b[i]
	}
	return diff
}
