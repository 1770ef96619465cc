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
	// Bound is the largest number of bytes that Append appends, and Least the smallest.
	Bound, Least int
	// Scratch is about how much memory Append takes in addition.
	Scratch int
	// Append appends the encoded value to dst, whose capacity has room for Bound more
	// bytes. It is called once, by any goroutine.
	Append func(dst []byte) ([]byte, error)
	// Body, which may be nil, is memory with the beginning of the encoded value, and Tail
	// appends the rest. A large Body that starts on a page is written without a copy;
	// Tail is then called instead of Append.
	Body []byte
	Tail func(dst []byte) []byte
	// Written, if set, is called after the value has been written. If it returns an
	// error, the value does not count as written.
	Written func() error
}

// PageValue is the size from which a value starts on a page of its file, so that readers
// can map it, and a Body can be written without a copy.
const PageValue = 1 << 20

// smallAlign is the alignment of smaller values, for readers that map them: the size of
// the largest element.
const smallAlign = 16

// inPlace reports whether the item's Body is written without a copy. The device takes
// memory at multiples of alignment.
func (it *Item) inPlace(alignment int) bool {
	return len(it.Body) >= PageValue && address(it.Body)%uintptr(alignment) == 0
}

// align returns the first offset from at on where the item may start.
func (it *Item) align(at int) int {
	if it.Bound >= PageValue {
		return roundUp(at)
	}
	return (at + smallAlign - 1) &^ (smallAlign - 1)
}

// unit is a run of items that are encoded into one buffer and written at once.
type unit struct {
	first, end int // items[first:end]
	bound      int // length of the buffer
	body       int // bytes that are written in place before the buffer
	scratch    int // the largest Scratch of the items
}

// pack divides items into units of about size bytes. An item that is written in place is a
// unit of its own, whose buffer has the bytes that do not fill a page; see inPlace.
func pack(items []Item, alignment, size int) []unit {
	var units []unit
	for i := 0; i < len(items); {
		u := unit{first: i}
		for ; i < len(items); i++ {
			it := &items[i]
			if it.inPlace(alignment) {
				if i == u.first {
					u.body = roundDown(len(it.Body))
					u.bound = it.Bound - u.body
					i++
				}
				break
			}
			at := it.align(u.bound)
			if i > u.first && at+it.Bound > size {
				break
			}
			u.bound = at + it.Bound
			u.scratch = max(u.scratch, it.Scratch)
		}
		u.end = i
		u.bound = roundUp(u.bound)
		units = append(units, u)
	}
	return units
}

// WritePacked writes items one after the other into the new file name of stage. It
// returns the place of each. Every write starts and ends on a page.
func (e *Engine) WritePacked(ctx context.Context, stage storage.Files, name string, items []Item) ([]Extent, error) {
	file, err := stage.Create(ctx, name, packedSize(items))
	if err != nil {
		return nil, err
	}
	p := stage.Properties()
	size := e.sizesOf(p)
	if p.Sequential {
		size.workers = 1
	}
	units := pack(items, storage.Alignment(file), size.write)
	e.Counters().Files.Add(1)
	extents := make([]Extent, len(items))
	var length atomic.Int64 // of the file so far
	err = e.runUnits(ctx, size, units, func(ctx context.Context, u unit, buf []byte) error {
		if u.body > 0 {
			it := &items[u.first]
			e.Counters().note(it.Leaf)
			buf, err := it.tail(buf, u.body)
			if err != nil {
				return err
			}
			n := u.body + len(buf)
			buf = padPage(buf)
			base := length.Add(int64(u.body+len(buf))) - int64(u.body+len(buf))
			extents[u.first] = Extent{name, base, int64(n)}
			return errOr(e.write(ctx, file, size, base, it.Body[:u.body], buf), it.written)
		}
		for i := u.first; i < u.end; i++ {
			at := items[i].align(len(buf))
			buf = append(buf, zeroPage[:at-len(buf)]...)
			e.Counters().note(items[i].Leaf)
			var err error
			if buf, err = items[i].append(buf); err != nil {
				return err
			}
			extents[i] = Extent{name, int64(at), int64(len(buf) - at)}
		}
		buf = padPage(buf)
		base := length.Add(int64(len(buf))) - int64(len(buf))
		for i := u.first; i < u.end; i++ {
			extents[i].Offset += base
		}
		err := e.write(ctx, file, size, base, nil, buf)
		for i := u.first; i < u.end; i++ {
			err = errOr(err, items[i].written)
		}
		return err
	})
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return extents, err
}

// packedSize returns about the length of a file with the items. It returns -1 if the
// length is not known, as for many compressed items. It never returns far too much, so
// that a save is not refused for lack of room that it does not need.
func packedSize(items []Item) int64 {
	var least, most int64
	for i := range items {
		least = int64(items[i].align(int(least)) + items[i].Least)
		most += int64(items[i].Bound)
	}
	if least < most/2 {
		return -1
	}
	return int64(roundUp(int(least)))
}

