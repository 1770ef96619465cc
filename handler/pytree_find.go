package handler

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/lfs"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/zarr"
)

// How many chunks of a tree may be missing, where that is allowed: a document of a
// few bytes can claim any number of them, and each is looked for.
const (
	maxMissing        = 1 << 20 // where it was asked for
	maxMissingUnasked = 1 << 16 // in a store of zarr arrays otherwise
)

// adviseFill advises to take chunks that are not stored for fill value, if the array's writer
// may have left them out. Where it wrote every chunk they are lost, and the advice would lead
// to wrong numbers.
func adviseFill(err error, sparse bool) error {
	if !sparse {
		return err
	}
	return fault.Advise(err, fault.FillMissing, "FillMissing takes missing chunks for fill values")
}

// maxMissing returns how many chunks may be missing.
func (o *treeOpener) maxMissing() int {
	if o.unasked {
		return maxMissingUnasked
	}
	return maxMissing
}

// errMissing says that too many are.
func (o *treeOpener) errMissing() error {
	return adviseFill(fmt.Errorf("%w: more than %d chunks are missing", fault.ErrUnsupported, o.maxMissing()), o.unasked)
}

// maxFiles is more chunks than anybody keeps in files of their own.
const maxFiles = 1 << 22

// stored returns how many chunks there can be.
func (o *treeOpener) stored() int {
	if o.ocdbt {
		return len(o.values.entries)
	}
	return maxFiles
}

// findArray finds an array's document and chunks. Its format is that of zarr: 2
// or 3. After an error it returns what it has found.
func (o *treeOpener) findArray(ctx context.Context, name string, format int) (*zarrArray, error) {
	doc, err := o.readValue(ctx, name, zarr.DocumentName(format))
	if err != nil {
		return &zarrArray{}, err
	}
	return o.findChunks(ctx, name, format, doc)
}

// findChunks finds the chunks of the array that a document describes. After an error
// it returns what it has found.
func (o *treeOpener) findChunks(ctx context.Context, name string, format int, doc []byte) (*zarrArray, error) {
	a := &zarrArray{dir: o.files, fill: o.options.Fill, sparse: o.meta.Sparse}
	a.chunks = a.first[:0]
	if err := o.open(a, format, doc); err != nil {
		return a, err
	}
	var err error
	if a.seals, err = o.places.of(name, a.form.NumChunks()); err != nil {
		return a, err
	}
	// A hostile document can claim any number of chunks: stop at the first
	// that is missing, or when too many are.
	if a.fill && chunksOf(a.form.Shape, a.form.ChunkShape) > float64(o.maxMissing()+o.stored()) {
		return a, o.errMissing() // without asking for each of them
	}
	for key := range a.form.keys() {
		c, err := o.chunk(ctx, a.form, name, key)
		if err == nil && c.missing {
			err = o.countMissing()
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return a, err
		}
		a.chunks = append(a.chunks, c)
	}
	return a, nil
}

// open sets the form of an array, of which the opener keeps account.
func (o *treeOpener) open(a *zarrArray, format int, doc []byte) (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a.form, err = o.forms.parse(format, doc, o.options.Fill)
	o.opened = append(o.opened, a)
	return err
}

// countMissing counts a chunk that is missing, and refuses one too many.
func (o *treeOpener) countMissing() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.missing++; o.missing > o.maxMissing() {
		return o.errMissing()
	}
	return nil
}

// readValue reads a document of a parameter.
func (o *treeOpener) readValue(ctx context.Context, name, key string) ([]byte, error) {
	at, ok, err := o.value(ctx, name, key)
	var doc []byte
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, joinKey(name, key))
	case at.inline != nil:
		return at.inline, nil
	case o.ocdbt:
		r, rerr := transfer.ReserveDocument(joinKey(name, key), at.extent.Length)
		if rerr != nil {
			return nil, rerr
		}
		defer func() { r.ReleaseWith(doc) }()
		doc, err = databaseSource{o.dir, "."}.Read(ctx, at.extent.File, at.extent.Offset, at.extent.Length)
	default:
		doc, err = o.dir.ReadFile(ctx, at.extent.File)
	}
	if err == nil && lfs.IsPointer(doc) {
		return nil, lfs.Error(at.extent.File)
	}
	if isNotExist(err) { // not as an error that says that the checkpoint does not exist
		err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, at.extent.File)
	}
	return doc, err
}

// chunk finds a chunk of a parameter and checks that it can be one.
func (o *treeOpener) chunk(ctx context.Context, form *arrayForm, name, key string) (chunk, error) {
	c, ok, err := o.value(ctx, name, key)
	switch {
	case err != nil:
	case ok:
		err = form.CheckStored(c.len())
	case o.options.Fill:
		c.missing = true
	default:
		err = adviseFill(fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, joinKey(name, key)), o.meta.Sparse)
	}
	if err != nil && c.extent.File != "" {
		err = cmp.Or(transfer.CheckLFS(ctx, o.dir.store, o.dir.path(), c.extent.File), err)
	}
	return c, err
}

// value finds a document or chunk of a parameter and reports whether it is there.
func (o *treeOpener) value(ctx context.Context, name, key string) (c chunk, ok bool, err error) {
	if o.ocdbt {
		o.key = appendKey(o.key[:0], name, key)
		v, ok := o.values.find(o.key)
		switch {
		case !ok:
			return chunk{}, false, nil
		case v.Ref.File != "":
			if err := o.broken.check(v.Ref); err != nil {
				return chunk{}, false, err
			}
			return chunk{extent: transfer.Extent(v.Ref)}, true, nil
		case v.Inline == nil:
			return chunk{inline: []byte{}}, true, nil
		}
		return chunk{inline: v.Inline}, true, nil
	}
	file := joinKey(name, key)
	if !fs.ValidPath(file) {
		return chunk{}, false, fmt.Errorf("%w: file name %q leads out of the checkpoint", fault.ErrCorrupt, file)
	}
	info, err := o.dir.stat(ctx, file)
	if isNotExist(err) {
		return chunk{}, false, nil
	}
	return chunk{extent: transfer.Extent{File: file, Length: info.Size}}, err == nil, err
}
