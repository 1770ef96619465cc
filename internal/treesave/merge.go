package treesave

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/zarr"
)

// Merge makes one pytree of the parts that the processes have written: it writes the index
// and the record of the seals, both of which refer to the data where it is. from and to are
// the directory of the pytree. It fails if a chunk has not been written, or has been
// written twice.
func (p *Plan) Merge(ctx context.Context, from *ckdir.ReadDir, to *ckdir.WriteDir, s *ckdir.Settings) error {
	if len(p.arrays) == 0 {
		return nil
	}
	m := p.newMerge()
	if p.own != nil {
		if err := m.add(0, p.own); err != nil {
			return err
		}
	}
	if err := m.read(ctx, from, s.Process.Size); err != nil {
		return err
	}
	if err := m.complete(); err != nil {
		return err
	}
	group, gctx := parallel.WithContext(ctx)
	group.Go(func() error { return p.writePlaces(gctx, to, s, m.seals) })
	if !p.storage.PlainFiles && !s.Unmerged { // the databases of a part are merged when the session is finalized
		group.Go(func() error { return database.WriteIndex(gctx, to, m.entries()) })
	}
	return group.Wait()
}

// merge has the chunks of all processes.
type merge struct {
	plan *Plan

	mu     sync.Mutex
	seals  [][]places.Seal // by array and number
	chunks [][]stored
	files  []string // relative to the pytree
	inline [][]byte
}

// stored is the place of a chunk. It is small, because there may be millions of them.
type stored struct {
	file        int32 // position in files, or one of the following
	by          int32 // rank of the process that wrote the chunk, from 1
	off, length int64 // for a chunk in the index, off is its position in inline
}

const (
	storedInIndex = -1 - iota
	storedInFile  // of its own
)

func (p *Plan) newMerge() *merge {
	m := &merge{plan: p, seals: make([][]places.Seal, len(p.arrays)), chunks: make([][]stored, len(p.arrays))}
	for i := range p.arrays {
		n := p.arrays[i].zarr.NumChunks()
		m.seals[i], m.chunks[i] = make([]places.Seal, n), make([]stored, n)
	}
	return m
}

// readers is the number of records that are read at the same time.
const readers = 16

// read reads the records of all processes but this one. A process without chunks has none.
func (m *merge) read(ctx context.Context, from *ckdir.ReadDir, size int) error {
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(transfer.AtOnce(from.At().Store.Properties(), readers))
	for rank := 1; rank < size; rank++ {
		group.Go(func() error {
			doc, err := from.ReadOptional(gctx, recordOf(rank))
			if err == nil && doc != nil {
				err = m.add(rank, doc)
			}
			if err != nil {
				return fmt.Errorf("the record of process %d: %w", rank, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// add adds the chunks of a record.
func (m *merge) add(rank int, record []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := database.NameOf(rank)
	last, file := "", int32(0) // the file of the chunk before, and its position
	return m.plan.parsePart(record, func(w written) error {
		at := &m.chunks[w.array][w.number]
		if at.by != 0 {
			return m.failed(w.array, w.number, fmt.Errorf("%w: processes %d and %d have both written", fault.ErrCorrupt, at.by-1, rank))
		}
		*at = stored{file: storedInFile, by: int32(rank + 1)}
		switch name := w.value.Ref.File; {
		case name != "":
			if name != last {
				last, file = name, int32(len(m.files))
				m.files = append(m.files, path.Join(dir, name))
			}
			at.file, at.off, at.length = file, w.value.Ref.Offset, w.value.Ref.Length
		case w.value.Inline != nil:
			at.file, at.off = storedInIndex, int64(len(m.inline))
			m.inline = append(m.inline, w.value.Inline)
		}
		m.seals[w.array][w.number] = w.seal
		return nil
	})
}

func (m *merge) failed(array, number int, err error) error {
	a := &m.plan.arrays[array]
	return &fault.Leaf{Path: a.name, Err: fmt.Errorf("%w chunk %s", err, a.zarr.Key(a.index(number)))}
}

// complete fails if a chunk is missing.
func (m *merge) complete() error {
	for i, chunks := range m.chunks {
		if n := slices.IndexFunc(chunks, func(s stored) bool { return s.by == 0 }); n >= 0 {
			return m.failed(i, n, fmt.Errorf("%w: no process has written", fault.ErrCorrupt))
		}
	}
	return nil
}

// entries yields the entries of the index in the order of their keys. The keys of an array
// follow each other, unless the name of another array begins with its name and a slash.
func (m *merge) entries() iter.Seq[ocdbt.Entry] {
	prefixes, order := make([]string, len(m.chunks)), make([]int, len(m.chunks))
	for i := range order {
		prefixes[i], order[i] = database.JoinKey(m.plan.arrays[i].name, ""), i
	}
	slices.SortFunc(order, func(i, j int) int { return strings.Compare(prefixes[i], prefixes[j]) })
	return func(yield func(ocdbt.Entry) bool) {
		var keys gridKeys
		for len(order) > 0 {
			n := 1
			for n < len(order) && strings.HasPrefix(prefixes[order[n]], prefixes[order[0]]) {
				n++
			}
			var together []ocdbt.Entry
			for _, i := range order[:n] {
				for e := range m.entriesOf(i, prefixes[i], &keys) {
					if n > 1 {
						together = append(together, e)
					} else if !yield(e) {
						return
					}
				}
			}
			slices.SortFunc(together, func(a, b ocdbt.Entry) int { return cmp.Compare(a.Key, b.Key) })
			for _, e := range together {
				if !yield(e) {
					return
				}
			}
			order = order[n:]
		}
	}
}

// entriesOf yields the entries of one array in the order of their keys.
func (m *merge) entriesOf(i int, prefix string, keys *gridKeys) iter.Seq[ocdbt.Entry] {
	return func(yield func(ocdbt.Entry) bool) {
		a := &m.plan.arrays[i]
		for _, k := range keys.keysOf(a) {
			e := ocdbt.Entry{Key: prefix + k.key}
			if k.number < 0 {
				e.Value.Inline = a.zarr.Document()
			} else {
				e.Value = m.value(m.chunks[i][k.number])
			}
			if !yield(e) {
				return
			}
		}
	}
}

func (m *merge) value(s stored) ocdbt.Value {
	if s.file == storedInIndex {
		return ocdbt.Value{Inline: m.inline[s.off]}
	}
	return ocdbt.Value{Ref: ocdbt.Ref{File: m.files[s.file], Offset: s.off, Length: s.length}}
}

// gridKeys has the keys of the last array, because arrays with the same metadata have the
// same keys.
type gridKeys struct {
	zarr *zarr.Metadata
	keys []gridKey
}

type gridKey struct {
	key    string
	number int // of the chunk, or -1 for the document
}

// keysOf returns the keys of an array, relative to it, in order.
func (g *gridKeys) keysOf(a *planned) []gridKey {
	if g.zarr == a.zarr {
		return g.keys
	}
	g.zarr, g.keys = a.zarr, append(make([]gridKey, 0, 1+a.zarr.NumChunks()), gridKey{a.zarr.MetadataName(), -1})
	number := 0
	for index := range a.zarr.Chunks() {
		g.keys = append(g.keys, gridKey{a.zarr.Key(index), number})
		number++
	}
	slices.SortFunc(g.keys, func(a, b gridKey) int { return strings.Compare(a.key, b.key) })
	return g.keys
}
