package view

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/compare"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/handover"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// shared is a load whose reading several processes divide.
type shared struct {
	process  sharding.Process
	leaves   []*Leaf
	slots    []tree.Slot // nil if all leaves are loaded whole
	layouts  map[*sharding.Sharding]*layoutOfAll
	requests []request // one for each piece
	pieces   []handover.Piece
}

// layoutOfAll says how the devices of all processes hold arrays with a sharding.
type layoutOfAll struct {
	text string
	held []sharding.Held
}

// readTogether reads the leaves that are arrays and wanted, together with the other
// processes of the session.
func readTogether(ctx context.Context, s *handover.Session, leaves []*Leaf, slots []tree.Slot, arrays []*array.Array, values []any) error {
	t := &shared{process: s.Process(), leaves: leaves, slots: slots, layouts: map[*sharding.Sharding]*layoutOfAll{}}
	toRead := func(i int) bool { return leaves[i].isArray() && arrays[i] == nil && !t.skips(i) }
	requests, err := makeArrays(leaves, slots, arrays, values, toRead)
	if err == nil {
		err = t.divide(requests)
	}
	return s.Share(ctx, handover.Task{Lines: t.lines, Pieces: t.pieces, Err: err, Read: func(ctx context.Context, parts []handover.Part) error {
		requests := make([]request, len(parts))
		for i, p := range parts {
			requests[i] = t.requests[p.Piece].rows(p.From, p.To)
		}
		return read(handover.With(ctx, nil), requests, nil)
	}})
}

func (t *shared) skips(i int) bool { return t.slots != nil && t.slots[i].Skip }

// lines yields what this process loads.
func (t *shared) lines(yield func(compare.Line) bool) {
	for i, l := range t.leaves {
		text := "nothing"
		if !t.skips(i) {
			text = fmt.Sprintf("%v, stored as %v in chunks of %v", t.wanted(i), l.meta.Spec(), l.meta.ChunkShape)
		}
		if !yield(compare.Line{Path: l.meta.Path.String(), Text: text}) {
			return
		}
	}
}

// wanted describes what this process wants of leaf number i.
func (t *shared) wanted(i int) string {
	w := t.leaves[i].wanted(t.slots, i)
	text := fmt.Sprintf("%v%v", w.DType, w.Shape)
	if t.slots != nil && t.slots[i].Boxes != nil {
		all, err := t.layout(w.Sharding)
		if err != nil {
			return err.Error()
		}
		text += " in shards of " + all.text
	}
	return text
}

// layout returns how the processes hold arrays with a sharding.
func (t *shared) layout(on *sharding.Sharding) (*layoutOfAll, error) {
	if all := t.layouts[on]; all != nil {
		return all, nil
	}
	owners, err := t.process.Owners(on)
	if err != nil {
		return nil, err
	}
	all := &layoutOfAll{text: fmt.Sprintf("%v of owners %08x", on, crc32.ChecksumIEEE(fmt.Append(nil, owners)))}
	t.layouts[on] = all
	return all, nil
}

// divide makes a piece of the memory of each request. The requests are in the order of
// their leaves.
func (t *shared) divide(requests []request) error {
	for i, l := range t.leaves {
		n := 0
		for n < len(requests) && requests[n].leaf == l {
			n++
		}
		mine := requests[:n]
		requests = requests[n:]
		if t.slots != nil && t.slots[i].Boxes != nil {
			if err := t.addShards(l, t.leaves[i].wanted(t.slots, i), mine); err != nil {
				return l.wrap(err)
			}
			continue
		}
		for _, r := range mine {
			t.add(nil, r)
		}
	}
	return nil
}

// addShards adds the pieces of a leaf that this process wants shards of, in the order that
// they have in all processes.
func (t *shared) addShards(l *Leaf, w array.ShapeDtypeStruct, requests []request) error {
	all, err := t.layout(w.Sharding)
	if err != nil {
		return err
	}
	pieces, err := w.Sharding.Pieces(w.Shape)
	if err != nil {
		return err
	}
	if all.held == nil {
		if all.held, err = t.process.Held(w.Sharding, pieces); err != nil {
			return err
		}
	}
	used := make([]bool, len(requests))
	for _, h := range all.held {
		box := pieces.Box(h.Place)
		if box.Empty() {
			continue
		}
		i := slices.IndexFunc(requests, func(r request) bool { return slices.Equal(r.off, box.Offset) && slices.Equal(r.dstShape, box.Size) })
		if i < 0 {
			return fmt.Errorf("%w: process %d has no shard of %v at %v, which belongs to its device %d; with HandOver it needs all of its shards", fault.ErrShape, t.process.Rank, box.Size, box.Offset, pieces.Device(h.Place))
		}
		t.add(h.Holders, requests[i])
		used[i] = true
	}
	for i, r := range requests {
		if len(r.dst) > 0 && !used[i] {
			return fmt.Errorf("%w: process %d has a shard of %v at %v, which belongs to no device of this process", fault.ErrShape, t.process.Rank, r.dstShape, r.off)
		}
	}
	return nil
}

// add adds the piece of a request whose elements several processes want. It may be divided
// where the chunks of the stored array are.
func (t *shared) add(holders []int, r request) {
	if len(r.dst) == 0 {
		return
	}
	p := handover.Piece{Holders: holders, Data: r.dst, Rows: 1}
	if axis := r.axis(); axis >= 0 {
		p.Rows, p.First, p.Step = r.dstShape[axis], r.off[axis], r.leaf.step(axis)
	}
	t.pieces, t.requests = append(t.pieces, p), append(t.requests, r)
}

// axis returns the first axis along which the memory of a request has several rows, or -1.
func (r *request) axis() int {
	return slices.IndexFunc(r.dstShape, func(d int) bool { return d > 1 })
}

// readWhole is the size of arrays without chunks of which formats read no parts.
const readWhole = 8 << 20

// step returns how many rows along an axis one process should read, because they are
// stored in one chunk. It is 0 if these are all.
func (l *Leaf) step(axis int) int {
	if len(l.meta.ChunkShape) == len(l.meta.Shape) {
		return l.meta.ChunkShape[axis]
	}
	if l.meta.Bytes < readWhole {
		return 0
	}
	for _, p := range l.pieces {
		if _, whole := p.array.(*computed); whole {
			return 0
		}
	}
	return 1
}

// rows returns the request of some rows along its axis.
func (r *request) rows(from, to int) request {
	axis := r.axis()
	if axis < 0 {
		return *r
	}
	part := *r
	part.off, part.size, part.dstShape, part.dstOff = slices.Clone(r.off), slices.Clone(r.size), slices.Clone(r.dstShape), slices.Clone(r.dstOff)
	each := len(r.dst) / r.dstShape[axis]
	part.dst = r.dst[from*each : to*each]
	part.off[axis] += from
	part.dstShape[axis] = to - from
	part.size[axis] = max(0, min(to, r.size[axis])-from)
	return part
}
