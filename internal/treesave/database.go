package treesave

import (
	"cmp"
	"context"
	"path"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/internal/reuse"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
)

// writeOCDBT writes one database: files of values, a file of nodes, and the
// manifest.
func (p *Plan) writeOCDBT(ctx context.Context, dir *ckdir.WriteDir, set *ckdir.Settings) error {
	if len(p.arrays) == 0 {
		return nil // as Orbax does, where a tree has no arrays
	}
	tree := dir
	if set.Unmerged {
		dir = dir.Sub(database.Own)
	}
	s, err := p.share(ctx, dir, set)
	if err != nil {
		return err
	}
	c, err := p.contents(ctx, s)
	if err != nil {
		return err
	}
	dir.Engine().Counters().Shared.Add(c.shared)
	for _, f := range []*dataFiles{&c.known, &c.other} {
		if err := f.write(ctx, dir, p.storage.DataFileSize); err != nil {
			return err
		}
		c.entries = f.appendEntries(c.entries)
		f.noteSeals()
	}
	slices.SortFunc(c.entries, func(a, b ocdbt.Entry) int { return cmp.Compare(a.Key, b.Key) })
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return database.WriteIndex(gctx, dir, c.entries) })
	group.Go(func() error { return p.writePlaces(gctx, tree, set.Unmerged, c.seals) })
	if s != nil {
		doc := s.wrote(&c.known).Document()
		group.Go(func() error { return dir.WriteFile(gctx, layout.ChunksFile, doc) })
	}
	return group.Wait()
}

// contents is what a database is to hold.
type contents struct {
	entries []ocdbt.Entry // those whose values lie in the tree itself, or in shared files
	// known has the chunks whose contents are known, other those that no later save
	// can share: in the files of the former they would be dead bytes.
	known, other dataFiles
	seals        [][]places.Seal // of the chunks of all arrays, once they are written
	shared       int64           // bytes of arrays that are not stored again
}

// dataFiles are files of values that are to be written; none if there are no items.
type dataFiles struct {
	items   []transfer.Item
	extents []transfer.Extent // where they lie, once written; the files are those of the database
	seals   []places.Seal     // of the items, likewise
	values  []value
}

// value is a key whose value is an item, which several may share.
type value struct {
	key  string
	item int
	seal *places.Seal // of the key's chunk
}

// write writes the items, to one file, or to several if size is not 0; see
// [StorageOptions].DataFileSize.
func (f *dataFiles) write(ctx context.Context, dir *ckdir.WriteDir, size int64) error {
	f.seals = make([]places.Seal, len(f.items))
	for i, it := range f.items {
		f.items[i] = sealed(it, &f.seals[i])
	}
	f.extents = make([]transfer.Extent, 0, len(f.items))
	for len(f.extents) < len(f.items) {
		items := firstFile(f.items[len(f.extents):], size)
		name := layout.DataDir + "/" + database.RandomName()
		extents, err := dir.Engine().WritePacked(ctx, dir.Stage(), path.Join(dir.Name(), name), items)
		if err != nil {
			return err
		}
		for _, e := range extents {
			e.File = name
			f.extents = append(f.extents, e)
		}
	}
	return nil
}

// firstFile returns the first of items, which is not empty, up to the one that makes a
// file as large as size, before compression. 0 is no limit.
func firstFile(items []transfer.Item, size int64) []transfer.Item {
	if size == 0 {
		return items
	}
	var total int64
	for i := range items {
		if total += int64(items[i].Bound); total >= size {
			return items[:i+1]
		}
	}
	return items
}

// appendEntries appends the entries of files that have been written.
func (f *dataFiles) appendEntries(entries []ocdbt.Entry) []ocdbt.Entry {
	for _, v := range f.values {
		e := f.extents[v.item]
		ref := ocdbt.Ref{File: e.File, Offset: e.Offset, Length: e.Length}
		entries = append(entries, ocdbt.Entry{Key: v.key, Value: ocdbt.Value{Ref: ref}})
	}
	return entries
}

// noteSeals notes the seals of all chunks in the files.
func (f *dataFiles) noteSeals() {
	for _, v := range f.values {
		*v.seal = f.seals[v.item]
	}
}

// contents returns what the database holds. Arrays that are the same memory, such
// as tied weights, are stored once. Where s knows what chunks contain, so are all that
// are equal.
func (p *Plan) contents(ctx context.Context, s *sharing) (*contents, error) {
	c := &contents{entries: make([]ocdbt.Entry, 0, 2*len(p.arrays)), seals: p.newSeals()}
	other := &c.other
	firstItem := make([]int, len(p.arrays))
	var tied []int
	if s == nil {
		tied = p.tied()
		other.items = make([]transfer.Item, 0, len(p.arrays))
	}
	for i := range p.arrays {
		a := &p.arrays[i]
		c.entries = append(c.entries, ocdbt.Entry{
			Key:   database.JoinKey(a.name, a.zarr.MetadataName()),
			Value: ocdbt.Value{Inline: a.zarr.Document()},
		})
		next := len(other.items)
		firstItem[i] = next
		if s == nil && tied[i] != i && a.zarr.EncodedBound() > layout.MaxInline {
			next = firstItem[tied[i]]
			c.shared += a.bytes()
		}
		var err error
		a.chunks(ctx, func(k plannedChunk) {
			to := &c.seals[i][k.number]
			if k.item.Bound <= layout.MaxInline {
				v, e := k.item.Append(nil)
				*to = places.SealOf(v)
				c.entries = append(c.entries, ocdbt.Entry{Key: k.key, Value: ocdbt.Value{Inline: v}})
				err = cmp.Or(err, fault.OfLeaf(a.name, e))
				return
			}
			if id, ok := s.id(i, k.number); ok {
				c.addKnown(ctx, s, id, a, k, to)
				return
			}
			if next == len(other.items) {
				other.items = append(other.items, k.item)
			}
			other.values = append(other.values, value{k.key, next, to})
			next++
		})
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// addKnown adds a chunk of which s knows the content; its seal goes to to.
func (c *contents) addKnown(ctx context.Context, s *sharing, id reuse.ID, a *planned, k plannedChunk, to *places.Seal) {
	if at, ok := s.place[id]; ok {
		c.entries = append(c.entries, ocdbt.Entry{Key: k.key, Value: ocdbt.Value{Ref: at.ref}})
		*to = at.seal
		c.shared += a.regionBytes(k.index)
		return
	}
	item, ok := s.items[id]
	if ok {
		c.shared += a.regionBytes(k.index)
	} else {
		item = len(c.known.items)
		s.items[id] = item
		c.known.items = append(c.known.items, s.checked(ctx, id, a, k))
	}
	c.known.values = append(c.known.values, value{k.key, item, to})
}
