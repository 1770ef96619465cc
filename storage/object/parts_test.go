package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

// part is a part that was uploaded.
type part struct {
	number int
	off    int64
	body   [][]byte
}

// partsBucket records the parts of all uploads, and fails some.
type partsBucket struct {
	*service
	fail func(p part) error

	mu    sync.Mutex
	parts map[string][]part
	put   map[string][][]byte
}

func (b *partsBucket) Put(ctx context.Context, key string, body [][]byte, o object.PutOptions) (object.Info, error) {
	b.mu.Lock()
	b.put[key] = body
	b.mu.Unlock()
	return b.Bucket.Put(ctx, key, body, o)
}

func (b *partsBucket) Upload(ctx context.Context, key string, size int64, o object.PutOptions) (object.Upload, error) {
	u, err := b.Bucket.Upload(ctx, key, size, o)
	return &partsUpload{u, b, key}, err
}

type partsUpload struct {
	object.Upload
	b   *partsBucket
	key string
}

func (u *partsUpload) Part(ctx context.Context, number int, off int64, body [][]byte) error {
	p := part{number, off, body}
	if u.b.fail != nil {
		if err := u.b.fail(p); err != nil {
			return err
		}
	}
	u.b.mu.Lock()
	u.b.parts[u.key] = append(u.b.parts[u.key], p)
	u.b.mu.Unlock()
	return u.Upload.Part(ctx, number, off, body)
}

func newPartsBucket() *partsBucket {
	return &partsBucket{service: newService(false), parts: map[string][]part{}, put: map[string][][]byte{}}
}

func begin(t testing.TB, b object.Bucket) (storage.Stage, *object.Store) {
	t.Helper()
	s := object.New(b, options)
	g, err := s.Begin(context.Background(), ck, storage.BeginOptions{Marker: marker})
	must(t, err)
	return g, s
}

// bytesOf returns bytes that tell their offsets, none of them zero.
func bytesOf(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(1 + (i*7+i/251)%255)
	}
	return p
}

// A file that is written by any writes, in any order and at the same time, has these bytes
// and zeros between them. Its parts keep the rules of the service.
func TestAnyWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newPartsBucket()
		s := object.New(b, options)
		g, err := s.Begin(context.Background(), ck, storage.BeginOptions{Marker: marker})
		if err != nil {
			t.Fatal(err)
		}
		size := rapid.IntRange(0, 2000).Draw(t, "size")
		most := rapid.SampledFrom([]int{1, 10, 70, 300}).Draw(t, "most")
		all := bytesOf(size)
		want := make([]byte, size)
		var writes [][2]int
		end := 0
		for at := 0; at < size; {
			n := min(rapid.IntRange(1, most).Draw(t, "n"), size-at)
			if rapid.IntRange(0, 9).Draw(t, "hole") > 0 {
				writes = append(writes, [2]int{at, at + n})
				copy(want[at:at+n], all[at:])
				end = at + n
			}
			at += n
		}
		want = want[:end]
		switch rapid.SampledFrom([]string{"in order", "backwards", "any"}).Draw(t, "order") {
		case "backwards":
			slices.Reverse(writes)
		case "any":
			writes = rapid.Permutation(writes).Draw(t, "writes")
		}
		w, err := g.Create(context.Background(), "file", -1)
		if err != nil {
			t.Fatal(err)
		}
		workers := rapid.IntRange(1, 4).Draw(t, "workers")
		errs := make([]error, workers)
		var group sync.WaitGroup
		for i := range workers {
			group.Go(func() {
				for j := i; j < len(writes); j += workers {
					r := writes[j]
					p := bytes.Clone(all[r[0]:r[1]])
					cut := len(p) / 3
					errs[i] = errors.Join(errs[i], storage.WriteBuffers(context.Background(), w, int64(r[0]), p[:cut], nil, p[cut:]))
					clear(p) // it is the caller's again
				}
			})
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := read(b.service, ck+"/file"); got != string(want) {
			t.Fatalf("%d bytes are there, want %d, or others", len(got), len(want))
		}
		parts := b.parts[ck+"/file"]
		slices.SortFunc(parts, func(a, b part) int { return int(a.off - b.off) })
		last := 0
		for i, p := range parts {
			n := int(lengthOf(p.body))
			if i < len(parts)-1 && (n < 16 || p.off+int64(n) != parts[i+1].off) {
				t.Fatalf("part %d has %d bytes at %d, and the next one is at %d", p.number, n, p.off, parts[i+1].off)
			}
			if p.number <= last || p.number > 10_000 {
				t.Fatalf("part %d follows part %d", p.number, last)
			}
			last = p.number
		}
		if err := g.Abort(); err != nil || b.Uploads() > 0 || len(b.Keys()) > 0 {
			t.Fatalf("Abort: %v; %d uploads are left, and %q", err, b.Uploads(), b.Keys())
		}
	})
}

