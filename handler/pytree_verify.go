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

// VerifyTree reads and decodes every chunk of the pytree in dir, within a bounded
// memory, and returns what is wrong with each leaf. In a checkpoint of this
// package it also looks at the space between the values.
func VerifyTree(ctx context.Context, dir *ReadDir) []error {
	if t, err := openSafetensors(ctx, dir); err != nil {
		return []error{err}
	} else if t != nil {
		return t.Verify(ctx)
	}
	t, err := openTree(ctx, dir, OpenOptions{})
	if err != nil {
		return []error{err}
	}
	errs := t.Verify(ctx)
	if dir.digests.Has(path.Join(dir.name, layout.TreeFile)) { // we wrote it
		errs = append(errs, t.verifyGaps(ctx)...)
	}
	return errs
}

// gapPiece is how much of a gap is read at once: values can be large, and the
// space that a lost one leaves is a gap.
const gapPiece = 8 << 20

// verifyGaps reads what lies between the values of each data file, which this
// package fills with zeros. Orbax leaves other things there.
func (t *storedTree) verifyGaps(ctx context.Context) (errs []error) {
	var mu sync.Mutex
	report := func(err error) error {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
		return nil
	}
	dir := t.opener.dir
	reads, err := t.planGaps(ctx, report)
	if err == nil {
		err = dir.unchanged(ctx, transfer.ReadAll(ctx, dir.store, dir.path(), reads))
	}
	if err != nil {
		report(err)
	}
	return errs
}

func (t *storedTree) planGaps(ctx context.Context, report func(error) error) ([]transfer.Read, error) {
	var extents []transfer.Extent
	for _, a := range t.opener.opened {
		for _, c := range a.chunks {
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
				Failed: report,
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
		ours, err := t.opener.dir.wroteDatabase(ctx, path.Dir(file))
		if err != nil {
			return nil, err
		}
		for ; i < len(extents) && extents[i].File == file; i++ {
			if ours {
				gap(file, end, extents[i].Offset)
			}
			end = max(end, extents[i].Offset+extents[i].Length)
		}
		info, err := t.opener.dir.stat(ctx, file)
		if isNotExist(err) {
			continue // the reads of its values tell
		}
		if err != nil {
			return nil, err
		}
		if !ours {
			continue // Orbax leaves other things there; a plain file has one chunk
		}
		// A file of a database is written in whole pages.
		written := (end + storage.PageSize - 1) / storage.PageSize * storage.PageSize
		if info.Size >= end && info.Size != written {
			report(&fault.Leaf{Path: "(none)", Err: fmt.Errorf("%w: %s has %d bytes, %d were written",
				fault.ErrCorrupt, file, info.Size, written)})
		}
		gap(file, end, min(info.Size, written))
	}
	return reads, nil
}
