package view

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// lazyGrid returns an array of 1000 rows in chunks of 100, to be read row by row.
func lazyGrid(t *testing.T) (*grid, *Leaf) {
	t.Helper()
	data, err := array.New(array.Int32, []int{1000, 4}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data.Bytes() {
		data.Bytes()[i] = byte(i * 7)
	}
	// The chunks hold columns, so that a row is never one of their runs.
	g := &grid{data: data, chunk: []int{100, 2}}
	l, err := NewArray(LeafMetadata{Path: tree.Path{{Name: "x"}}, Kind: tree.KindArray, DType: array.Int32, Shape: data.Shape()}, &filed{g})
	if err != nil {
		t.Fatal(err)
	}
	v, err := New("", []*Leaf{l}).Lazy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g, v.(map[string]any)["x"].(*Leaf)
}

// filed is a grid whose parts count as not yet read: only such go through the
// cache.
type filed struct{ *grid }

func (f *filed) Chunks(ctx context.Context, off, size []int) iter.Seq2[*Chunk, error] {
	return func(yield func(*Chunk, error) bool) {
		for p, err := range f.grid.Chunks(ctx, off, size) {
			if err == nil {
				p.Form = filedForm{f.grid, p.Inline}
				p.Inline = nil
				p.Dir = emptyDir
				p.File = "file"
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

type filedForm struct {
	*grid
	elements []byte
}

func (f filedForm) Decode(_ *Chunk, dst, _ []byte) error {
	f.decoded.Add(1)
	copy(dst, f.elements)
	return nil
}
func (filedForm) Direct(*Chunk, []byte) (func([]byte), func([]byte) error) { return nil, nil }
func (filedForm) Describe(_ *Chunk, err error) error                       { return err }

// A leaf that is read row by row decodes each of its chunks once, also if
// several goroutines do it.
func TestLazyDecodesOnce(t *testing.T) {
	g, l := lazyGrid(t)
	var wg sync.WaitGroup
	for first := range 2 {
		wg.Go(func() {
			for row := first; row < 1000; row += 2 {
				a, err := l.Region(t.Context(), []int{row, 0}, []int{1, 4})
				if err != nil {
					t.Error(err)
					return
				}
				want := g.data.Bytes()[row*16:][:16]
				if string(a.Bytes()) != string(want) {
					t.Errorf("row %d: %v, want %v", row, a.Bytes(), want)
				}
			}
		})
	}
	wg.Wait()
	if n := g.decoded.Load(); n != 20 {
		t.Errorf("%d chunks were decoded, there are 20", n)
	}
	if c := l.cache; c.bytes != 0 || len(c.entries) != 0 {
		t.Errorf("%d entries of %d bytes are left", len(c.entries), c.bytes)
	}
}

// What a cancelled read has begun does not spoil the next one.
func TestLazyAfterCancel(t *testing.T) {
	_, l := lazyGrid(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Region(ctx, []int{0, 0}, []int{1, 4}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := l.Region(t.Context(), []int{0, 0}, []int{1, 4}); err != nil {
		t.Error(err)
	}
}

var emptyDir = &Dir{At: storage.At(storage.FS(fstest.MapFS{"file": {}}), ".")}
