package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/memory"
	"github.com/go-orbax/orbax/storage"
)

// Read is a range of a file to be read.
type Read struct {
	// Leaf names the owner in errors.
	Leaf string
	Extent
	// Dst receives the first len(Dst) bytes of the range; it may be nil.
	Dst []byte
	// Step, if set, is called with successive pieces of Dst as they arrive,
	// while they are hot in the cache.
	Step func(piece []byte)
	// Scratch is about how much memory Done takes in addition.
	Scratch int64
	// Done is called once, after Dst has been filled and after all Steps, with the bytes
	// after Dst. They are valid only during the call.
	Done func(rest []byte) error
	// Failed, if set, gets the error of the read, which may be Done's. The error that it
	// returns ends the whole plan; if it returns nil, the plan goes on.
	Failed func(error) error
}

// span is a run of reads of one file that one call serves.
type span struct {
	first, end  int
	offset, len int64
}

// vainShare and vainGaps bound the bytes that a plan reads in vain, to save requests: one
// of vainShare bytes, or as much as vainGaps gaps if the plan is so small that the requests
// count for more.
const (
	vainShare = 32
	vainGaps  = 4
)

// join sorts reads by file and offset, and joins small neighbours. A process that loads
// every fourth chunk of many small ones does not read the other three.
func join(reads []Read, size sizes) []span {
	byPlace := func(a, b Read) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset)) }
	if !slices.IsSortedFunc(reads, byPlace) { // they usually are
		slices.SortStableFunc(reads, byPlace)
	}
	var wanted int64
	for i := range reads {
		wanted += reads[i].Length
	}
	most := max(wanted/vainShare, vainGaps*size.gap, 0)
	for {
		spans, vain := joinOver(reads, size)
		if vain <= most {
			return spans
		}
		size.gap /= 2
	}
}

// joinOver joins sorted reads over the gaps that size allows, and returns how many bytes
// are in these gaps.
func joinOver(reads []Read, size sizes) (spans []span, vain int64) {
	for i := 0; i < len(reads); {
		r := &reads[i]
		s := span{first: i, offset: r.Offset, len: r.Length}
		for i++; i < len(reads) && s.len < size.joined; i++ {
			r := &reads[i]
			end := s.offset + s.len
			if r.File != reads[s.first].File || r.Length >= size.joined || r.Offset > end+size.gap ||
				r.Offset+r.Length-s.offset > int64(size.read) {
				break
			}
			vain += max(0, r.Offset-end)
			s.len = max(s.len, r.Offset+r.Length-s.offset)
		}
		s.end = i
		spans = append(spans, s)
	}
	return spans, vain
}

// ReadAll performs reads, in any order, from the files below dir. It reorders the slice.
// A missing or short file is an error that matches [fault.ErrCorrupt].
func (e *Engine) ReadAll(ctx context.Context, dir storage.Location, reads []Read) error {
	var bad error
	reads = slices.DeleteFunc(reads, func(r Read) bool {
		if r.Offset >= 0 && r.Length >= int64(len(r.Dst)) && r.Offset+r.Length >= r.Offset {
			return false
		}
		err := r.fail(fmt.Errorf("%w: range %d+%d of %s", fault.ErrCorrupt, r.Offset, r.Length, r.File))
		bad = cmp.Or(bad, err)
		return true
	})
	if bad != nil {
		return bad
	}
	size := e.sizesOf(dir.Store.Properties())
	spans := join(reads, size)
	files := &fileSet{size: size, dir: dir, files: map[string]*openFile{}}
	defer files.close()
	meter := e.Counters()
	var planned int64
	for _, s := range spans {
		files.expect(reads[s.first].File)
		planned += s.len
	}
	meter.Files.Add(int64(len(files.files)))
	meter.Begin(Moving, planned)
	return runAll(ctx, e, len(spans), work[int]{
		workers: size.workers,
		need: func(i int) int64 {
			s := spans[i]
			if s.end-s.first == 1 {
				return s.len - int64(len(reads[s.first].Dst))
			}
			return s.len
		},
		extra: func(i int) (most int64) {
			for _, r := range reads[spans[i].first:spans[i].end] {
				most = max(most, r.Scratch)
			}
			return most
		},
		do: func(ctx context.Context, i int, buffer func() ([]byte, error)) error {
			s := spans[i]
			meter.note(reads[s.first].Leaf)
			err := files.serve(ctx, s, reads[s.first:s.end], buffer)
			if err == nil {
				meter.Moved.Add(s.len)
			}
			return err
		},
	})
}

