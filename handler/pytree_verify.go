package handler

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// Verify reads and decodes every chunk of every array, within a bounded memory,
// and returns what is wrong with each leaf. In a checkpoint of this package it
// also looks at the space between the values.
func (t *Tree) Verify(ctx context.Context) []error {
	v := &verifier{tree: t}
	var reads []transfer.Read
	for i := range t.leaves {
		reads = t.leaves[i].planVerify(reads, v)
	}
	if t.dir.digests.Has(path.Join(t.dir.name, layout.TreeFile)) { // we wrote it
		gaps, err := t.planGaps(ctx, v)
		if err != nil {
			return append(v.errs, err)
		}
		reads = append(reads, gaps...)
	}
	if err := t.readAll(ctx, reads); err != nil {
		v.report(err)
	}
	return v.errs
}

// verifier collects the damage that is found.
type verifier struct {
	tree *Tree
	mu   sync.Mutex
	errs []error
}

func (v *verifier) report(err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.errs = append(v.errs, err)
	return nil
}

func (l *storedLeaf) planVerify(reads []transfer.Read, v *verifier) []transfer.Read {
	name := l.Path.String()
	for index, c := range l.each() {
		check := func(enc []byte) error {
			return inChunk(l.zarr, index, withScratch(l.zarr.ChunkBytes(), func(buf []byte) error {
				return l.zarr.DecodeChunk(index, buf, enc)
			}))
		}
		if c.inline != nil {
			if err := check(c.inline); err != nil {
				v.report(&fault.Leaf{Path: name, Err: err})
			}
			continue
		}
		reads = append(reads, transfer.Read{Leaf: name, Extent: c.extent, Done: check, Failed: v.report})
	}
	return reads
}

// gapPiece is how much of a gap is read at once: values can be large, and the
// space that a lost one leaves is a gap.
const gapPiece = 8 << 20

// planGaps plans to read what lies between the values of each data file, which
// this package fills with zeros. Orbax leaves other things there.
func (t *Tree) planGaps(ctx context.Context, v *verifier) ([]transfer.Read, error) {
	var extents []transfer.Extent
	for i := range t.leaves {
		for _, c := range t.leaves[i].chunks {
			if c.inline == nil {
				extents = append(extents, c.extent)
			}
		}
	}
	slices.SortFunc(extents, func(a, b transfer.Extent) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset))
	})
	var reads []transfer.Read
	gap := func(file string, from, end int64) {
		for ; from < end; from += gapPiece {
			from, to := from, min(end, from+gapPiece)
			reads = append(reads, transfer.Read{
				Leaf:   "(none)",
				Extent: transfer.Extent{File: file, Offset: from, Length: to - from},
				Failed: v.report,
				Done: func(b []byte) error {
					if i := slices.IndexFunc(b, func(c byte) bool { return c != 0 }); i >= 0 {
						return fmt.Errorf("%w: byte %d of %s is not zero, and belongs to no value", fault.ErrCorrupt, from+int64(i), file)
					}
					return nil
				},
			})
		}
	}
	for i := 0; i < len(extents); {
		file, end := extents[i].File, int64(0)
		for ; i < len(extents) && extents[i].File == file; i++ {
			gap(file, end, extents[i].Offset)
			end = max(end, extents[i].Offset+extents[i].Length)
		}
		info, err := t.dir.stat(ctx, file)
		if isNotExist(err) {
			continue // the reads of its values tell
		}
		if err != nil {
			return nil, err
		}
		if !t.ocdbt {
			continue // a file has one chunk, whose length is checked
		}
		// A file of a database is written in whole pages.
		written := (end + storage.PageSize - 1) / storage.PageSize * storage.PageSize
		if info.Size >= end && info.Size != written {
			v.report(&fault.Leaf{Path: "(none)", Err: fmt.Errorf("%w: %s has %d bytes, %d were written",
				fault.ErrCorrupt, file, info.Size, written)})
		}
		gap(file, end, min(info.Size, written))
	}
	return reads, nil
}
