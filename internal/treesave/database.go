package treesave

import (
	"cmp"
	"context"
	"path"
	"slices"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/internal/reuse"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
)

// writeOCDBT writes one database: files of values, a file of nodes, and the manifest.
func (p *Plan) writeOCDBT(ctx context.Context, dir *ckdir.WriteDir, set *ckdir.Settings) error {
	if len(p.arrays) == 0 {
		return nil // as Orbax does for a tree without arrays
	}
	tree := dir
	if set.Unmerged || !set.Alone() {
		dir = dir.Sub(database.NameOf(set.Process.Rank))
	}
	s, err := p.share(ctx, tree.Name(), dir, set)
	if err != nil {
		return err
	}
	c, err := p.contents(ctx, s, set.Alone() || set.Unmerged)
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
	group, gctx := parallel.WithContext(ctx)
	if set.Alone() || set.Unmerged && len(c.entries) > 0 { // otherwise process 0 writes one index for all
		group.Go(func() error { return database.WriteIndex(gctx, dir, slices.Values(c.entries)) })
	}
	group.Go(func() error { return p.writeSeals(gctx, tree, set, c.entries, c.seals) })
	if s != nil {
		doc := s.wrote(&c.known).Document()
		group.Go(func() error { return dir.WriteFile(gctx, layout.ChunksFile, doc) })
	}
	return group.Wait()
}

// contents is the future contents of a database.
type contents struct {
	entries []ocdbt.Entry // values in the tree itself or in shared files
	// known has the chunks with known contents. other has the chunks that no later save
	// can share: in the files of known they would be dead bytes.
	known, other dataFiles
	seals        [][]places.Seal // of the chunks of all arrays, once they are written
	shared       int64           // bytes of arrays that are not stored again
}

// dataFiles are files of values that will be written. There are no files if there are no
// items.
type dataFiles struct {
	items   []transfer.Item
	extents []transfer.Extent // the place of each item, once written; files are named as in the database
	seals   []places.Seal     // of the items, once written
	values  []value
}

// value is a key with the item that is its value. Several keys may share one item.
type value struct {
	key  string
	item int
	seal *places.Seal // of the key's chunk
}

// write writes the items to one file, or, if size is not 0, to files of that size; see
// handler.StorageOptions.DataFileSize.
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

// firstFile returns the first of items, up to the item with which a file reaches size,
// before compression. items is not empty. If size is 0, it returns all items.
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

// noteSeals sets the seals of all chunks in the files.
func (f *dataFiles) noteSeals() {
	for _, v := range f.values {
		*v.seal = f.seals[v.item]
	}
}

// contents returns the contents of the database. Arrays in the same memory, such as tied
// weights, are stored once. Where s has the fingerprints of chunks, equal chunks are
// stored once too. described says that the database has the documents of arrays.
func (p *Plan) contents(ctx context.Context, s *sharing, described bool) (*contents, error) {
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
		if described && p.describes(a) {
			c.entries = append(c.entries, a.described())
		}
		next := len(other.items)
		firstItem[i] = next
		if s == nil && tied[i] != i && a.zarr.EncodedBound() > layout.MaxInline {
			next = firstItem[tied[i]]
			c.shared += a.bytes()
		}
		var err error
		a.eachChunk(ctx, func(k plannedChunk) {
			to := &c.seals[i][k.n]
			if k.item.Bound <= layout.MaxInline {
				v, e := k.item.Append(nil)
				*to = places.SealOf(v)
				c.entries = append(c.entries, ocdbt.Entry{Key: k.key, Value: ocdbt.Value{Inline: v}})
				err = cmp.Or(err, fault.OfLeaf(a.name, e))
				return
			}
			if id, ok := s.id(i, k.n); ok {
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

// described returns the entry of the array's document.
func (a *planned) described() ocdbt.Entry {
	return ocdbt.Entry{Key: database.JoinKey(a.name, a.zarr.MetadataName()), Value: ocdbt.Value{Inline: a.zarr.Document()}}
}

// addKnown adds a chunk whose content s knows. The chunk's seal goes to to.
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
