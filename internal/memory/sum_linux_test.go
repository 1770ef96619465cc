package memory

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/race"
	"github.com/go-orbax/orbax/internal/testenv"
)

// inChild runs test in a process of its own that may have 512 MiB.
func inChild(t *testing.T, test func()) {
	if race.Enabled {
		t.Skip("the race detector needs more memory than the limit leaves")
	}
	if _, _, ok := testenv.Child(); ok {
		if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: 512 << 20, Max: 512 << 20}); err != nil {
			t.Skip(err)
		}
		test()
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$")
	testenv.SetChild(cmd, "little memory", "")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out[:min(len(out), 3000)])
	}
}

// Pieces that are small each do not end the process in sum, and there is memory again
// once they are garbage.
func TestSmallPieces(t *testing.T) {
	inChild(t, func() {
		for _, size := range []int64{Small, Small - 1, 20 << 20, 1 << 20, 100 << 10, Small} {
			var kept [][]byte
			var got int64
			for {
				b, err := Bytes(size)
				if errors.Is(err, fault.ErrNoMemory) {
					break
				}
				kept, got = append(kept, b), got+size
				if got > 512<<20 {
					t.Fatalf("%d bytes in pieces of %d", got, size)
				}
			}
			if got < 150<<20 {
				t.Errorf("only %d bytes in pieces of %d", got, size)
			}
			runtime.KeepAlive(kept)
		}
	})
}

// The sum holds for goroutines that ask at once too, whether they make what they get in
// one piece or take their time.
func TestSmallPiecesAtOnce(t *testing.T) {
	inChild(t, func() {
		var group sync.WaitGroup
		var failed, got [16]int
		var kept [16][][]byte
		for i := range kept {
			group.Go(func() {
				for failed[i] < 20 {
					size := int64(3+2*i) << 20 / 2
					if i%2 == 0 {
						b, err := Bytes(size)
						if err != nil {
							failed[i]++
							continue
						}
						kept[i] = append(kept[i], b)
					} else {
						r, err := Reserve(size)
						if err != nil {
							failed[i]++
							continue
						}
						time.Sleep(time.Millisecond)
						kept[i] = append(kept[i], make([]byte, size))
						r.Release()
					}
					got[i]++
				}
			})
		}
		group.Wait()
		total := 0
		for _, n := range got {
			total += n
		}
		if total < 8 {
			t.Errorf("%v pieces", got)
		}
		runtime.KeepAlive(kept)
	})
}

// What is reserved is not given to others, small or large.
func TestReserve(t *testing.T) {
	inChild(t, func() {
		r, err := Reserve(300 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Reserve(200 << 20); !errors.Is(err, fault.ErrNoMemory) {
			t.Errorf("as much again: %v", err)
		}
		if err := Covers(10<<20, 20); !errors.Is(err, fault.ErrNoMemory) {
			t.Errorf("as much for others: %v", err)
		}
		var small []Reservation
		for range 20 {
			if s, err := Reserve(20 << 20); err == nil {
				small = append(small, s)
			}
		}
		if n := len(small); n == 0 || n > 9 {
			t.Errorf("%d pieces of 20 MiB besides", n)
		}
		for _, s := range append(small, r) {
			s.Release()
		}
		if r, err = Reserve(300 << 20); err != nil {
			t.Errorf("after a release: %v", err)
		}
		r.Release()
	})
}

// What does not fit beside what others have waits for them, for a while.
func TestReserveWaits(t *testing.T) {
	inChild(t, func() {
		for _, hold := range []func(Reservation){
			func(r Reservation) { time.Sleep(300 * time.Millisecond); r.Release() },
			func(r Reservation) { r.ReleaseWith(make([]byte, 1<<20)) }, // garbage
		} {
			for _, n := range []int64{1 << 20, 200 << 20} {
				r, err := Reserve(300 << 20)
				if err != nil {
					t.Fatal(err)
				}
				var small []Reservation // all that is given without a look
				for range Small >> 20 {
					if s, err := Reserve(1 << 20); err == nil {
						small = append(small, s)
					}
				}
				done := make(chan struct{})
				go func() {
					hold(r)
					for _, s := range small {
						s.Release()
					}
					close(done)
				}()
				again, err := Reserve(n)
				if err != nil {
					t.Errorf("%d bytes: %v", n, err)
				}
				again.Release()
				<-done
			}
		}
	})
}

// Others may look while a large piece waits, so that a small one does not wait behind it.
func TestOthersLookMeanwhile(t *testing.T) {
	inChild(t, func() {
		r, err := Reserve(250 << 20)
		if err != nil {
			t.Fatal(err)
		}
		var done atomic.Bool
		go func() {
			if large, err := Reserve(180 << 20); err == nil {
				large.Release()
			}
			done.Store(true)
		}()
		for !done.Load() && looking.TryLock() { // until it looks
			looking.Unlock()
			runtime.Gosched()
		}
		times, free := 0, false
		for ; !done.Load() && !free; times++ {
			if free = looking.TryLock(); free {
				looking.Unlock()
			}
			time.Sleep(time.Millisecond)
		}
		if !free && times > 20 {
			t.Errorf("looked at %d times, and never free", times)
		}
		r.Release()
	})
}

// A reservation for a document lasts as long as the document.
func TestReleaseWith(t *testing.T) {
	before := reserved.Load()
	doc, err := Bytes(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ReserveFor(int64(len(doc)), 48)
	if err != nil {
		t.Fatal(err)
	}
	r.ReleaseWith(doc)
	runtime.GC()
	if got, want := reserved.Load()-before, int64(47*len(doc)); got != want {
		t.Errorf("%d bytes reserved, want %d", got, want)
	}
	runtime.KeepAlive(doc)
	for range 1000 {
		if reserved.Load() == before {
			break
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	if n := reserved.Load() - before; n != 0 {
		t.Errorf("%d bytes reserved for garbage", n)
	}
	for _, n := range []int64{0, 1, noted - 1} { // too little to note
		small, err := Reserve(n)
		if err != nil {
			t.Fatal(err)
		}
		small.ReleaseWith(make([]byte, min(n, 1)))
	}
	if n := reserved.Load() - before; n != 0 {
		t.Errorf("%d bytes reserved", n)
	}
}

func BenchmarkReserve(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		r, err := Reserve(64 << 10)
		if err != nil {
			b.Fatal(err)
		}
		r.Release()
	}
}
