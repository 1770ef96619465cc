package object

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// writer writes a file. A file that fits in one part is put when it is closed. The parts of
// a longer one are uploaded by the calls that write them: those of large writes from the
// memory of the caller, and small neighbours together, from copies.
//
// Parts may come in any order, but only the last one of a file may be short. So a range is
// uploaded only if it leaves no gap beside it that is too short to be a part of its own.
// The bytes that would leave one wait until their neighbours are there.
type writer struct {
	f         *files
	name, key string
	id        string          // the Writer of the object
	ctx       context.Context // of the Create, which also ends when the stage is lost
	release   context.CancelFunc

	begin  sync.Once
	upload Upload
	failed error // of begin

	mu      sync.Mutex
	size    int64
	version string  // of the object, if it is known
	parts   []span  // sorted; uploaded or under way
	waits   []piece // sorted, apart
	err     error   // of a part
	closed  bool
}

func newFileWriter(ctx context.Context, f *files, name string) *writer {
	w := &writer{f: f, name: name, key: f.keyFor(name), id: f.newWriter()}
	w.ctx, w.release = during(ctx, f.lost)
	return w
}

func (w *writer) WriteAt(ctx context.Context, p []byte, off int64) error {
	return w.WriteBuffers(ctx, off, p)
}

// Alignment returns 1: memory is sent from any address.
func (w *writer) Alignment() int { return 1 }

// WriteBuffers writes buffers one after the other. If it fails, so does Close: the file would
// have a hole. A call whose context had ended has not begun.
func (w *writer) WriteBuffers(ctx context.Context, off int64, bufs ...[]byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := w.write(ctx, off, bufs)
	if err != nil {
		err = w.f.explain(err)
		w.fail(err)
	}
	return err
}

// fail makes later calls fail.
func (w *writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *writer) write(ctx context.Context, off int64, bufs [][]byte) error {
	p := piece{span: span{off, off}}
	for _, b := range bufs {
		if len(b) > 0 {
			p.bufs = append(p.bufs, b)
			p.end += int64(len(b))
		}
	}
	switch {
	case p.off < 0 || p.end < p.off:
		return fmt.Errorf("%s: %d bytes cannot be written at offset %d", w.key, p.end-p.off, off)
	case p.end == p.off:
		return nil
	case w.f.s.partNumber(p.end-1) > w.f.s.limits.MaxParts:
		return fmt.Errorf("%s: %w: the service cannot keep a file that reaches byte %d", w.key, fault.ErrUnsupported, p.end)
	}
	ready, err := w.take(p)
	if err != nil || ready.bufs == nil {
		return err
	}
	return w.send(ctx, ready)
}

// take adds a range to the file. It returns the range, with its neighbours that wait, if it
// can be uploaded now; otherwise a copy of it waits.
func (w *writer) take(p piece) (ready piece, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return piece{}, fmt.Errorf("%s: it is closed", w.key)
	case w.err != nil:
		return piece{}, w.err
	}
	at, _ := slices.BinarySearchFunc(w.parts, p.off, func(s span, off int64) int {
		if s.end <= off {
			return -1
		}
		return 1
	})
	gap := span{0, 1<<63 - 1} // between the parts before and after
	if at > 0 {
		gap.off = w.parts[at-1].end
	}
	if at < len(w.parts) {
		gap.end = w.parts[at].off
	}
	wait, _ := slices.BinarySearchFunc(w.waits, p.off, func(q piece, off int64) int {
		if q.end <= off {
			return -1
		}
		return 1
	})
	if p.end > gap.end || wait < len(w.waits) && w.waits[wait].off < p.end {
		return piece{}, fmt.Errorf("%s: bytes %d to %d are written twice", w.key, p.off, p.end)
	}
	w.size = max(w.size, p.end)
	// all is p with the neighbours that touch it: waits[first:last].
	all, first, last := p, wait, wait
	before, after := piece{span: span{p.off, p.off}}, piece{}
	if wait > 0 && w.waits[wait-1].end == p.off {
		first--
		before = w.waits[first]
		all = before.join(all)
	}
	if wait < len(w.waits) && w.waits[wait].off == p.end {
		after = w.waits[wait]
		all = all.join(after)
		last++
	}
	least := w.f.s.leastPart(all.off)
	full := max(w.f.s.o.PartSize, least)
	fits := (all.off == gap.off || all.off-gap.off >= w.f.s.leastPart(gap.off)) && (all.end == gap.end || gap.end-all.end >= w.f.s.leastPart(all.end))
	if n := all.end - all.off; fits && (n >= full || n >= least && p.end-p.off >= least) {
		w.waits = slices.Delete(w.waits, first, last)
		w.parts = slices.Insert(w.parts, at, all.span)
		return all, nil
	}
	for _, b := range p.bufs {
		before.add(b, int(full))
	}
	if last > wait {
		before = before.join(after)
	}
	w.waits = slices.Replace(w.waits, first, last, before)
	return piece{}, nil
}

// send uploads a range as parts.
func (w *writer) send(ctx context.Context, p piece) error {
	w.begin.Do(func() {
		w.failed = w.f.s.try(w.ctx, func(ctx context.Context) error {
			u, err := w.f.s.bucket.Upload(ctx, w.key, -1, PutOptions{IfAbsent: true, Writer: w.id})
			if err != nil { // u may be a nil pointer of the bucket's own type
				w.f.orphans.Store(true)
				return err
			}
			w.upload = u
			return nil
		})
	})
	err := w.failed
	// The context of the call ends the request, and so does the loss of the stage.
	ctx, end := during(ctx, w.ctx)
	defer end()
	defer p.free()
	for rest := p; err == nil && rest.end > rest.off; {
		at := rest.off
		var body [][]byte
		body, rest = rest.cut(w.f.s.partLength(rest.off, rest.end-rest.off))
		err = w.f.s.perform(ctx, effort{bytes: rest.off - at}, func(ctx context.Context) error {
			return w.upload.Part(ctx, w.f.s.partNumber(at), at, body)
		})
	}
	return err
}