func lengthOf(body [][]byte) (n int64) {
	for _, b := range body {
		n += int64(len(b))
	}
	return n
}

// No byte is written twice.
func TestTwice(t *testing.T) {
	b := newPartsBucket()
	g, _ := begin(t, b)
	defer g.Abort()
	for i, second := range [][2]int{{0, 1}, {69, 70}, {0, 500}, {90, 101}, {109, 120}, {-1, 3}, {1 << 62, 1<<62 + 5}} {
		w, err := g.Create(t.Context(), fmt.Sprint(i), -1)
		must(t, err)
		must(t, w.WriteAt(t.Context(), bytesOf(70), 0))
		must(t, w.WriteAt(t.Context(), bytesOf(10), 100)) // it waits
		if err := w.WriteAt(t.Context(), bytesOf(second[1]-second[0]), int64(second[0])); err == nil {
			t.Errorf("bytes %d can be written", second)
		}
		if err := w.Close(); err == nil {
			t.Errorf("Close after a write of bytes %d that has failed succeeds", second)
		}
	}
}

// Large writes are uploaded from the memory of the caller, and a writer in order keeps
// little.
func TestNoCopies(t *testing.T) {
	b := newPartsBucket()
	g, _ := begin(t, b)
	defer g.Abort()
	for _, n := range []int{64, 70, 128, 1000} {
		name := fmt.Sprint("large", n)
		w, err := g.Create(t.Context(), name, -1)
		must(t, err)
		all := bytesOf(n)
		for i := range 4 {
			must(t, w.WriteAt(t.Context(), all, int64(i*n)))
			if held := object.Waiting(w); held > 0 {
				t.Errorf("%d bytes of writes of %d are held", held, n)
			}
		}
		must(t, w.Close())
		for _, p := range b.parts[ck+"/"+name] {
			at := int(p.off) % n
			for _, body := range p.body {
				if &body[0] != &all[at] {
					t.Errorf("the part at %d of writes of %d is a copy", p.off, n)
				}
				at += len(body)
			}
		}
	}
	for _, n := range []int{1, 7, 33, 63} {
		w, err := g.Create(t.Context(), fmt.Sprint("small", n), -1)
		must(t, err)
		most := 0
		for i := range 2000 / n {
			must(t, w.WriteAt(t.Context(), bytesOf(n), int64(i*n)))
			most = max(most, object.Waiting(w))
		}
		must(t, w.Close())
		if most > 4*64 {
			t.Errorf("%d bytes of writes of %d are held", most, n)
		}
	}
	// A part with a short tail, as the data files of checkpoints have them.
	w, err := g.Create(t.Context(), "tails", -1)
	must(t, err)
	for i := range 8 {
		must(t, w.WriteAt(t.Context(), bytesOf(640), int64(i*643)))
		must(t, w.WriteAt(t.Context(), bytesOf(3), int64(i*643+640)))
		if held := object.Waiting(w); held > 2*64 {
			t.Errorf("%d bytes are held", held)
		}
	}
	must(t, w.Close())
}

