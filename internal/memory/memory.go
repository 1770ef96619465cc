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
	"runtime/debug"
	"runtime/metrics"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
)

// Small is what is given without a look at the limits, which takes some
// microseconds.
const Small = 32 << 20

// slack is what the runtime takes besides, as it divides memory in pieces of that
// size.
const slack = 64 << 20

// making makes that of two large pieces each is counted before the other is made.
var making sync.Mutex

// Bytes returns n bytes of zeros, or an error that matches orbax.ErrNoMemory.
func Bytes(n int64) ([]byte, error) {
	if n <= Small {
		return make([]byte, n), nil
	}
	making.Lock()
	defer making.Unlock()
	if err := Check(n); err != nil {
		return nil, err
	}
	return make([]byte, n), nil
}

// Check returns an error that matches orbax.ErrNoMemory if the process cannot have
// n bytes more, which may be in several pieces.
func Check(n int64) error {
	if n <= Small {
		return nil
	}
	if n > math.MaxInt64-slack || int64(int(n)) != n {
		return refused(n)
	}
	if fits(n) {
		return nil
	}
	debug.FreeOSMemory() // what is garbage is no reason to refuse
	if fits(n) {
		return nil
	}
	return refused(n)
}

// Covers returns an error that matches orbax.ErrNoMemory if the process cannot have
// factor bytes for each of n.
func Covers(n, factor int64) error {
	if n > math.MaxInt64/factor {
		return refused(n)
	}
	return Check(n * factor)
}

func refused(n int64) error { return fmt.Errorf("%w: %d bytes", fault.ErrNoMemory, n) }

// fits reports whether n bytes more are within the limits.
func fits(n int64) bool { return n <= limit()-held() && probe(n+slack) }

// held returns what the runtime has of the system's memory.
func held() int64 {
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
	return int64(v[0] - v[1] - v[2])
}