// Close uploads the rest, and makes the file.
func (w *writer) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return fmt.Errorf("%s: it is closed", w.key)
	}
	w.closed = true
	err := w.err
	w.mu.Unlock()
	defer w.release()
	if err == nil {
		err = w.f.explain(w.publish(w.ctx))
	}
	if err != nil {
		w.abort(context.WithoutCancel(w.ctx))
	}
	if err == nil && w.name == w.f.marker {
		err = w.f.marked(w.ctx, w.version)
	}
	w.f.closed(w, err)
	return err
}

// quit ends the writing with err for later calls.
func (w *writer) quit(ctx context.Context, err error) {
	w.fail(err)
	w.release()
	w.abort(ctx)
}

// publish makes the object of all that was written.
func (w *writer) publish(ctx context.Context) error {
	if err := w.f.check(ctx); err != nil {
		return err
	}
	w.fillHoles()
	if err := w.make(ctx); err != nil {
		return err
	}
	return w.f.settle(ctx, w.key, w.id)
}

// make makes the object, in the place of that of a writer that has lost its claim if there
// is one.
func (w *writer) make(ctx context.Context) error {
	request, whole := w.put, true
	if len(w.parts) > 0 || w.f.s.partLength(0, w.size) < w.size {
		for _, p := range w.waits { // nothing is between them and the parts
			if err := w.send(ctx, p); err != nil {
				return err
			}
		}
		w.waits = nil
		request, whole = w.complete, false
	}
	defer func() {
		for _, p := range w.waits {
			p.free()
		}
	}()
	o := PutOptions{IfAbsent: true, Writer: w.id}
	for range 10 {
		lost, err := request(ctx, o)
		if err == nil || !lost && !errors.Is(err, ErrPrecondition) {
			return err
		}
		version, terr := w.f.taken(ctx, w.key, w.id)
		switch {
		case terr != nil:
			return errors.Join(terr, err)
		case version == "":
			return nil
		case !whole: // the upload demands that there is no such object
			if err := w.f.s.remove(ctx, []Ref{{w.key, version}}); err != nil {
				return err
			}
		default:
			o.IfAbsent, o.IfVersion = false, version
		}
	}
	return fmt.Errorf("%s: %w: other writers make it all the time", w.key, fault.ErrBusy)
}

// put makes the object by one request. lost reports that an answer is missing.
func (w *writer) put(ctx context.Context, o PutOptions) (lost bool, err error) {
	var body [][]byte
	for _, p := range w.waits {
		body = append(body, p.bufs...)
	}
	return false, w.f.s.perform(ctx, effort{bytes: w.size}, func(ctx context.Context) error {
		info, err := w.f.s.bucket.Put(ctx, w.key, body, o)
		w.version = info.Version
		return err
	})
}

// complete makes the object of the parts. lost reports that an answer is missing: then the
// next one may be any error.
func (w *writer) complete(ctx context.Context, _ PutOptions) (lost bool, err error) {
	limit := answerTime + time.Duration(w.size/assemblyRate)*time.Second
	err = w.f.s.perform(ctx, effort{limit: limit}, func(ctx context.Context) error {
		info, err := w.upload.Complete(ctx)
		if err == nil && lost {
			// A service may answer so while it still makes the object for the request before.
			info, err = w.made(ctx)
		}
		w.version = info.Version
		lost = lost || isTemporary(err)
		return err
	})
	return lost, err
}

// made returns the object, which must be that of this writer.
func (w *writer) made(ctx context.Context) (Info, error) {
	info, err := w.f.s.bucket.Stat(ctx, w.key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Info{}, &Error{Op: "complete", Key: w.key, Temporary: true, Message: "the service has not made the object yet"}
	case err == nil && info.Writer != w.id:
		return Info{}, ErrPrecondition
	}
	return info, err
}

// fillHoles adds zeros where nothing was written.
func (w *writer) fillHoles() {
	var all []piece
	for _, s := range w.parts {
		all = append(all, piece{span: s})
	}
	all = append(all, w.waits...)
	slices.SortFunc(all, func(a, b piece) int { return int(min(max(a.off-b.off, -1), 1)) })
	w.waits = nil
	at, open := int64(0), false // open: the last of waits may be extended
	for _, p := range all {
		for p.off > at {
			n := min(p.off-at, int64(len(zeros)))
			hole := piece{span: span{at, at + n}, bufs: [][]byte{zeros[:n]}}
			w.extend(hole, &open)
			at += n
		}
		if p.bufs == nil { // it is uploaded
			open = false
		} else {
			w.extend(p, &open)
		}
		at = p.end
	}
}

func (w *writer) extend(p piece, open *bool) {
	if n := len(w.waits); *open {
		w.waits[n-1] = w.waits[n-1].join(p)
		return
	}
	w.waits = append(w.waits, p)
	*open = true
}

var zeros [1 << 20]byte

// abort removes the parts.
func (w *writer) abort(ctx context.Context) {
	w.begin.Do(func() { w.failed = fault.ErrNotExist })
	if w.upload == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.f.s.o.Patience)
	defer cancel()
	_ = w.f.s.try(ctx, w.upload.Abort) // recovery and the service remove what is left
}

var _ storage.BuffersWriter = (*writer)(nil)
