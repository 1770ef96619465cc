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
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// stage begins a directory and returns it with its path.
func stage(t testing.TB) (storage.Stage, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dir")
	s, err := storage.Local().Begin(t.Context(), dir, false)
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
	if err := new(Engine).ReadAll(t.Context(), storage.Local(), dir, reads); err != nil {
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
		{}, {0}, {1}, {0, 0, 5}, {4096, 4095, 4097}, {pageValue, 3, pageValue - 1, pageValue + 1}, {unitBytes + 5, 1, unitBytes},
		{smallRead, smallRead - 1, 10, smallRead + 1}, slices.Repeat([]int{100, 3000}, 3000), {3 * unitBytes, 2 * pageValue},
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
		if items[i].Bound >= pageValue && e.Offset%storage.PageSize != 0 {
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
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 2*pageValue)), 0, 12).Draw(rt, "sizes")
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

func TestCopy(t *testing.T) {
	var src [][]byte
	for i, n := range []int{0, 1, 63, 64, 65, 4096, pageValue - 1, pageValue, unitBytes + 17, 3} {
		src = append(src, noise(n, uint64(i)))
	}
	src = append(src, nil)
	var m Memory
	e := &Engine{Meter: new(Meter)}
	got, release, err := e.Copy(t.Context(), src, &m)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for i := range src {
		total += int64(len(src[i]))
		if !bytes.Equal(got[i], src[i]) {
			t.Errorf("copy %d differs", i)
		}
		if len(src[i]) >= pageValue && address(got[i])%storage.PageSize != 0 {
			t.Errorf("copy %d does not start on a page", i)
		}
		if len(src[i]) > 0 {
			src[i][0]++
			if got[i][0] == src[i][0] {
				t.Errorf("copy %d shares its memory", i)
			}
			got[i] = append(got[i], 1) // must not reach into the next
		}
	}
	if n := e.Meter.Copied.Load(); n != total {
		t.Errorf("%d bytes count as copied, of %d", n, total)
	}
	for i := range src {
		if len(src[i]) > 1 && !bytes.Equal(got[i][1:len(src[i])], src[i][1:]) {
			t.Errorf("copy %d was overwritten", i)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := e.Copy(ctx, src, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	release()
}

// Memory is used again once it is released, never before, and not if it is too
// small.
func TestCopyMemory(t *testing.T) {
	var m Memory
	var e *Engine
	copyOf := func(n int) ([]byte, func()) {
		t.Helper()
		got, release, err := e.Copy(t.Context(), [][]byte{noise(n, 1)}, &m)
		if err != nil {
			t.Fatal(err)
		}
		return got[0], release
	}
	a, releaseA := copyOf(5000)
	b, releaseB := copyOf(5000)
	if &a[0] == &b[0] {
		t.Fatal("two copies share their memory")
	}
	releaseA()
	c, releaseC := copyOf(4000)
	if &c[0] != &a[0] {
		t.Error("memory that was released is not used again")
	}
	releaseB()
	releaseC()
	d, releaseD := copyOf(1 << 20)
	if &d[0] == &a[0] || &d[0] == &b[0] {
		t.Error("a copy is in memory that is too small for it")
	}
	releaseD()
	m.Free()
	if f, _ := copyOf(10); &f[0] == &d[0] {
		t.Error("memory was used after Free")
	}
}

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
		page(pageValue, 0), page(pageValue, 8), page(100, 0), page(pageValue+1, 0), page(pageValue+p-4, 0), page(pageValue+p-3, 0),
		page(pageValue-4, 0), page(pageValue-1, 0), page(5*unitBytes+p+7, 0), page(2*unitBytes, p), page(10, 0),
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

func TestEach(t *testing.T) {
	const n = 1000
	var inFlight, most, running atomic.Int64
	var started []int
	jobs := func(yield func(int) bool) {
		for i := range n {
			started = append(started, i) // never by two at once, or the race detector says so
			if !yield(i) {
				return
			}
		}
	}
	need := func(i int) int64 { return int64(i%7) << 10 }
	e := &Engine{Budget: 16 << 10}
	err := Each(t.Context(), e, jobs, need, func(_ context.Context, i int, memory []byte) error {
		running.Add(1)
		if int64(len(memory)) != need(i) {
			t.Errorf("job %d has %d bytes", i, len(memory))
		}
		now := inFlight.Add(need(i))
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		runtime.Gosched()
		inFlight.Add(-need(i))
		return nil
	})
	if err != nil || running.Load() != n || !slices.IsSorted(started) || len(started) != n {
		t.Errorf("%d of %d jobs: %v", running.Load(), n, err)
	}
	if most.Load() > e.Budget {
		t.Errorf("%d bytes were in use at once", most.Load())
	}
	boom := errors.New("boom")
	err = Each(t.Context(), nil, jobs, need, func(_ context.Context, i int, _ []byte) error {
		if i == 10 {
			return boom
		}
		return nil
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = Each(ctx, nil, jobs, need, func(context.Context, int, []byte) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Plans of one engine share its budget, also when a job needs more than all of it.
func TestEngineIsShared(t *testing.T) {
	e := &Engine{Budget: 1 << 20}
	var inFlight atomic.Int64
	group, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		group.Go(func() error {
			need := func(i int) int64 { return int64(i%5) << 18 } // up to the budget
			return runAll(ctx, e, 50, work[int]{
				need:  need,
				extra: func(i int) int64 { return int64(i%3) << 20 },
				do: func(_ context.Context, i int, buffer func() []byte) error {
					if now := inFlight.Add(need(i)); now > e.Budget {
						t.Errorf("%d bytes at once", now)
					}
					runtime.Gosched()
					inFlight.Add(-need(i))
					return nil
				},
			})
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestAppendErrors(t *testing.T) {
	boom := errors.New("boom")
	for name, bad := range map[string]Item{
		"error":     {Leaf: "params.w", Bound: 8, Append: func(dst []byte) ([]byte, error) { return nil, boom }},
		"too long":  {Leaf: "params.w", Bound: 8, Append: func(dst []byte) ([]byte, error) { return append(dst, make([]byte, 9)...), nil }},
		"very long": {Leaf: "params.w", Bound: 8, Append: func(dst []byte) ([]byte, error) { return append(dst, make([]byte, 1<<20)...), nil }},
	} {
		items := []Item{itemOf("a", noise(100, 1), 0), bad, itemOf("b", noise(100, 1), 0)}
		s, _ := stage(t)
		_, err := new(Engine).WritePacked(t.Context(), s, "f", items)
		s2, _ := stage(t)
		err2 := new(Engine).WriteFiles(t.Context(), s2, []string{"x/a", "x/b", "x/c"}, items)
		for _, err := range []error{err, err2} {
			var leaf *fault.Leaf
			if !errors.As(err, &leaf) || leaf.Path != "params.w" {
				t.Errorf("%s: %v", name, err)
			}
			if name == "error" && !errors.Is(err, boom) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// write puts files into a fresh directory.
func write(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func lfsPointer() []byte {
	return []byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 9\n")
}

func TestReadErrors(t *testing.T) {
	dir := write(t, map[string][]byte{"short": noise(100, 1), "lfs": lfsPointer(), "d/f": noise(100, 2)})
	bad := errors.New("bad chunk")
	for name, c := range map[string]struct {
		e    Extent
		dst  int
		done error
		want error
		text string
	}{
		"missing":     {Extent{"none", 0, 4}, 0, nil, fault.ErrCorrupt, "missing file none"},
		"directory":   {Extent{"d", 0, 4}, 0, nil, nil, ""},
		"short":       {Extent{"short", 90, 11}, 0, nil, fault.ErrCorrupt, "has 100 bytes, 101 are needed"},
		"beyond":      {Extent{"short", 1 << 40, 11}, 0, nil, fault.ErrCorrupt, "100 bytes"},
		"huge":        {Extent{"short", 0, 1 << 60}, 0, nil, fault.ErrCorrupt, "100 bytes"},
		"pointer":     {Extent{"lfs", 0, 1000}, 0, nil, fault.ErrIncomplete, "git lfs pull"},
		"pointer 2":   {Extent{"lfs", 0, 20}, 4, bad, fault.ErrIncomplete, "git lfs pull"},
		"decoder":     {Extent{"short", 0, 20}, 0, bad, bad, "bad chunk"},
		"decoder 2":   {Extent{"short", 0, 20}, 20, bad, bad, "bad chunk"},
		"negative":    {Extent{"short", -1, 20}, 0, nil, fault.ErrCorrupt, ""},
		"negative 2":  {Extent{"short", 0, -20}, 0, nil, fault.ErrCorrupt, ""},
		"overflow":    {Extent{"short", 1 << 62, 1 << 62}, 0, nil, fault.ErrCorrupt, ""},
		"destination": {Extent{"short", 0, 4}, 5, nil, fault.ErrCorrupt, ""},
		"escape":      {Extent{"../x", 0, 4}, 0, nil, fault.ErrCorrupt, "leads out"},
		"escape 2":    {Extent{"d/../../x", 0, 4}, 0, nil, fault.ErrCorrupt, "leads out"},
		"absolute":    {Extent{"/etc/passwd", 0, 4}, 0, nil, fault.ErrCorrupt, "leads out"},
		"empty":       {Extent{"", 0, 4}, 0, nil, fault.ErrCorrupt, "leads out"},
	} {
		// One that is good beside it, joined with it where the file is the same.
		read := func(failed func(error) error) (ok int32, err error) {
			var good atomic.Int32
			reads := []Read{
				{Leaf: "x.y", Extent: c.e, Dst: make([]byte, c.dst), Done: func([]byte) error { return c.done }, Failed: failed},
				{Leaf: "good", Extent: Extent{"d/f", 10, 10}, Done: func([]byte) error { good.Add(1); return nil }},
			}
			err = new(Engine).ReadAll(t.Context(), storage.Local(), dir, reads)
			return good.Load(), err
		}
		_, err := read(nil)
		var leaf *fault.Leaf
		if !errors.As(err, &leaf) || leaf.Path != "x.y" || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		var seen []error
		good, err := read(func(err error) error { seen = append(seen, err); return nil })
		if err != nil || len(seen) != 1 || !errors.As(seen[0], &leaf) || leaf.Path != "x.y" {
			t.Errorf("%s: Failed was told %v; result %v", name, seen, err)
		}
		if good != 1 {
			t.Errorf("%s: another read was done %d times", name, good)
		}
		stop := errors.New("stop")
		if _, err := read(func(error) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("%s: Failed says %v, result %v", name, stop, err)
		}
	}
}

func TestReadFile(t *testing.T) {
	data := noise(100, 1)
	dir := write(t, map[string][]byte{"f": data, "lfs": lfsPointer(), "empty": {}})
	for _, c := range []struct {
		name   string
		off, n int64
		want   []byte
		err    error
	}{
		{"f", 0, -1, data, nil}, {"f", 10, -1, data[10:], nil}, {"f", 10, 5, data[10:15], nil}, {"f", 100, 0, nil, nil}, {"empty", 0, -1, nil, nil},
		{"f", 100, -1, nil, nil}, {"f", 101, -1, nil, fault.ErrCorrupt}, {"f", 0, 101, nil, fault.ErrCorrupt}, {"f", -1, 5, nil, fault.ErrCorrupt},
		{"f", 1 << 62, 1 << 62, nil, fault.ErrCorrupt}, {"f", 0, 1 << 62, nil, fault.ErrCorrupt},
		{"lfs", 0, -1, nil, fault.ErrIncomplete}, {"lfs", 500, 10, nil, fault.ErrIncomplete},
		{"none", 0, -1, nil, os.ErrNotExist}, {"../f", 0, -1, nil, fault.ErrCorrupt}, {"/f", 0, -1, nil, fault.ErrCorrupt},
	} {
		got, err := ReadFile(t.Context(), storage.Local(), dir, c.name, c.off, c.n)
		if !bytes.Equal(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%s %d+%d: %d bytes, %v; want %d, %v", c.name, c.off, c.n, len(got), err, len(c.want), c.err)
		}
	}
}

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
		items = append(items, Item{Leaf: "x", Bound: pageValue, Append: func(dst []byte) ([]byte, error) {
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

func TestCancelRead(t *testing.T) {
	before := runtime.NumGoroutine()
	dir := write(t, map[string][]byte{"f": noise(4<<20, 1)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var called, failed atomic.Int32
	var reads []Read
	for i := range 4000 {
		reads = append(reads, Read{
			Leaf: "x", Extent: Extent{"f", int64(i) * 1000, 990},
			Failed: func(error) error { failed.Add(1); return nil },
			Done: func([]byte) error {
				if called.Add(1) == 20 {
					cancel()
				}
				return nil
			},
		})
	}
	if err := new(Engine).ReadAll(ctx, storage.Local(), dir, reads); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := failed.Load(); n > 0 {
		t.Errorf("%d reads count as failed", n)
	}
	settle(t, before)
}

// Ranges may overlap, as those of tied weights do, whoever has a destination.
func TestReadOverlapping(t *testing.T) {
	data := noise(200_000, 1)
	dir := write(t, map[string][]byte{"f": data})
	rapid.Check(t, func(t *rapid.T) {
		var reads []Read
		type want struct {
			dst, rest  []byte
			off, len   int
			wasCorrect bool
		}
		wants := make([]want, rapid.IntRange(1, 20).Draw(t, "n"))
		for i := range wants {
			w := &wants[i]
			w.off = rapid.SampledFrom([]int{0, 100, 40_000, 40_004, 100_000}).Draw(t, "off")
			w.len = rapid.SampledFrom([]int{0, 4, 36, 39_900, 40_000, 60_000}).Draw(t, "len")
			w.dst = make([]byte, rapid.SampledFrom([]int{0, w.len, w.len / 2, max(0, w.len-4)}).Draw(t, "dst"))
			reads = append(reads, Read{Leaf: "x", Extent: Extent{"f", int64(w.off), int64(w.len)}, Dst: w.dst, Done: func(rest []byte) error {
				w.wasCorrect = bytes.Equal(w.dst, data[w.off:][:len(w.dst)]) && bytes.Equal(rest, data[w.off+len(w.dst):w.off+w.len])
				return nil
			}})
		}
		if err := new(Engine).ReadAll(context.Background(), storage.Local(), dir, reads); err != nil {
			t.Fatal(err)
		}
		for i, w := range wants {
			if !w.wasCorrect {
				t.Errorf("read %d of %d+%d, %d bytes of it into place, is wrong", i, w.off, w.len, len(w.dst))
			}
		}
	})
}
