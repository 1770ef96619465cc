package transfer

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage"
)

func TestCopy(t *testing.T) {
	var src [][]byte
	for i, n := range []int{0, 1, 63, 64, 65, 4096, PageValue - 1, PageValue, diskUnit + 17, 3} {
		src = append(src, noise(n, uint64(i)))
	}
	src = append(src, nil)
	var m Memory
	e := &Engine{Meter: new(Meter)}
	got, err := e.Copy(t.Context(), src, &m)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for i := range src {
		total += int64(len(src[i]))
		if !bytes.Equal(got[i], src[i]) {
			t.Errorf("copy %d differs", i)
		}
		if len(src[i]) >= PageValue && address(got[i])%storage.PageSize != 0 {
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
	if _, err := e.Copy(ctx, src, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCopyMemory(t *testing.T) {
	var m Memory
	copyOf := func(n int) ([]byte, func()) {
		t.Helper()
		var e Engine
		got, err := e.Copy(t.Context(), [][]byte{noise(n, 1)}, &m)
		if err != nil {
			t.Fatal(err)
		}
		return got[0], e.Release
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
	// A small copy leaves the large memory to others.
	small, releaseSmall := copyOf(10)
	if &small[0] == &d[0] {
		t.Error("a small copy took the largest memory")
	}
	releaseSmall()
	releaseSmall()
	e, _ := copyOf(10)
	f, _ := copyOf(10)
	if &e[0] == &f[0] {
		t.Error("memory that was released twice is used twice")
	}
	m.Free()
	if g, _ := copyOf(10); &g[0] == &d[0] {
		t.Error("memory was used after Free")
	}
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
		t.Errorf("%d of %d jobs ran, in the order %v: %v; want all, in order", running.Load(), n, started, err)
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

func TestEngineIsShared(t *testing.T) {
	e := &Engine{Budget: 1 << 20}
	var inFlight atomic.Int64
	group, ctx := parallel.WithContext(t.Context())
	for range 4 {
		group.Go(func() error {
			need := func(i int) int64 { return int64(i%5) << 18 } // up to the budget
			return runAll(ctx, e, 50, work[int]{
				need:  need,
				extra: func(i int) int64 { return int64(i%3) << 20 },
				do: func(_ context.Context, i int, buffer func() ([]byte, error)) error {
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
