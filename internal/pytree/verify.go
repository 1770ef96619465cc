package pytree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/tensors"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// Verify reads and decodes every chunk of the pytree in dir, within bounded memory. It
// returns the errors of each leaf. In a checkpoint of this package it also checks the
// space between the values.
func Verify(ctx context.Context, dir *ckdir.ReadDir, options Options) []error {
	if t, err := tensors.Open(ctx, dir); err != nil {
		return []error{err}
	} else if t != nil {
		return t.Verify(ctx)
	}
	t, err := openTree(ctx, dir, options)
	if err != nil {
		return []error{err}
	}
	errs := t.Verify(ctx)
	if lost := t.opener.records.failed(); lost != nil { // report it once, and not for each array
		errs = slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, lost) })
		errs = append(errs, lost)
	}
	for _, err := range []error{t.opener.shardingErr, t.opener.arraysErr} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	// If a leaf is broken, the bytes that belong to it are not known.
	whole := t.Metadata().Err() == nil
	if err := t.opener.stringsErr; whole && err != nil { // no leaf reports it
		errs = append(errs, err)
	}
	if whole && dir.Covered(layout.TreeFile) { // we wrote it
		errs = append(errs, t.verifyGaps(ctx)...)
	}
	return errs
}

// gapPiece is the number of bytes of a gap that are read at once. Gaps can be large:
// values can be, and the space of a lost value is a gap.
const gapPiece = 8 << 20

// verifyGaps reads the space between the values of each data file, which this package
// fills with zeros.
func (t *stored) verifyGaps(ctx context.Context) (errs []error) {
	var mu sync.Mutex
	report := func(err error) error {
		// A read names the leaf that it reads. A gap belongs to no leaf.
		if l, ok := err.(*fault.Leaf); ok {
			err = l.Err
		}
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
		return nil
	}
	reads, err := t.planGaps(ctx, report)
	if err == nil {
		err = (*transfer.Dir)(t.opener.files).ReadAll(ctx, reads)
	}
	if err != nil {
		report(err)
	}
	return errs
}

func (t *stored) planGaps(ctx context.Context, report func(error) error) ([]transfer.Read, error) {
	var extents []transfer.Extent
	for _, a := range t.opener.opened {
		for _, c := range a.Grid {
			if c.Inline == nil {
				extents = append(extents, c.Extent)
			}
		}
	}
	slices.SortFunc(extents, func(a, b transfer.Extent) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset))
	})
	shared, err := sharedFiles(ctx, t.opener.dir)
	if err != nil {
		return nil, err
	}
	var reads []transfer.Read
	for len(extents) > 0 {
		n := 1
		for n < len(extents) && extents[n].File == extents[0].File {
			n++
		}
		if shared(extents[0].File) { // earlier saves have values between those of this save
			extents = extents[n:]
			continue
		}
		gaps, err := gapsOf(ctx, t.opener.dir, extents[:n], report)
		if err != nil {
			return nil, err
		}
		for _, g := range gaps {
			reads = append(reads, readZeros(g, report)...)
		}
		extents = extents[n:]
	}
	return reads, nil
}

// gapsOf returns the gaps between the values of one file, which are sorted, and the gap
// after them. It returns none for a file that another program wrote, because Orbax leaves
// other data there.
func gapsOf(ctx context.Context, d *ckdir.ReadDir, values []transfer.Extent, report func(error) error) ([]transfer.Extent, error) {
	file := values[0].File
	if ours, err := database.Wrote(ctx, d, path.Dir(file)); err != nil || !ours {
		return nil, err
	}
	var gaps []transfer.Extent
	end := int64(0)
	for _, v := range values {
		gaps = append(gaps, transfer.Extent{File: file, Offset: end, Length: v.Offset - end})
		end = max(end, v.Offset+v.Length)
	}
	info, err := d.Stat(ctx, file)
	if ckdir.NotExist(err) {
		return nil, nil // reading its values reports the missing file
	}
	// A file of a database is written in whole pages.
	written := (end + storage.PageSize - 1) / storage.PageSize * storage.PageSize
	if err == nil && info.Size >= end && info.Size != written {
		report(fmt.Errorf("%w: %s has %d bytes, %d were written", fault.ErrCorrupt, file, info.Size, written))
	}
	return append(gaps, transfer.Extent{File: file, Offset: end, Length: min(info.Size, written) - end}), err
}

// readZeros returns reads of a gap that check that it is zero. The length of the gap may
// be 0 or negative.
func readZeros(gap transfer.Extent, report func(error) error) (reads []transfer.Read) {
	for at, end := gap.Offset, gap.Offset+gap.Length; at < end; at += gapPiece {
		reads = append(reads, transfer.Read{
			Leaf:   "(none)",
			Extent: transfer.Extent{File: gap.File, Offset: at, Length: min(end-at, gapPiece)},
			Failed: report,
			Done: func(b []byte) error {
				if i := slices.IndexFunc(b, func(c byte) bool { return c != 0 }); i >= 0 {
					return fmt.Errorf("%w: byte %d of %s is not zero, and belongs to no value", fault.ErrCorrupt, at+int64(i), gap.File)
				}
				return nil
			},
		})
	}
	return reads
}