// serve performs the reads of a span. The buffer is for bytes that do not go straight to
// their place.
func (files *fileSet) serve(ctx context.Context, s span, rs []Read, buffer func() ([]byte, error)) error {
	name := rs[0].File
	f, err := files.open(ctx, name)
	defer files.release(name)
	switch {
	case err != nil:
		return failAll(rs, err)
	case s.offset+s.len > f.Size():
		return serveShort(ctx, f, files.size, rs)
	}
	buf, err := buffer()
	switch {
	case err != nil:
		return failAll(rs, err)
	case len(rs) == 1:
		return rs[0].direct(ctx, f, files.size, buf)
	}
	return readSpan(ctx, f, s, rs, buf)
}

// serveShort performs the reads of a span that exceeds its file one by one, so that only
// the reads beyond the file's end fail.
func serveShort(ctx context.Context, f storage.Reader, size sizes, rs []Read) error {
	for i := range rs {
		r := &rs[i]
		var err error
		if end := r.Offset + r.Length; end > f.Size() {
			err = r.fail(tooShort(ctx, f, r.File, end))
		} else if buf, merr := memory.Bytes(r.Length - int64(len(r.Dst))); merr != nil {
			err = r.fail(merr)
		} else {
			err = r.direct(ctx, f, size, buf)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// direct reads one range: the head straight to its place, the rest into buf.
func (r *Read) direct(ctx context.Context, f storage.Reader, size sizes, buf []byte) error {
	limit := size.read // so that ctx is checked now and then
	if r.Step != nil {
		limit = size.step
	}
	off, rest := r.Offset, buf
	for dst := r.Dst; len(dst) > 0; {
		piece := dst[:min(len(dst), limit)]
		pieces := [][]byte{piece}
		if size.dear && len(piece) == len(dst) && len(rest) > 0 {
			pieces, rest = append(pieces, rest), nil
		}
		if err := storage.ReadBuffers(ctx, f, off, pieces...); err != nil {
			return r.fail(readError(r.File, err))
		}
		if r.Step != nil {
			for b := range slices.Chunk(piece, stepBytes) {
				r.Step(b)
			}
		}
		off += int64(len(piece))
		dst = dst[len(piece):]
	}
	if len(rest) > 0 {
		if err := f.ReadAt(ctx, rest, off); err != nil {
			return r.fail(readError(r.File, err))
		}
	}
	if err := r.Done(buf); err != nil {
		return r.fail(cmp.Or(checkLFS(ctx, f, r.File), err))
	}
	return nil
}

// readSpan reads the ranges rs in one call. If possible the call puts bytes with a
// destination there, and the others into buf.
func readSpan(ctx context.Context, f storage.Reader, s span, rs []Read, buf []byte) error {
	pieces := [][]byte{buf}
	_, placed := f.(storage.BuffersReader) // other readers would need a call for each piece
	if placed = placed && apart(rs); placed {
		pieces = scatter(s, rs, buf)
	}
	if err := storage.ReadBuffers(ctx, f, s.offset, pieces...); err != nil {
		return failAll(rs, readError(rs[0].File, err))
	}
	for i := range rs {
		r := &rs[i]
		b := buf[r.Offset-s.offset:][:r.Length]
		n := len(r.Dst)
		if !placed {
			copy(r.Dst, b)
		}
		if r.Step != nil && n > 0 {
			r.Step(r.Dst)
		}
		if err := r.Done(b[n:]); err != nil {
			if err := r.fail(cmp.Or(checkLFS(ctx, f, r.File), err)); err != nil {
				return err
			}
		}
	}
	return nil
}

// apart reports whether no ranges overlap. Those of tied weights do overlap.
func apart(rs []Read) bool {
	for i := range rs[1:] {
		if rs[i].Offset+rs[i].Length > rs[i+1].Offset {
			return false
		}
	}
	return true
}

// scatter returns the memory for all bytes of a span in their order. The ranges of the
// span are apart. The memory is the destinations, and between them pieces of buf for the
// other bytes.
func scatter(s span, rs []Read, buf []byte) [][]byte {
	pieces := make([][]byte, 0, 2*len(rs)+1)
	at := 0 // all bytes before at have their place
	for i := range rs {
		r := &rs[i]
		if len(r.Dst) == 0 {
			continue
		}
		if start := int(r.Offset - s.offset); start > at {
			pieces = append(pieces, buf[at:start])
			at = start
		}
		pieces = append(pieces, r.Dst)
		at += len(r.Dst)
	}
	return append(pieces, buf[at:])
}

func (r *Read) fail(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	err = fault.OfLeaf(r.Leaf, err)
	if r.Failed != nil {
		return r.Failed(err)
	}
	return err
}

// failAll fails reads that one call was to serve.
func failAll(rs []Read, err error) error {
	for i := range rs {
		if err := rs[i].fail(err); err != nil {
			return err
		}
	}
	return nil
}

func tooShort(ctx context.Context, f storage.Reader, file string, need int64) error {
	if err := checkLFS(ctx, f, file); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s has %d bytes, %d are needed", fault.ErrCorrupt, file, f.Size(), need)
}

func readError(file string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s became shorter while it was read", fault.ErrCorrupt, file)
	}
	return err
}
