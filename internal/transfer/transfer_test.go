package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// stage begins a directory and returns it with its path.
func stage(t testing.TB) (storage.Stage, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dir")
	s, err := storage.Local().Begin(t.Context(), dir, storage.BeginOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abort() })
	return s, dir
}

func commit(t testing.TB, s storage.Stage) {
	t.Helper()
	if err := s.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(b)
	return b
}

// itemOf is an item whose encoding is data; slack is by how much its bound is
// too large.
func itemOf(leaf string, data []byte, slack int) Item {
	return Item{Leaf: leaf, Bound: len(data) + slack, Append: func(dst []byte) ([]byte, error) { return append(dst, data...), nil }}
}

// readBack reads each extent in one of the ways that there are and returns what
// came.
func readBack(t testing.TB, dir string, extents []Extent) [][]byte {
	t.Helper()
	got := make([][]byte, len(extents))
	steps := make([][]byte, len(extents))
	done := make([]atomic.Int32, len(extents))
	var reads []Read
	for i, e := range extents {
		got[i] = make([]byte, e.Length)
		direct := []int{0, int(e.Length), int(e.Length / 2), max(0, int(e.Length)-4)}[i%4]
		r := Read{Leaf: fmt.Sprint(i), Extent: e, Dst: got[i][:direct]}
		if i%3 > 0 {
			r.Step = func(piece []byte) { steps[i] = append(steps[i], piece...) }
		}
		r.Done = func(rest []byte) error {
			done[i].Add(1)
			if n := copy(got[i][direct:], rest); n != len(rest) || direct+n != len(got[i]) {
				return fmt.Errorf("the rest has %d bytes, want %d", len(rest), len(got[i])-direct)
			}
			if r.Step != nil && !bytes.Equal(steps[i], got[i][:direct]) {
				return errors.New("the steps did not see the data")
			}
			return nil
		}
		reads = append(reads, r)
	}
	rand.Shuffle(len(reads), func(i, j int) { reads[i], reads[j] = reads[j], reads[i] })
	if err := new(Engine).ReadAll(t.Context(), storage.At(storage.Local(), dir), reads); err != nil {
		t.Fatal(err)
	}
	for i := range done {
		if n := done[i].Load(); n != 1 {
			t.Fatalf("read %d was done %d times", i, n)
		}
	}
	return got
}

func TestRoundTrip(t *testing.T) {
	for _, sizes := range [][]int{
		{}, {0}, {1}, {0, 0, 5}, {4096, 4095, 4097}, {PageValue, 3, PageValue - 1, PageValue + 1}, {diskUnit + 5, 1, diskUnit},
		{cheapRead, cheapRead - 1, 10, cheapRead + 1}, slices.Repeat([]int{100, 3000}, 3000), {3 * diskUnit, 2 * PageValue},
	} {
		for _, slack := range []int{0, 3000} {
			s, dir := stage(t)
			var items []Item
			var want [][]byte
			for i, n := range sizes {
				want = append(want, noise(n, uint64(i)))
				items = append(items, itemOf(fmt.Sprint(i), want[i], slack))
			}
			extents, err := new(Engine).WritePacked(t.Context(), s, "d/data", items)
			if err != nil {
				t.Fatal(err)
			}
			commit(t, s)
			info, err := os.Stat(filepath.Join(dir, "d/data"))
			if err != nil {
				t.Fatal(err)
			}
			if info.Size()%storage.PageSize != 0 {
				t.Errorf("the file has %d bytes, no whole number of pages", info.Size())
			}
			checkExtents(t, extents, items, info.Size())
			for i, b := range readBack(t, dir, extents) {
				if !bytes.Equal(b, want[i]) {
					t.Fatalf("sizes %.6v: item %d differs", sizes, i)
				}
			}
		}
	}
}

// checkExtents checks that values do not overlap, that large ones begin on
// pages, and that nothing but zeros lies between.
func checkExtents(t testing.TB, extents []Extent, items []Item, size int64) {
	t.Helper()
	for i, e := range extents {
		if items[i].Bound >= PageValue && e.Offset%storage.PageSize != 0 {
			t.Errorf("item %d of %d bytes lies at %d", i, e.Length, e.Offset)
		}
	}
	sorted := slices.Clone(extents)
	slices.SortFunc(sorted, func(a, b Extent) int { return int(a.Offset + a.Length - b.Offset - b.Length) })
	end := int64(0)
	for _, e := range sorted {
		if e.Offset < end {
			t.Fatalf("%+v begins before %d", e, end)
		}
		end = e.Offset + e.Length
	}
	if end > size {
		t.Errorf("the file has %d bytes, the last item ends at %d", size, end)
	}
}

func TestRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 2*PageValue)), 0, 12).Draw(rt, "sizes")
		s, dir := stage(t)
		var items []Item
		var want [][]byte
		for i, n := range sizes {
			want = append(want, noise(n, uint64(i)))
			items = append(items, itemOf(fmt.Sprint(i), want[i], i%2*n))
		}
		extents, err := new(Engine).WritePacked(t.Context(), s, "f", items)
		if err != nil {
			rt.Fatal(err)
		}
		commit(t, s)
		for i, b := range readBack(t, dir, extents) {
			if !bytes.Equal(b, want[i]) {
				rt.Fatalf("item %d differs", i)
			}
		}
	})
}

