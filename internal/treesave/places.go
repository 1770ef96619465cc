package treesave

import (
	"context"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
)

// sealed returns an item that encodes the same chunk and stores its seal in to.
func sealed(it transfer.Item, to *places.Seal) transfer.Item {
	encode, tail := it.Append, it.Tail
	it.Append = func(dst []byte) ([]byte, error) {
		out, err := encode(dst)
		*to = places.SealOf(out[min(len(dst), len(out)):])
		return out, err
	}
	if tail != nil {
		it.Tail = func(dst []byte) []byte {
			out := tail(dst)
			*to = places.SealOf(out)
			return out
		}
	}
	return it
}

// newSeals returns slices for the seals of the chunks that this process writes.
func (p *Plan) newSeals() [][]places.Seal {
	seals := make([][]places.Seal, len(p.arrays))
	for i := range p.arrays {
		seals[i] = make([]places.Seal, p.arrays[i].count())
	}
	return seals
}

// writeSeals writes the record of the arrays' seals. One of several processes writes the
// record of its part, with the entries of its database, or keeps it if it merges the
// parts.
func (p *Plan) writeSeals(ctx context.Context, dir *ckdir.WriteDir, s *ckdir.Settings, entries []ocdbt.Entry, seals [][]places.Seal) error {
	if s.Alone() {
		return p.writePlaces(ctx, dir, s, seals)
	}
	record := p.partOf(entries, seals)
	if s.Process.Rank == 0 {
		p.own = record
		return nil
	}
	if record == nil {
		return nil
	}
	return dir.WriteFile(ctx, recordOf(s.Process.Rank), record)
}

// writePlaces writes the record of the arrays' seals.
func (p *Plan) writePlaces(ctx context.Context, dir *ckdir.WriteDir, set *ckdir.Settings, seals [][]places.Seal) error {
	if set.Uncovered {
		return nil // a record that no digest covers proves nothing
	}
	name := layout.PlacesFile
	if set.Unmerged { // it will be merged with other parts, which have their own records
		name = layout.PlacesPrefix + database.RandomName()
	}
	names := make([]string, len(p.arrays))
	for i := range p.arrays {
		names[i] = p.arrays[i].name
	}
	return dir.WriteFile(ctx, name, places.Document(names, seals))
}