// write writes a body from its place in memory, and rest after it, at most about two units
// at a time.
func (e *Engine) write(ctx context.Context, file storage.Writer, size sizes, at int64, body, rest []byte) error {
	// begin writes the beginning of b, as long as more than two units are left of it.
	begin := func(b []byte) (left []byte, err error) {
		for len(b) > 2*size.write && err == nil {
			err = e.writeBuffers(ctx, file, at, b[:size.write])
			at += int64(size.write)
			b = b[size.write:]
		}
		return b, err
	}
	body, err := begin(body)
	if err != nil {
		return err
	}
	if len(body) > 0 {
		return e.writeBuffers(ctx, file, at, body, rest)
	}
	if rest, err = begin(rest); err != nil {
		return err
	}
	return e.writeBuffers(ctx, file, at, rest)
}

func (e *Engine) writeBuffers(ctx context.Context, file storage.Writer, at int64, bufs ...[]byte) error {
	err := storage.WriteBuffers(ctx, file, at, bufs...)
	if err == nil {
		for _, b := range bufs {
			e.Counters().Moved.Add(int64(len(b)))
		}
	}
	return err
}

// WriteFiles writes each item as a separate file of stage, with the name at the same
// index.
func (e *Engine) WriteFiles(ctx context.Context, stage storage.Files, names []string, items []Item) error {
	units := make([]unit, len(items))
	for i := range items {
		it := &items[i]
		units[i] = unit{first: i, end: i + 1, bound: it.Bound, scratch: it.Scratch}
		if it.inPlace(storage.PageSize) {
			units[i].body = roundDown(len(it.Body))
			units[i].bound -= units[i].body
		}
	}
	return e.runUnits(ctx, e.sizesOf(stage.Properties()), units, func(ctx context.Context, u unit, buf []byte) error {
		it := &items[u.first]
		e.Counters().note(it.Leaf)
		var err error
		if u.body > 0 {
			buf, err = it.tail(buf, u.body)
		} else {
			buf, err = it.append(buf)
		}
		if err != nil {
			return err
		}
		return errOr(e.writeFile(ctx, stage, names[u.first], it.Body[:u.body], buf), it.written)
	})
}

// WriteFile is [Engine.WriteFile] without an engine.
func WriteFile(ctx context.Context, stage storage.Files, name string, data []byte) error {
	return (*Engine)(nil).WriteFile(ctx, stage, name, data)
}

// WriteFile writes data as the new file name of stage.
func (e *Engine) WriteFile(ctx context.Context, stage storage.Files, name string, data []byte) error {
	if limit := limitOf(name).most; int64(len(data)) > limit {
		return fmt.Errorf("%w: %s of %d bytes, which no reader takes: at most %d are allowed", fault.ErrUnsupported, name, len(data), limit)
	}
	e.Counters().Planned.Add(int64(len(data)))
	return e.writeFile(ctx, stage, name, nil, data)
}

func (e *Engine) writeFile(ctx context.Context, stage storage.Files, name string, body, rest []byte) error {
	file, err := stage.Create(ctx, name, int64(len(body)+len(rest)))
	if err != nil {
		return err
	}
	e.Counters().Files.Add(1)
	err = e.write(ctx, file, e.sizesOf(stage.Properties()), 0, body, rest)
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}

func (e *Engine) runUnits(ctx context.Context, size sizes, units []unit, do func(ctx context.Context, u unit, buf []byte) error) error {
	var planned int64
	for _, u := range units {
		planned += int64(u.body + u.bound)
	}
	e.Counters().Begin(Moving, planned)
	return runAll(ctx, e, len(units), work[int]{
		workers: size.workers,
		need:    func(i int) int64 { return int64(units[i].bound) },
		extra:   func(i int) int64 { return int64(units[i].scratch) },
		do: func(ctx context.Context, i int, buffer func() ([]byte, error)) error {
			buf, err := buffer()
			if err != nil {
				return err
			}
			return do(ctx, units[i], buf[:0])
		},
	})
}

// append calls Append and checks its result.
func (it *Item) append(buf []byte) ([]byte, error) {
	out, err := it.Append(buf)
	if err == nil {
		err = it.checkLength(len(out) - len(buf))
	}
	if err != nil {
		return buf, fault.OfLeaf(it.Leaf, err)
	}
	return out, nil
}

// tail appends the value except the first n bytes of the body.
func (it *Item) tail(buf []byte, n int) ([]byte, error) {
	buf = it.Tail(append(buf, it.Body[n:]...))
	return buf, fault.OfLeaf(it.Leaf, it.checkLength(n+len(buf)))
}

// written calls Written, and adds the leaf to its error.
func (it *Item) written() error {
	if it.Written == nil {
		return nil
	}
	return fault.OfLeaf(it.Leaf, it.Written())
}

// errOr returns err, or the result of f if err is nil.
func errOr(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

func (it *Item) checkLength(n int) error {
	if n > it.Bound {
		return fmt.Errorf("encoded into %d bytes, more than the bound of %d", n, it.Bound)
	}
	return nil
}

// padPage appends zeros up to the next page.
func padPage(buf []byte) []byte {
	n := roundUp(len(buf)) - len(buf)
	return append(buf, zeroPage[:n]...)
}

var zeroPage [storage.PageSize]byte
