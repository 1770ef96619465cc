// Package memory refuses memory that the process cannot have. When the system denies
// memory to a Go program, the program ends and cannot recover, and a damaged or hostile
// checkpoint can ask for any amount.
//
// The limit is the smallest of three: the memory of the machine, the memory of the
// control group without the part that other processes in it hold, and the resource limits
// of the process.
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

// Small is the number of bytes that are granted, in sum, between two checks of the
// limits. A check takes some microseconds. If the process may have less than half a
// gigabyte, the number is smaller.
const Small = 32 << 20

// slack is added to each request to the system, because the runtime takes memory in
// pieces of that size.
const slack = 64 << 20

var (
	// unseen counts the bytes that were granted since the last check of the limits.
	unseen atomic.Int64
	// reserved counts the bytes that were granted and, as far as is known, not allocated
	// yet.
	reserved atomic.Int64
	// looking is locked during a check of the limits, so that each check counts the bytes
	// that the one before has granted.
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

// Check returns an error that matches orbax.ErrNoMemory if the process cannot have n more
// bytes, which may be in several pieces. It is for memory that is allocated at once.
// [Reserve] is for memory that is allocated over some time.
func Check(n int64) error {
	r, err := Reserve(n)
	r.Release()
	return err
}

// Covers returns an error that matches orbax.ErrNoMemory if the process cannot have
// factor bytes for each of n items.
func Covers(n, factor int64) error {
	r, err := ReserveFor(n, factor)
	r.Release()
	return err
}

// Reservation is memory that was granted and is being allocated. Until it is released,
// the memory is granted to no other caller. The zero value reserves no memory.
type Reservation struct{ n int64 }

// Reserve reserves n bytes, which may be in several pieces. It returns an error that
// matches orbax.ErrNoMemory if the process cannot have them. Several goroutines may call
// Reserve at the same time; together they never get more than the limits allow. If the
// bytes do not fit next to the reservations of others, Reserve waits for these, two
// seconds at most.
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

// ReserveFor is [Reserve] with factor bytes for each of n items.
func ReserveFor(n, factor int64) (Reservation, error) {
	if n > math.MaxInt64/factor {
		return Reservation{}, refused(n)
	}
	return Reserve(n * factor)
}

// Release ends the reservation. The holder must call it once, when the memory has been
// allocated or is not wanted.
func (r Reservation) Release() { reserved.Add(-r.n) }

// ReleaseWith releases len(b) bytes at once, because b is allocated, and the rest when b
// is garbage. It is for a document b that stays in use until everything has been made
// from it.
func (r Reservation) ReleaseWith(b []byte) {
	rest := Reservation{r.n - min(r.n, int64(len(b)))}
	if len(b) == 0 || rest.n < noted {
		r.Release()
		return
	}
	Reservation{r.n - rest.n}.Release()
	runtime.AddCleanup(&b[0], Reservation.Release, rest)
}

// noted is the smallest amount that ReleaseWith keeps reserved, because a cleanup takes
// memory too.
const noted = 1 << 20

// look compares the limits with n bytes and all bytes that may not be allocated yet. If
// there is room for all, it grants the n bytes.
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
	// patience is the time that may go into collecting garbage and waiting for others in
	// a row. It recovers at a quarter of the time that passes. A program that continues
	// after an error may therefore find memory free again, and a program that asks for
	// many pieces in vain spends little time waiting.
	patience = 2 * time.Second
	// making is the longest time that the allocation of a piece takes.
	making = 250 * time.Millisecond
)

// The lock looking guards these.
var (
	// spent is the part of patience that was used at the time spentAt.
	spent   time.Duration
	spentAt time.Time
	// looks is the number of checks that have granted memory.
	looks int
)

// gone returns the part of patience that is used now.
func gone(now time.Time) time.Duration { return max(0, spent-now.Sub(spentAt)/4) }

// fitsLater collects garbage, waits until others allocate or release their reservations,
// and checks again. Requests that fit alone but not together therefore follow one
// another, for example those of several steps of a run. While it waits other callers may
// check, so that a small piece that fits does not wait behind a large one that does not.
// seen is the value of unseen at the last check.
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
			others -= before // by now these bytes are allocated
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

// fits reports whether n more bytes are within the limits, in addition to others bytes
// that may not be allocated yet.
func fits(n, others int64) bool {
	piece := n
	n += others
	held, free := heap()
	if n > limit()-max(held, inGroup()) {
		return false
	}
	n += slack
	if piece <= Small {
		n -= free / 2 // the other half may consist of pieces that are too small
	}
	return n <= 0 || probe(n)
}

// heap returns how many bytes of the system's memory the runtime holds, and how many of
// them it can use without asking the system.
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
