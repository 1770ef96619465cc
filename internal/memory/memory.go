// Package memory refuses memory that the process cannot have. When the system denies
// memory to a Go program, the program ends and cannot recover; and a damaged or hostile
// checkpoint can ask for any amount.
//
// The limit is the smallest of what the machine has, what the control group of the
// process may use beside what other processes in it hold, and the resource limits that the
// system holds the process to.
package memory

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// Small is how many bytes, in sum, are given between two looks at the limits. A look takes
// some microseconds. Where the process may have less than half a gigabyte it is less.
const Small = 32 << 20

// slack is added to what is asked of the system: the runtime takes memory in pieces of
// that size.
const slack = 64 << 20

var (
	// unseen counts the bytes that were given since the last look at the limits.
	unseen atomic.Int64
	// reserved counts the bytes that were given and are not made yet, as far as is known.
	reserved atomic.Int64
	// looking is locked during a look at the limits, so that each look counts the bytes
	// that the one before has given.
	looking sync.Mutex
)

// Bytes returns n bytes of zeros, or an error that matches orbax.ErrNoMemory.
func Bytes(n int64) ([]byte, error) {
	r, err := Reserve(n)
	if err != nil {
		return nil, err
	}
	defer r.Release()
	return make([]byte, n), nil
}

// Check returns an error that matches orbax.ErrNoMemory if the process cannot have
// n bytes more, which may be in several pieces. It is for what is made at once;
// [Reserve] is for what takes longer.
func Check(n int64) error {
	r, err := Reserve(n)
	r.Release()
	return err
}

// Covers returns an error that matches orbax.ErrNoMemory if the process cannot have
// factor bytes for each of n.
func Covers(n, factor int64) error {
	r, err := ReserveFor(n, factor)
	r.Release()
	return err
}

// Reservation is memory that was given and is being made. Until its holder releases it,
// nothing else is given of it. The zero value is of no memory.
type Reservation struct{ n int64 }

// Reserve returns a reservation of n bytes, which may be in several pieces, or an error
// that matches orbax.ErrNoMemory if the process cannot have them. Goroutines may call
// it at once: what they get is never more in sum than the limits allow. Where the bytes do
// not fit beside what others have reserved, Reserve waits for them, two seconds at most.
func Reserve(n int64) (Reservation, error) {
	if n <= 0 {
		return Reservation{}, nil
	}
	for n <= Small {
		seen := unseen.Load()
		if seen+n > min(Small, limit()/16) {
			break
		}
		if unseen.CompareAndSwap(seen, seen+n) {
			reserved.Add(n)
			return Reservation{n}, nil
		}
	}
	return look(n)
}

// ReserveFor is Reserve of factor bytes for each of n.
func ReserveFor(n, factor int64) (Reservation, error) {
	if n > math.MaxInt64/factor {
		return Reservation{}, refused(n)
	}
	return Reserve(n * factor)
}

// Release ends the reservation, when the memory is made or not wanted. It must be called
// once.
func (r Reservation) Release() { reserved.Add(-r.n) }

// ReleaseWith releases len(b) bytes at once, as b is made, and the rest when b is garbage.
// It is for a document b, which stays in use until everything is made of it.
func (r Reservation) ReleaseWith(b []byte) {
	rest := Reservation{r.n - min(r.n, int64(len(b)))}
	if len(b) == 0 || rest.n < noted {
		r.Release()
		return
	}
	Reservation{r.n - rest.n}.Release()
	runtime.AddCleanup(&b[0], Reservation.Release, rest)
}

// noted is the least amount that ReleaseWith keeps reserved: a cleanup takes memory too.
const noted = 1 << 20

// look compares the limits with n bytes and all bytes that may be not made yet, and gives
// the n bytes if there is room for all.
func look(n int64) (Reservation, error) {
	if n > math.MaxInt64>>4 || int64(int(n)) != n {
		return Reservation{}, refused(n)
	}
	looking.Lock()
	defer looking.Unlock()
	seen := unseen.Load()
	if !fits(n, reserved.Load()+seen) {
		var ok bool
		if seen, ok = fitsLater(n); !ok {
			return Reservation{}, refused(n)
		}
	}
	unseen.Add(-seen)
	looks++
	reserved.Add(n)
	return Reservation{n}, nil
}

const (
	// patience is how much time at once goes into collecting garbage and waiting for
	// others. It comes back with a quarter of the time that passes, so that a program that
	// goes on after an error may find memory free again, and one that asks for many pieces
	// in vain does little else.
	patience = 2 * time.Second
	// making is how long a piece takes, at most, to be made.
	making = 250 * time.Millisecond
)

// These belong to looking.
var (
	// spent is how much of patience was gone at the time of spentAt.
	spent   time.Duration
	spentAt time.Time
	// looks is how many looks have given something.
	looks int
)

// gone returns how much of patience is gone now.
func gone(now time.Time) time.Duration { return max(0, spent-now.Sub(spentAt)/4) }

// fitsLater collects garbage, waits for others to make or release what they have reserved,
// and looks again. So requests that fit alone but not together, as of the steps of a run
// that are looked at together, follow one another. While it waits others may look, so that
// a small piece that fits does not wait behind a large one that does not. It returns what
// was unseen when it looked last.
func fitsLater(n int64) (seen int64, ok bool) {
	start, before, at := time.Now(), unseen.Load(), looks
	left := patience - gone(start)
	if left <= 0 && n <= Small {
		return 0, false
	}
	for pause := time.Millisecond; ; pause *= 2 {
		debug.FreeOSMemory()
		seen = unseen.Load()
		others := reserved.Load() + seen
		if time.Since(start) >= making && looks == at {
			others -= before // by now it is made
		}
		if fits(n, others) {
			return seen, true
		}
		if waited := time.Since(start); waited+pause > left || !fits(n, 0) {
			now := start.Add(waited)
			spent, spentAt = gone(now)+waited, now
			return 0, false
		}
		looking.Unlock()
		time.Sleep(pause)
		looking.Lock()
	}
}

func refused(n int64) error { return fmt.Errorf("%w: %d bytes", fault.ErrNoMemory, n) }

// fits reports whether n bytes more are within the limits, beside the given number of
// bytes that may be not made yet.
func fits(n, others int64) bool {
	piece := n
	n += others
	held, free := heap()
	if n > limit()-max(held, inGroup()) {
		return false
	}
	n += slack
	if piece <= Small {
		n -= free / 2 // the other half may be in pieces that are too small
	}
	return n <= 0 || probe(n)
}

// heap returns how many bytes of the system's memory the runtime uses, and how many more
// it can use without asking the system.
func heap() (held, free int64) {
	s := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	var v [3]uint64
	for i := range s {
		if s[i].Value.Kind() == metrics.KindUint64 {
			v[i] = s[i].Value.Uint64()
		}
	}
	return int64(v[0] - v[1] - v[2]), int64(v[1] + v[2])
}
