// Package memory refuses memory that the process cannot have: a Go program ends,
// and cannot recover, when the system denies it what it asks for, and what a
// damaged or hostile checkpoint asks for can be anything.
//
// The limit is the smallest of what the machine has, what the control group of the
// process may use, and the resource limits that the system holds it to.
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

// Small is how much is given in sum without a look at the limits, which takes some
// microseconds.
const Small = 32 << 20

// slack is what the runtime takes besides, as it divides memory in pieces of that
// size.
const slack = 64 << 20

var (
	// unseen is what has been given since the limits were last looked at.
	unseen atomic.Int64
	// reserved is what has been given and is not made yet, as far as is known.
	reserved atomic.Int64
	// looking is held by a look at the limits, so that each counts what the one before
	// has given.
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
// it at once: what they get is never more in sum than the limits allow.
func Reserve(n int64) (Reservation, error) {
	if n <= 0 {
		return Reservation{}, nil
	}
	for n <= Small {
		seen := unseen.Load()
		if seen+n > Small {
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

// Release says that the memory is made, or not wanted. It must be called once.
func (r Reservation) Release() { reserved.Add(-r.n) }

// ReleaseWith releases as much as the memory of b, which is made, and the rest once b is
// garbage: what is made of a document is made while that is there.
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

// look gives n bytes if all that may be not made yet fits into the limits with them.
func look(n int64) (Reservation, error) {
	if n > math.MaxInt64>>4 || int64(int(n)) != n {
		return Reservation{}, refused(n)
	}
	looking.Lock()
	defer looking.Unlock()
	seen := unseen.Load()
	if !fits(n) && !(worthCollecting(n) && fitsCollected(n)) {
		return Reservation{}, refused(n)
	}
	unseen.Add(-seen)
	reserved.Add(n)
	return Reservation{n}, nil
}

// patience is how much time at once goes into collecting garbage for small pieces that do
// not fit then either. It comes back with a quarter of the time that passes, so that a
// program that goes on after an error may find memory free again, and one that asks for
// many pieces in vain does little else.
const patience = 2 * time.Second

// spent is how much of patience was gone at the time of spentAt. Both belong to looking.
var (
	spent   time.Duration
	spentAt time.Time
)

// worthCollecting reports whether garbage may be collected for n bytes.
func worthCollecting(n int64) bool {
	return n > Small || spent-time.Since(spentAt)/4 < patience
}

// fitsCollected is fits without the garbage, which is no reason to refuse.
func fitsCollected(n int64) bool {
	start := time.Now()
	debug.FreeOSMemory()
	ok := fits(n)
	// The reservations of documents that were garbage end a little later.
	for wait := 0; !ok && wait < 10 && reserved.Load() > 0; wait++ {
		time.Sleep(time.Millisecond)
		ok = fits(n)
	}
	if !ok {
		now := time.Now()
		spent = max(0, spent-now.Sub(spentAt)/4) + now.Sub(start)
		spentAt = now
	}
	return ok
}

func refused(n int64) error { return fmt.Errorf("%w: %d bytes", fault.ErrNoMemory, n) }

// fits reports whether n bytes more are within the limits, with all that is reserved and
// all that was given without a look, as it may not be made yet.
func fits(n int64) bool {
	piece := n
	n += reserved.Load() + unseen.Load()
	held, free := heap()
	if n > limit()-held {
		return false
	}
	n += slack
	if piece <= Small {
		n -= free / 2 // the other half may be in pieces that are too small
	}
	return n <= 0 || probe(n)
}

// heap returns what the runtime has of the system's memory in use, and how much besides
// that it can use without a word to the system.
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