// Memory is used again once it is released, never before, and not if it is too
// small.
// bodyItem is an item whose encoding is data and 4 bytes more, data being written
// from where it lies if it can.
func bodyItem(data []byte) Item {
	tail := func(dst []byte) []byte { return append(dst, "tail"...) }
	return Item{
		Leaf: "x", Bound: len(data) + 4, Least: len(data) + 4, Body: data, Tail: tail,
		Append: func(dst []byte) ([]byte, error) { return tail(append(dst, data...)), nil },
	}
}

func TestBodies(t *testing.T) {
	page := func(n, skip int) []byte {
		b := pageBuffer(n + skip)[skip : n+skip]
		copy(b, noise(n, uint64(n+skip)))
		return b
	}
	const p = storage.PageSize
	bodies := [][]byte{
		page(PageValue, 0), page(PageValue, 8), page(100, 0), page(PageValue+1, 0), page(PageValue+p-4, 0), page(PageValue+p-3, 0),
		page(PageValue-4, 0), page(PageValue-1, 0), page(5*diskUnit+p+7, 0), page(2*diskUnit, p), page(10, 0),
	}
	var items []Item
	var names []string
	for i, b := range bodies {
		items, names = append(items, bodyItem(b)), append(names, fmt.Sprint("c/", i))
	}
	check := func(dir string, extents []Extent) {
		t.Helper()
		for i, got := range readBack(t, dir, extents) {
			if want := string(bodies[i]) + "tail"; string(got) != want {
				t.Errorf("body %d of %d bytes: %d bytes differ", i, len(bodies[i]), len(got))
			}
		}
	}
	s, dir := stage(t)
	e := &Engine{Meter: new(Meter)}
	extents, err := e.WritePacked(t.Context(), s, "f", items)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s)
	info, err := os.Stat(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	checkExtents(t, extents, items, info.Size())
	check(dir, extents)
	if m := e.Meter; m.Moved.Load() != info.Size() || m.Planned.Load() < info.Size() || m.Files.Load() != 1 {
		t.Errorf("moved %d and planned %d in %d files, the file has %d", m.Moved.Load(), m.Planned.Load(), m.Files.Load(), info.Size())
	}
	if size := packedSize(items); size > info.Size() || size < info.Size()-int64(len(items))*p {
		t.Errorf("the file has %d bytes, %d were expected", info.Size(), size)
	}
	items[8].Least = 0 // as if it were compressed
	if size := packedSize(items); size >= 0 {
		t.Errorf("%d bytes were expected of what may be compressed", size)
	}

	s, dir = stage(t)
	if err := e.WriteFiles(t.Context(), s, names, items); err != nil {
		t.Fatal(err)
	}
	commit(t, s)
	for i := range extents {
		extents[i] = Extent{names[i], 0, int64(len(bodies[i]) + 4)}
		if info, err := os.Stat(filepath.Join(dir, names[i])); err != nil || info.Size() != extents[i].Length {
			t.Errorf("file %d: %v, %v", i, info, err)
		}
	}
	check(dir, extents)
}

// Plans of one engine share its budget, also when a job needs more than all of it.
func TestAppendErrors(t *testing.T) {
	boom := errors.New("boom")
	for name, bad := range map[string]Item{
		"error":     {Leaf: "params.w", Bound: 8, Append: func(dst []byte) ([]byte, error) { return nil, boom }},
		"too long":  {Leaf: "params.w", Bound: 8, Append: func(dst []byte) ([]byte, error) { return append(dst, make([]byte, 9)...), nil }},
		"very long": {Leaf: "params.w", Bound: 8, Append: func(dst []byte) ([]byte, error) { return append(dst, make([]byte, 1<<20)...), nil }},
	} {
		t.Run(name, func(t *testing.T) {
			items := []Item{itemOf("a", noise(100, 1), 0), bad, itemOf("b", noise(100, 1), 0)}
			s, _ := stage(t)
			_, err := new(Engine).WritePacked(t.Context(), s, "f", items)
			s2, _ := stage(t)
			err2 := new(Engine).WriteFiles(t.Context(), s2, []string{"x/a", "x/b", "x/c"}, items)
			for _, err := range []error{err, err2} {
				var leaf *fault.Leaf
				if !errors.As(err, &leaf) || leaf.Path != "params.w" {
					t.Error(err)
				}
				if name == "error" && !errors.Is(err, boom) {
					t.Error(err)
				}
			}
		})
	}
}

// write puts files into a fresh directory.
// settle waits until no more goroutines run than before.
func settle(t *testing.T, before int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestCancelWrite(t *testing.T) {
	before := runtime.NumGoroutine()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var called atomic.Int32
	var items []Item
	for range 1000 {
		items = append(items, Item{Leaf: "x", Bound: PageValue, Append: func(dst []byte) ([]byte, error) {
			if called.Add(1) == 20 {
				cancel(cause)
			}
			return append(dst, make([]byte, 100)...), nil
		}})
	}
	s, _ := stage(t)
	if _, err := new(Engine).WritePacked(ctx, s, "f", items); !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := called.Load(); n > 200 {
		t.Errorf("%d of 1000 items were encoded", n)
	}
	if err := s.Abort(); err != nil {
		t.Error(err)
	}
	settle(t, before)
}

// Ranges may overlap, as those of tied weights do, whoever has a destination.
