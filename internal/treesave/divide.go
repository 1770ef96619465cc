package treesave

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// Several processes that save one tree divide its chunks without a message: each computes
// its own part from the plan, which is the same in all of them. The chunks that the same
// processes hold lie on a line, one after the other, as long as their bytes. The line is
// cut into equal pieces, one for each of these processes, and a chunk belongs to the piece
// in which its middle lies. Arrays that are no [array.Sharded] are held by all.

// division divides the chunks of a plan among the processes of a save.
type division struct {
	process sharding.Process
	lines   map[string]*line // by their holders
	pieces  map[*sharding.Sharding][]heldPiece
}

// line has the chunks that the same processes hold, as far as this process is one of them.
type line struct {
	holders []int // ranks, ascending; nil means all
	bytes   int64
	runs    []stretch
}

// stretch are chunks of one array that follow each other on a line.
type stretch struct {
	array  int
	chunks []int // their numbers
}

// heldPiece is a piece of arrays with the same sharding that this process holds.
type heldPiece struct {
	place int // one of those that hold it
	line  *line
}

// divide leaves to this process its part of the chunks. It fails if this process does not
// hold the shards that its devices have.
func (p *Plan) divide(process sharding.Process) error {
	d := &division{process, map[string]*line{}, map[*sharding.Sharding][]heldPiece{}}
	var wrong mistakes
	for i := range p.arrays {
		a := &p.arrays[i]
		a.part = process.Size > 1
		var err error
		if src, ok := a.src.(*array.Sharded); ok {
			err = d.addSharded(i, a, src)
		} else if a.part {
			d.line(nil).add(i, a, a.allChunks())
		}
		if err != nil {
			wrong.add(a.name, err)
		}
	}
	for _, l := range d.lines {
		l.cut(p, process)
	}
	for i := range p.arrays {
		slices.Sort(p.arrays[i].own)
	}
	return errors.Join(wrong.all()...)
}

// line returns the line of the chunks that the given processes hold.
func (d *division) line(holders []int) *line {
	key := fmt.Sprint(holders)
	l := d.lines[key]
	if l == nil {
		l = &line{holders: holders}
		d.lines[key] = l
	}
	return l
}

func (l *line) add(i int, a *planned, chunks []int) {
	l.runs = append(l.runs, stretch{i, chunks})
	l.bytes += int64(len(chunks)) * int64(a.zarr.ChunkBytes())
}

// addSharded adds the chunks of the pieces of an array that this process holds.
func (d *division) addSharded(i int, a *planned, src *array.Sharded) error {
	on := src.Sharding()
	pieces, err := on.Pieces(a.zarr.Shape)
	if err != nil {
		return err
	}
	held, err := d.held(on, pieces)
	if err != nil {
		return err
	}
	for _, h := range held {
		box := pieces.Box(h.place)
		if box.Empty() {
			continue
		}
		if _, ok := src.Shard(box.Offset, box.Size); !ok {
			if d.process.Size == 1 {
				return fmt.Errorf("%w: the shard of %v at %v is not in this process; if others have it, all save together with multihost.Together", fault.ErrShape, box.Size, box.Offset)
			}
			return fmt.Errorf("%w: process %d has no shard of %v at %v, which belongs to its device %d", fault.ErrShape, d.process.Rank, box.Size, box.Offset, pieces.Device(h.place))
		}
		for axis, off := range box.Offset {
			if off%a.zarr.ChunkShape[axis] != 0 {
				return fmt.Errorf("%w: chunks of %v do not divide the shards of %v", fault.ErrShape, a.zarr.ChunkShape, on)
			}
		}
		if a.part {
			h.line.add(i, a, a.chunksIn(box))
		}
	}
	return nil
}

// held returns the pieces of a sharding that this process holds.
func (d *division) held(on *sharding.Sharding, pieces *sharding.Pieces) ([]heldPiece, error) {
	if held, ok := d.pieces[on]; ok {
		return held, nil
	}
	all, err := d.process.Held(on, pieces)
	if err != nil {
		return nil, err
	}
	held := make([]heldPiece, len(all))
	for i, h := range all {
		held[i] = heldPiece{h.Place, d.line(h.Holders)}
	}
	d.pieces[on] = held
	return held, nil
}

