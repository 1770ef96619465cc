package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	_ "github.com/go-orbax/orbax/internal/testenv/fewchecks"
	"github.com/go-orbax/orbax/storage"
)

// pages returns n random bytes that begin skip bytes behind the start of a page.
func pages(n, skip int) []byte {
	b := make([]byte, n+skip+storage.PageSize)
	at := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b)))%storage.PageSize) + skip
	b = b[at : at+n]
	rng := rand.New(rand.NewPCG(uint64(n), uint64(skip)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// plain hides everything of a Writer but its interface.
type plain struct{ storage.Writer }

func newStage(t *testing.T, store storage.Store) (s storage.Stage, dir string) {
	t.Helper()
	dir = filepath.ToSlash(t.TempDir()) + "/ck"
	s, err := store.Begin(t.Context(), dir, storage.BeginOptions{})
	must(t, err)
	t.Cleanup(func() { s.Abort() })
	return s, dir
}

func TestWriteBuffers(t *testing.T) {
	const page = storage.PageSize
	odd := pages(page, 0)
	for name, bufs := range map[string][][]byte{
		"none":              nil,
		"empty":             {nil, {}},
		"one":               {pages(2*page, 0)},
		"body and tail":     {pages(8*page, 0), pages(page, 0)},
		"empty in between":  {nil, pages(8*page, 0), nil, pages(page, 0), {}},
		"long tail":         {pages(8*page, 0), pages(page+5, 0)},
		"short body":        {pages(8*page-5, 0), pages(5, 0)},
		"memory at 512":     {pages(8*page, 512), pages(page, 512)},
		"memory at 8":       {pages(8*page, 8), pages(page, 8)},
		"memory at odd":     {pages(8*page, 0), pages(page, 1)},
		"many":              slices.Repeat([][]byte{odd[:5], nil, odd[7:]}, 100),
		"many whole pages":  slices.Repeat([][]byte{odd, pages(page, 512)}, 520), // more than one system call takes
		"larger than small": {pages(1<<20, 0), pages(page, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newStage(t, storage.Local())
			want := map[string][]byte{}
			for _, off := range []int64{0, 100} {
				data := append(make([]byte, off), bytes.Join(bufs, nil)...)
				for kind, size := range map[string]int64{"exact": int64(len(data)), "more": 3 << 20, "unknown": -1, "plain": -1} {
					file := fmt.Sprint(kind, off)
					w, err := s.Create(t.Context(), file, size)
					must(t, err)
					if a := storage.Alignment(w); a < 1 || a > 1<<20 || a&(a-1) != 0 {
						t.Errorf("alignment %d", a)
					}
					to := w
					if kind == "plain" {
						to = plain{w}
					}
					lengths := len(bytes.Join(bufs, []byte{0}))
					must(t, storage.WriteBuffers(t.Context(), to, off, bufs...))
					must(t, w.Close())
					if len(bytes.Join(bufs, []byte{0})) != lengths {
						t.Errorf("%s: the caller's buffers changed", file)
					}
					want[file] = data
					if int64(len(data)) == off {
						want[file] = nil // nothing was written
					}
				}
			}
			must(t, s.Commit(t.Context()))
			for file, want := range want {
				got, err := os.ReadFile(dir + "/" + file)
				must(t, err)
				if !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, want %d, or they differ", file, len(got), len(want))
				}
			}
		})
	}
}

// Several goroutines write ranges in any order, aligned and not, and the file has all of
// them.
func TestWriteBuffersProperty(t *testing.T) {
	s, dir := newStage(t, storage.Local())
	tmp, err := filepath.Glob(dir + storage.TempMarker + "-*")
	if err != nil || len(tmp) != 1 {
		t.Fatal(tmp, err)
	}
	files := 0
	rapid.Check(t, func(rt *rapid.T) {
		want := pages(rapid.IntRange(0, 6*storage.PageSize).Draw(rt, "size"), 0)
		cut := rapid.OneOf(rapid.IntRange(0, len(want)), rapid.Map(rapid.IntRange(0, len(want)/storage.PageSize), func(p int) int { return p * storage.PageSize }))
		cuts := rapid.SliceOfN(cut, 0, 8).Draw(rt, "cuts")
		cuts = append(cuts, 0, len(want))
		slices.Sort(cuts)
		files++
		file := fmt.Sprint(files)
		w, err := s.Create(t.Context(), file, -1)
		if err != nil {
			rt.Fatal(err)
		}
		var wg sync.WaitGroup
		var errs [16]error
		for i := 0; i+1 < len(cuts); i += 2 {
			wg.Go(func() {
				next := cuts[min(i+2, len(cuts)-1)]
				errs[i] = storage.WriteBuffers(t.Context(), w, int64(cuts[i]), want[cuts[i]:cuts[i+1]], want[cuts[i+1]:next])
			})
		}
		wg.Wait()
		if err := errors.Join(append(errs[:], w.Close())...); err != nil {
			rt.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(tmp[0], file)); err != nil || !bytes.Equal(got, want) {
			rt.Fatalf("cuts %v: %d bytes, want %d, or they differ; %v", cuts, len(got), len(want), err)
		}
	})
}

func TestWriteBuffersCancelled(t *testing.T) {
	s, _ := newStage(t, storage.Local())
	w, err := s.Create(t.Context(), "f", -1)
	must(t, err)
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, w := range []storage.Writer{w, plain{w}} {
		if err := storage.WriteBuffers(ctx, w, 0, []byte("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("%T: %v", w, err)
		}
	}
	if a := storage.Alignment(plain{w}); a != storage.PageSize {
		t.Errorf("alignment %d of a writer that knows none", a)
	}
}

// bare hides everything of a Reader but its interface.
type bare struct{ storage.Reader }

func TestReadBuffers(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir())
	data := pages(5000, 0)
	must(t, os.WriteFile(dir+"/f", data, 0o666))
	local, err := storage.Local().Open(t.Context(), dir+"/f")
	must(t, err)
	defer local.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range []storage.Reader{local, bare{local}} {
		bufs := [][]byte{make([]byte, 1000), nil, make([]byte, 2500), {}, make([]byte, 1)}
		must(t, storage.ReadBuffers(t.Context(), r, 7, bufs...))
		if !bytes.Equal(bytes.Join(bufs, nil), data[7:][:3501]) {
			t.Errorf("%T: the buffers are not what the file has", r)
		}
		must(t, storage.ReadBuffers(t.Context(), r, 7))
		if err := storage.ReadBuffers(t.Context(), r, 2000, bufs...); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%T: past the end: %v", r, err)
		}
		if err := storage.ReadBuffers(cancelled, r, 0, bufs...); !errors.Is(err, context.Canceled) {
			t.Errorf("%T: cancelled: %v", r, err)
		}
	}
}

func TestFileReader(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir())
	must(t, os.WriteFile(dir+"/f", []byte("hello"), 0o666))
	for name, store := range map[string]storage.Store{dir + "/f": storage.Local(), "f": storage.FS(os.DirFS(dir))} {
		r, err := store.Open(t.Context(), name)
		must(t, err)
		defer r.Close()
		f, ok := r.(storage.FileReader)
		if !ok {
			t.Fatalf("%T has no file", r)
		}
		p := make([]byte, 5)
		if _, err := f.File().ReadAt(p, 0); err != nil || string(p) != "hello" || r.Size() != 5 {
			t.Errorf("%q, %v", p, err)
		}
		if err := r.ReadAt(t.Context(), p, 1); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("past the end: %v", err)
		}
	}
}
