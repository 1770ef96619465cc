package pytree

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/lfs"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/internal/zarray"
	"github.com/go-orbax/orbax/zarr"
)

// These bound the number of missing chunks in a tree where chunks may be missing. A
// document of a few bytes can claim any number of chunks, and each is looked for.
const (
	maxMissing        = 1 << 20 // with the option Fill
	maxMissingUnasked = 1 << 16 // in a store of zarr arrays without the option
)

// maxMissing returns the number of chunks that may be missing.
func (o *opener) maxMissing() int {
	if o.unasked {
		return maxMissingUnasked
	}
	return maxMissing
}

// errMissing returns the error for too many missing chunks.
func (o *opener) errMissing() error {
	return zarray.AdviseFill(fmt.Errorf("%w: more than %d chunks are missing", fault.ErrUnsupported, o.maxMissing()), o.unasked)
}

// maxFiles is a number of files with one chunk each that no checkpoint reaches.
const maxFiles = 1 << 22

// stored returns an upper bound for the number of stored chunks.
func (o *opener) stored() int {
	if o.ocdbt {
		return len(o.values.Entries)
	}
	return maxFiles
}

// findArray finds an array's document and chunks. format is the zarr format, 2 or 3.
// After an error findArray returns everything it has found so far.
func (o *opener) findArray(ctx context.Context, name string, format int) (*zarray.Array, error) {
	doc, err := o.readValue(ctx, name, zarr.DocumentName(format))
	if err != nil {
		return &zarray.Array{}, err
	}
	return o.findChunks(ctx, name, format, doc)
}

// findChunks finds the chunks of the array that a document describes. After an error it
// returns everything it has found so far.
func (o *opener) findChunks(ctx context.Context, name string, format int, doc []byte) (*zarray.Array, error) {
	a := zarray.New(o.files, o.options.Fill, o.meta.Sparse)
	if err := o.open(a, format, doc); err != nil {
		return a, err
	}
	if o.records != nil {
		n := a.Meta.NumChunks()
		a.Seals = func(ctx context.Context) (string, error) { return o.records.of(ctx, name, n) }
	}
	// A hostile document can claim any number of chunks. So stop at the first missing
	// chunk, or when too many are missing.
	if a.Fill && region.Chunks(a.Meta.Shape, a.Meta.ChunkShape) > float64(o.maxMissing()+o.stored()) {
		return a, o.errMissing() // without looking for each chunk
	}
	for key := range a.Meta.Keys() {
		c, err := o.chunk(ctx, a.Meta, name, key)
		if err == nil && c.Missing {
			err = o.countMissing()
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return a, err
		}
		a.Grid = append(a.Grid, c)
	}
	return a, nil
}

// open sets the metadata of an array, and adds the array to the opener's list.
func (o *opener) open(a *zarray.Array, format int, doc []byte) (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a.Meta, err = o.metas.Parse(format, doc, o.options.Fill)
	o.opened = append(o.opened, a)
	return err
}

// countMissing counts a missing chunk. It fails if too many are missing.
func (o *opener) countMissing() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.missing++; o.missing > o.maxMissing() {
		return o.errMissing()
	}
	return nil
}

// readValue reads a document of a parameter.
func (o *opener) readValue(ctx context.Context, name, key string) ([]byte, error) {
	at, ok, err := o.value(ctx, name, key)
	var doc []byte
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, database.JoinKey(name, key))
	case at.Inline != nil:
		return at.Inline, nil
	case o.ocdbt && o.ahead[database.JoinKey(name, key)] != nil:
		doc = o.ahead[database.JoinKey(name, key)]
	case o.ocdbt:
		r, rerr := transfer.ReserveDocument(database.JoinKey(name, key), at.Extent.Length)
		if rerr != nil {
			return nil, rerr
		}
		defer func() { r.ReleaseWith(doc) }()
		doc, err = database.Source{Dir: o.dir, Name: "."}.Read(ctx, at.Extent.File, at.Extent.Offset, at.Extent.Length)
	default:
		doc, err = o.dir.ReadFile(ctx, at.Extent.File)
	}
	if err == nil && lfs.IsPointer(doc) {
		return nil, lfs.Error(at.Extent.File)
	}
	if ckdir.NotExist(err) { // the error must not say that the checkpoint does not exist
		err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, at.Extent.File)
	}
	return doc, err
}

// chunk finds a chunk of a parameter and checks that its stored size is possible.
func (o *opener) chunk(ctx context.Context, meta *zarray.Meta, name, key string) (zarray.Chunk, error) {
	c, ok, err := o.value(ctx, name, key)
	switch {
	case err != nil:
	case ok:
		err = meta.CheckStored(c.Len())
	case o.options.Fill:
		c.Missing = true
	default:
		err = zarray.AdviseFill(fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, database.JoinKey(name, key)), o.meta.Sparse)
	}
	if err != nil && c.Extent.File != "" {
		err = cmp.Or(transfer.CheckLFS(ctx, o.dir.At(), c.Extent.File), err)
	}
	return c, err
}

// value finds a document or chunk of a parameter. ok is false if there is none.
func (o *opener) value(ctx context.Context, name, key string) (c zarray.Chunk, ok bool, err error) {
	if o.ocdbt {
		o.key = database.AppendKey(o.key[:0], name, key)
		v, ok := o.values.Find(o.key)
		switch {
		case !ok:
			return zarray.Chunk{}, false, nil
		case v.Ref.File != "":
			if err := o.broken.Check(v.Ref); err != nil {
				return zarray.Chunk{}, false, err
			}
			return zarray.Chunk{Extent: transfer.Extent(v.Ref)}, true, nil
		case v.Inline == nil:
			return zarray.Chunk{Inline: []byte{}}, true, nil
		}
		return zarray.Chunk{Inline: v.Inline}, true, nil
	}
	file := database.JoinKey(name, key)
	if !fs.ValidPath(file) {
		return zarray.Chunk{}, false, fmt.Errorf("%w: file name %q leads out of the checkpoint", fault.ErrCorrupt, file)
	}
	info, err := o.dir.Stat(ctx, file)
	if ckdir.NotExist(err) {
		return zarray.Chunk{}, false, nil
	}
	return zarray.Chunk{Extent: transfer.Extent{File: file, Length: info.Size}}, err == nil, err
}
