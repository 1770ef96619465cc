package handler

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/sharding"
)

// maxInline is the longest value that lies in the database's tree itself, where
// its checksum covers it. It is Orbax's limit.
const maxInline = 1024

// snapshot replaces the arrays in memory by copies.
func (p *savePlan) snapshot(ctx context.Context) error {
	var src [][]byte
	var of []*saveArray
	for i := range p.arrays {
		if a, ok := p.arrays[i].src.(*array.Array); ok {
			src, of = append(src, a.Bytes()), append(of, &p.arrays[i])
		}
	}
	copies, err := transfer.Copy(ctx, src)
	if err != nil {
		return err
	}
	for i, a := range of {
		if a.src, err = array.New(a.src.DType(), a.src.Shape(), copies[i]); err != nil {
			return err
		}
	}
	return nil
}

// write writes everything that is planned.
func (p *savePlan) write(ctx context.Context, dir *WriteDir) error {
	store := p.writeOCDBT
	if p.storage.PlainFiles {
		store = p.writeFiles
	}
	if err := store(ctx, dir); err != nil {
		return err
	}
	return writeDocuments(ctx, dir, &p.meta, p.strings, p.shardings, p.jax)
}

// writeDocuments writes the documents of a pytree. Those without entries are left
// out, but for the tree's own.
func writeDocuments(ctx context.Context, dir *WriteDir, meta *layout.TreeMetadata, strings map[string]string,
	shardings map[string]*sharding.Sharding, arrays []layout.ArrayMetadata) error {
	for _, d := range []struct {
		name    string
		entries int
		encode  func() ([]byte, error)
	}{
		{layout.StringsFile, len(strings), func() ([]byte, error) { return layout.StringsDocument(strings) }},
		{layout.ShardingFile, len(shardings), func() ([]byte, error) { return sharding.MarshalFile(shardings) }},
		{layout.ArrayFile, len(arrays), func() ([]byte, error) { return layout.ArraysDocument(arrays) }},
		{layout.TreeFile, 1, func() ([]byte, error) { return meta.Document(), nil }},
	} {
		if d.entries == 0 {
			continue
		}
		doc, err := d.encode()
		if err == nil {
			err = dir.WriteFile(ctx, d.name, doc)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// chunks returns the items that encode an array, in order, and calls key with
// the key of each.
func (a *saveArray) chunks(ctx context.Context, add func(key string, it transfer.Item)) {
	bound, scratch := a.zarr.EncodedBound(), a.scratch()
	for index := range a.zarr.Chunks() {
		add(joinKey(a.name, a.zarr.Key(index)), transfer.Item{
			Leaf:    a.name,
			Bound:   bound,
			Scratch: scratch,
			Append:  func(dst []byte) ([]byte, error) { return a.appendChunk(ctx, dst, index) },
		})
	}
}

// scratch returns about what encoding a chunk takes beside the result: the chunk,
// unless it is a run of an array in memory, the chunk in another dtype, and what
// is read to get it, which may be larger chunks.
func (a *saveArray) scratch() int {
	n := 0
	if a.src.DType() != a.zarr.DType {
		n += a.zarr.ChunkBytes()
	}
	source := a.zarr.ChunkBytes() / a.zarr.DType.Size() * a.src.DType().Size()
	if _, ok := a.src.(*array.Array); !ok {
		return n + 4*source
	}
	if inner := min(1, len(a.zarr.Shape)); !slices.Equal(a.zarr.ChunkShape[inner:], a.zarr.Shape[inner:]) {
		n += source
	}
	return n
}

// joinKey returns the key of a document or chunk of a parameter, as TensorStore
// makes it: that of a bare leaf, whose name is empty, has no prefix, nor has that
// of the name "/", and a name that ends with a slash gets no second one.
func joinKey(name, key string) string {
	if name == "" || name == "/" {
		return key
	}
	if strings.HasSuffix(name, "/") {
		return name + key
	}
	return name + "/" + key
}

// appendChunk appends the encoded chunk at index.
func (a *saveArray) appendChunk(ctx context.Context, dst []byte, index []int) ([]byte, error) {
	m := a.zarr
	off, size := m.ChunkRegion(index)
	cast := m.DType != a.src.DType()
	if src, ok := a.src.(*array.Array); ok && !cast {
		if lo, n, ok := region.Run(m.Shape, off, size); ok && slices.Equal(size, m.ChunkShape) {
			item := m.DType.Size()
			return m.AppendChunk(dst, src.Bytes()[lo*item:][:n*item])
		}
	}
	elements := m.ChunkBytes() / m.DType.Size()
	err := transfer.WithScratch(elements*a.src.DType().Size(), func(chunk []byte) error {
		if err := a.gather(ctx, chunk, off, size); err != nil {
			return err
		}
		if !cast {
			var err error
			dst, err = m.AppendChunk(dst, chunk)
			return err
		}
		return transfer.WithScratch(m.ChunkBytes(), func(converted []byte) error {
			err := array.Convert(converted, m.DType, chunk, a.src.DType())
			if err == nil {
				dst, err = m.AppendChunk(dst, converted)
			}
			return err
		})
	})
	return dst, err
}

// gather brings a chunk's part of the array into chunk and fills what is left
// of it with zeros.
func (a *saveArray) gather(ctx context.Context, chunk []byte, off, size []int) error {
	m, item := a.zarr, a.src.DType().Size()
	if slices.Equal(size, m.ChunkShape) {
		return a.src.ReadRegion(ctx, chunk, off, size)
	}
	clear(chunk)
	zero := make([]int, len(off))
	if src, ok := a.src.(*array.Array); ok {
		return array.CopyRegion(chunk, m.ChunkShape, zero, src.Bytes(), m.Shape, off, size, item)
	}
	n, err := array.NumElements(size)
	if err != nil {
		return err
	}
	return transfer.WithScratch(n*item, func(part []byte) error {
		if err := a.src.ReadRegion(ctx, part, off, size); err != nil {
			return err
		}
		return array.CopyRegion(chunk, m.ChunkShape, zero, part, size, zero, size, item)
	})
}

// writeFiles writes each document and chunk as a file.
func (p *savePlan) writeFiles(ctx context.Context, dir *WriteDir) error {
	var names []string
	var items []transfer.Item
	for i := range p.arrays {
		a := &p.arrays[i]
		if err := dir.WriteFile(ctx, joinKey(a.name, a.zarr.MetadataName()), a.zarr.Document()); err != nil {
			return err
		}
		a.chunks(ctx, func(key string, it transfer.Item) {
			names = append(names, path.Join(dir.name, key))
			items = append(items, it)
		})
	}
	return transfer.WriteFiles(ctx, dir.stage, names, items)
}

// writeOCDBT writes one database: a file of values, a file of nodes, and the
// manifest last.
func (p *savePlan) writeOCDBT(ctx context.Context, dir *WriteDir) error {
	if len(p.arrays) == 0 {
		return nil // as Orbax does, where a tree has no arrays
	}
	if dir.database != "" {
		dir = &WriteDir{stage: dir.stage, name: path.Join(dir.name, dir.database), digested: dir.digested}
	}
	var entries []ocdbt.Entry
	var keys []string
	var items []transfer.Item
	for i := range p.arrays {
		a := &p.arrays[i]
		entries = append(entries, ocdbt.Entry{
			Key:   joinKey(a.name, a.zarr.MetadataName()),
			Value: ocdbt.Value{Inline: a.zarr.Document()},
		})
		var err error
		a.chunks(ctx, func(key string, it transfer.Item) {
			if it.Bound > maxInline {
				keys, items = append(keys, key), append(items, it)
				return
			}
			v, e := it.Append(nil)
			entries = append(entries, ocdbt.Entry{Key: key, Value: ocdbt.Value{Inline: v}})
			err = cmp.Or(err, e)
		})
		if err != nil {
			return err
		}
	}
	if len(items) > 0 {
		file := layout.DataDir + "/" + randomName()
		extents, err := transfer.WritePacked(ctx, dir.stage, path.Join(dir.name, file), items)
		if err != nil {
			return err
		}
		for i, e := range extents {
			entries = append(entries, ocdbt.Entry{
				Key:   keys[i],
				Value: ocdbt.Value{Ref: ocdbt.Ref{File: file, Offset: e.Offset, Length: e.Length}},
			})
		}
	}
	slices.SortFunc(entries, func(a, b ocdbt.Entry) int { return cmp.Compare(a.Key, b.Key) })
	manifest, err := writeNodes(ctx, dir, entries)
	if err != nil {
		return err
	}
	return transfer.WriteFile(ctx, dir.stage, path.Join(dir.name, ocdbt.ManifestName), manifest)
}

// writeNodes writes the database's tree and returns its manifest. The nodes have
// checksums of their own; the file's digest covers its length.
func writeNodes(ctx context.Context, dir *WriteDir, entries []ocdbt.Entry) ([]byte, error) {
	file := layout.DataDir + "/" + randomName()
	w, err := dir.Create(ctx, file)
	if err != nil {
		return nil, err
	}
	var size int64
	root, err := ocdbt.WriteTree(slices.Values(entries), 0, func(node []byte) (ocdbt.Ref, error) {
		ref := ocdbt.Ref{File: file, Offset: size, Length: int64(len(node))}
		size += ref.Length
		_, err := w.Write(node)
		return ref, err
	})
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	return ocdbt.Manifest(root, randomID(), time.Now()), nil
}

func randomID() (id [16]byte) {
	rand.Read(id[:])
	return id
}

// randomName names a data file as Orbax does.
func randomName() string {
	id := randomID()
	return hex.EncodeToString(id[:])
}
