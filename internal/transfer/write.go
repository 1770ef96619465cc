package transfer

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// Item is a value to be written.
type Item struct {
	// Leaf names the value's leaf in errors.
	Leaf string
	// Bound is the most bytes that Append appends.
	Bound int
	// Scratch is what Append takes of memory besides, about.
	Scratch int
	// Append appends the encoded value to dst, whose capacity has room for
	// Bound more bytes. It is called once, from any goroutine.
	Append func(dst []byte) ([]byte, error)
}

// pageValue is the size from which a value starts on a page of its file, so
// that readers can bypass the page cache or map it.
const pageValue = 1 << 20

// unit is a run of items that are encoded into one buffer and written at once.
type unit struct {
	first, end int // items[first:end]
	bound      int
	scratch    int // the most of the items'
}

// pack divides items into units of about unitBytes.
func pack(items []Item) []unit {
	var units []unit
	for i := 0; i < len(items); {
		u := unit{first: i}
		for i < len(items) {
			n := items[i].Bound
			if n >= pageValue {
				u.bound = roundUp(u.bound)
			}
			if i > u.first && u.bound+n > unitBytes {
				break
			}
			u.bound += n
			u.scratch = max(u.scratch, items[i].Scratch)
			i++
		}
		u.end = i
		u.bound = roundUp(u.bound)
		units = append(units, u)
	}
	return units
}

// WritePacked writes items one behind the other into the new file name of
// stage, and returns where each of them lies, in the order of items.
// Every unit starts and ends on a page; the gaps are zero.
func WritePacked(ctx context.Context, stage storage.Stage, name string, items []Item) ([]Extent, error) {
	units := pack(items)
	var bound int64
	for _, u := range units {
		bound += int64(u.bound)
	}
	file, err := stage.Create(ctx, name, bound)
	if err != nil {
		return nil, err
	}
	extents := make([]Extent, len(items))
	var size atomic.Int64
	err = runUnits(ctx, units, func(ctx context.Context, u unit, buf []byte) error {
		for i := u.first; i < u.end; i++ {
			if items[i].Bound >= pageValue {
				buf = padPage(buf)
			}
			at := len(buf)
			var err error
			if buf, err = items[i].append(buf); err != nil {
				return err
			}
			extents[i] = Extent{name, int64(at), int64(len(buf) - at)}
		}
		buf = padPage(buf)
		base := size.Add(int64(len(buf))) - int64(len(buf))
		for i := u.first; i < u.end; i++ {
			extents[i].Offset += base
		}
		return file.WriteAt(ctx, buf, base)
	})
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return extents, err
}

// WriteFiles writes each item into a new file of its own.
func WriteFiles(ctx context.Context, stage storage.Stage, names []string, items []Item) error {
	units := make([]unit, len(items))
	for i, it := range items {
		units[i] = unit{i, i + 1, roundUp(it.Bound), it.Scratch}
	}
	return runUnits(ctx, units, func(ctx context.Context, u unit, buf []byte) error {
		buf, err := items[u.first].append(buf)
		if err != nil {
			return err
		}
		return WriteFile(ctx, stage, names[u.first], buf)
	})
}

// WriteFile writes data into a new file of stage.
func WriteFile(ctx context.Context, stage storage.Stage, name string, data []byte) error {
	file, err := stage.Create(ctx, name, int64(len(data)))
	if err != nil {
		return err
	}
	err = file.WriteAt(ctx, data, 0)
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}

// runUnits runs do for every unit, with an empty buffer that has room for it.
func runUnits(ctx context.Context, units []unit, do func(ctx context.Context, u unit, buf []byte) error) error {
	need := func(i int) int64 { return int64(units[i].bound) }
	scratch := func(i int) int64 { return int64(units[i].scratch) }
	return run(ctx, len(units), need, scratch, func(ctx context.Context, i int, buffer func() []byte) error {
		return do(ctx, units[i], buffer()[:0])
	})
}

func (it *Item) append(buf []byte) ([]byte, error) {
	out, err := it.Append(buf)
	if err == nil && len(out)-len(buf) > it.Bound {
		err = fmt.Errorf("encoded into %d bytes, more than the bound of %d", len(out)-len(buf), it.Bound)
	}
	if err != nil {
		return buf, fault.OfLeaf(it.Leaf, err)
	}
	return out, nil
}

// padPage appends zeros up to the next page.
func padPage(buf []byte) []byte {
	n := roundUp(len(buf)) - len(buf)
	return append(buf, zeroPage[:n]...)
}

var zeroPage [storage.PageSize]byte
