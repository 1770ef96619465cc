package handler

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/zarr"
)

// maxMissing is how many chunks of a tree may be missing, where that is allowed: a
// document of a few bytes can claim any number of them.
const maxMissing = 1 << 20

// findArray finds an array's document and chunks. Its format is that of zarr: 2
// or 3.
func (o *treeOpener) findArray(ctx context.Context, name string, format int) (*zarrArray, error) {
	m, err := o.document(ctx, name, format)
	if err != nil {
		return nil, err
	}
	if o.options.Fill {
		m = m.Filling()
	}
	a := &zarrArray{zarr: m, dir: o.files, fill: o.options.Fill}
	// A hostile document can claim any number of chunks: stop at the first
	// that is missing, or when too many are.
	for index := range m.Chunks() {
		c, err := o.chunk(ctx, m, joinKey(name, m.Key(index)))
		if err == nil && c.missing {
			if o.missing++; o.missing > maxMissing {
				err = fmt.Errorf("%w: more than %d chunks are missing", fault.ErrUnsupported, maxMissing)
			}
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		a.chunks = append(a.chunks, c)
	}
	o.opened = append(o.opened, a)
	return a, nil
}

// document finds and parses what describes an array.
func (o *treeOpener) document(ctx context.Context, name string, format int) (*zarr.Metadata, error) {
	docName := zarr.DocumentName(format)
	text, err := o.readValue(ctx, joinKey(name, docName))
	if err != nil {
		return nil, err
	}
	if m := o.parsed[string(text)]; m != nil {
		return m, nil
	}
	m, err := zarr.Parse(format, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", docName, err)
	}
	o.parsed[string(text)] = m
	return m, nil
}

// readValue reads a document.
func (o *treeOpener) readValue(ctx context.Context, key string) ([]byte, error) {
	at, ok, err := o.value(ctx, key)
	var doc []byte
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, key)
	case at.inline != nil:
		return at.inline, nil
	case o.ocdbt:
		doc, err = databaseSource{o.dir, "."}.Read(ctx, at.extent.File, at.extent.Offset, at.extent.Length)
	default:
		doc, err = o.dir.ReadFile(ctx, at.extent.File)
	}
	if isNotExist(err) { // not as an error that says that the checkpoint does not exist
		err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, at.extent.File)
	}
	return doc, err
}

// chunk finds a chunk and checks that it can be one.
func (o *treeOpener) chunk(ctx context.Context, m *zarr.Metadata, key string) (chunk, error) {
	c, ok, err := o.value(ctx, key)
	switch {
	case err != nil:
	case ok:
		err = m.CheckStored(c.len())
	case o.options.Fill:
		c.missing = true
	default:
		err = fmt.Errorf("%w: %s is missing; FillMissing takes missing chunks for fill values", fault.ErrCorrupt, key)
	}
	if err != nil && c.extent.File != "" {
		err = cmp.Or(transfer.CheckLFS(ctx, o.dir.store, o.dir.path(), c.extent.File), err)
	}
	return c, err
}

// value finds a document or chunk by its key and reports whether it is there.
func (o *treeOpener) value(ctx context.Context, key string) (c chunk, ok bool, err error) {
	if o.ocdbt {
		v, ok := o.values[key]
		switch {
		case !ok:
			return chunk{}, false, nil
		case v.Ref.File != "":
			return chunk{extent: transfer.Extent(v.Ref)}, true, nil
		case v.Inline == nil:
			return chunk{inline: []byte{}}, true, nil
		}
		return chunk{inline: v.Inline}, true, nil
	}
	if !fs.ValidPath(key) {
		return chunk{}, false, fmt.Errorf("%w: file name %q leads out of the checkpoint", fault.ErrCorrupt, key)
	}
	info, err := o.dir.stat(ctx, key)
	if isNotExist(err) {
		return chunk{}, false, nil
	}
	return chunk{extent: transfer.Extent{File: key, Length: info.Size}}, err == nil, err
}