// cut gives this process the chunks of its piece of the line.
func (l *line) cut(p *Plan, process sharding.Process) {
	n, at := process.Size, process.Rank
	if l.holders != nil {
		n = len(l.holders)
		at, _ = slices.BinarySearch(l.holders, process.Rank)
	}
	begin, end := float64(l.bytes)/float64(n)*float64(at), float64(l.bytes)/float64(n)*float64(at+1)
	if at == n-1 {
		end = float64(l.bytes) + 1
	}
	middle := 0.0
	for _, r := range l.runs {
		a := &p.arrays[r.array]
		size := float64(a.zarr.ChunkBytes())
		for _, chunk := range r.chunks {
			middle += size / 2
			if begin <= middle && middle < end {
				a.own = append(a.own, chunk)
			}
			middle += size / 2
		}
	}
}

// allChunks returns the numbers of all chunks of the array.
func (a *planned) allChunks() []int {
	all := make([]int, a.zarr.NumChunks())
	for i := range all {
		all[i] = i
	}
	return all
}

// chunksIn returns the numbers of the chunks in a box, which consists of whole chunks.
func (a *planned) chunksIn(box sharding.Box) (chunks []int) {
	for index := range a.zarr.Overlapping(box.Offset, box.Size) {
		chunks = append(chunks, a.number(index))
	}
	return chunks
}

// number returns the number of the chunk at index in the order of the grid.
func (a *planned) number(index []int) (n int) {
	for i, at := range index {
		n = n*a.gridSize(i) + at
	}
	return n
}

// gridSize returns the number of chunks along an axis.
func (a *planned) gridSize(axis int) int {
	return (a.zarr.Shape[axis] + a.zarr.ChunkShape[axis] - 1) / a.zarr.ChunkShape[axis]
}

// index returns the place in the grid of the chunk with a number.
func (a *planned) index(n int) []int {
	index := make([]int, len(a.zarr.Shape))
	for i := range slices.Backward(index) {
		size := a.gridSize(i)
		index[i] = n % size
		n /= size
	}
	return index
}

// ownIndexes returns the places in the grid of the chunks that this process writes, in order.
func (a *planned) ownIndexes() iter.Seq[[]int] {
	if !a.part {
		return a.zarr.Chunks()
	}
	return func(yield func([]int) bool) {
		for _, n := range a.own {
			if !yield(a.index(n)) {
				return
			}
		}
	}
}

// count returns the number of chunks that this process writes.
func (a *planned) count() int {
	if !a.part {
		return a.zarr.NumChunks()
	}
	return len(a.own)
}

// describes reports whether this process writes the document of the array.
func (p *Plan) describes(a *planned) bool {
	if a.zarr.NumChunks() == 0 {
		return p.process.Rank == 0
	}
	return !a.part || len(a.own) > 0 && a.own[0] == 0
}

const (
	leastShare = 64 << 10 // bytes of a chunk
	chunksEach = 16       // at least, of the state of a process
)

// shareLimit returns the size that chunks of arrays in several processes have without
// options. The processes can only share the work evenly if none of them has to write one
// chunk that is much of its part.
func shareLimit(leaves []tree.Leaf, process sharding.Process) int {
	if process.Size <= 1 {
		return defaultChunk
	}
	total := 0.0
	for _, l := range leaves {
		if r, ok := l.Value.(array.Reader); ok {
			n, _ := region.NumBytes(r.Shape(), r.DType().Size())
			total += float64(n)
		}
	}
	return int(max(leastShare, min(defaultChunk, total/float64(process.Size*chunksEach))))
}

// chunkLimit returns the size that the chunks of an array have without options.
func (p *Plan) chunkLimit(a array.Reader) (int, error) {
	src, ok := a.(*array.Sharded)
	if !ok || p.limit == defaultChunk {
		return p.limit, nil
	}
	pieces, err := src.Sharding().Pieces(src.Shape())
	if err != nil || pieces.Replicas() > 1 {
		return p.limit, err
	}
	return defaultChunk, nil
}