// The numbers of parts grow with their offsets and stay in their bounds, for files of any
// size that the clouds keep.
func TestPartNumbers(t *testing.T) {
	limits := map[string]object.Limits{
		"S3":    {MinPart: 5 << 20, MaxPart: 5 << 30, MaxParts: 10_000},
		"Azure": {MinPart: 1, MaxPart: 4000 << 20, MaxParts: 50_000},
		"GCS":   {MinPart: 1, MaxPart: 5 << 40, MaxParts: 32 * 32 * 32},
		"tests": {MinPart: 16, MaxPart: 5 << 30, MaxParts: 10_000},
	}
	for name, l := range limits {
		for _, size := range []int64{0, 1, 64, 1 << 20, 8 << 20, 100 << 20, 5 << 30, 1 << 60} {
			s := object.New(limited{newService(false), l}, object.Options{PartSize: size})
			rnd := rand.New(rand.NewPCG(1, uint64(size)))
			const most = 5 << 40
			for range 100 {
				off, last := int64(0), 0
				for off < most {
					// The next range, of any size: a part of it that fits, and others of any size.
					n := s.LeastPart(off) + rnd.Int64N(3*s.PartSize())
					for rest := n; rest > 0; {
						m := s.PartLength(off, rest)
						number := s.PartNumber(off)
						if m < rest && m < l.MinPart || m > l.MaxPart || number <= last || number > l.MaxParts {
							t.Fatalf("%s, parts of %d: part %d after %d at %d has %d bytes, of %d", name, size, number, last, off, m, rest)
						}
						off, rest, last = off+m, rest-m, number
					}
					if rnd.IntN(20) == 0 {
						off += rnd.Int64N(most / 50)
					}
				}
			}
		}
	}
}

// limited is a bucket with other limits.
type limited struct {
	*service
	l object.Limits
}

func (b limited) Limits() object.Limits { return b.l }

// A write that fails, and a context that ends, leave nothing behind: no upload, no object
// and no goroutine.
func TestBrokenWrites(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, how := range []string{"a part fails", "the context of the file ends", "it is left open", "the stage ends while it is written"} {
		for after := range 5 {
			b := newPartsBucket()
			ctx, cancel := context.WithCancel(t.Context())
			errPart, count := errors.New("refused"), 0
			b.fail = func(p part) error {
				b.mu.Lock()
				defer b.mu.Unlock()
				if count++; count > after && how == "a part fails" {
					return errPart
				}
				return nil
			}
			g, _ := begin(t, b)
			fctx := t.Context()
			if how == "the context of the file ends" {
				fctx = ctx
			}
			w, err := g.Create(fctx, "d/file", 1000)
			must(t, err)
			all := bytesOf(1000)
			var group sync.WaitGroup
			errs := make([]error, 10)
			for i := range errs {
				if i == after && how != "a part fails" {
					switch how {
					case "it is left open":
					case "the stage ends while it is written":
						group.Go(func() { must(t, g.Abort()) })
					default:
						cancel()
					}
				}
				group.Go(func() { errs[i] = w.WriteAt(ctx, all[i*100:(i+1)*100], int64(i*100)) })
				if how != "the stage ends while it is written" {
					group.Wait()
				}
			}
			group.Wait()
			if how != "it is left open" {
				werr := errors.Join(errs...)
				cerr := w.Close()
				if cerr == nil {
					t.Errorf("%s after %d parts: Close succeeds; the writes: %v", how, after, werr)
				}
				if how == "a part fails" && (!errors.Is(werr, errPart) || !errors.Is(cerr, errPart)) {
					t.Errorf("%s: %v, %v", how, werr, cerr)
				}
			}
			if how == "a part fails" {
				if err := g.Commit(t.Context()); !errors.Is(err, errPart) {
					t.Errorf("Commit: %v", err)
				}
			}
			must(t, g.Abort())
			w.Close()
			if n := b.Uploads(); n > 0 || len(b.Keys()) > 0 {
				t.Errorf("%s after %d parts: %d uploads are left, and %q", how, after, n, b.Keys())
			}
			cancel()
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}
