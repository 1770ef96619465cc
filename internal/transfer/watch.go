package transfer

import (
	"sync"
	"time"
)

// Watch times the activities of an operation, such as a save or a load. Its methods may
// be called by several goroutines.
type Watch struct {
	op    string
	meter *Meter
	began time.Time

	mu       sync.Mutex
	activity Activity
	since    time.Time // of the activity
	took     [activities]time.Duration
}

// NewWatch starts the clock of the operation op, whose engine has the meter m: what the
// engine begins enters the watch.
func NewWatch(op string, m *Meter) *Watch {
	now := time.Now()
	w := &Watch{op: op, meter: m, began: now, since: now}
	m.Starting = w.Enter
	return w
}

// Enter begins an activity, unless it or a later one has begun.
func (w *Watch) Enter(a Activity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a <= w.activity {
		return
	}
	now := time.Now()
	w.took[w.activity] += now.Sub(w.since)
	w.activity, w.since = a, now
}

// Sample is what a Watch shows at one moment.
type Sample struct {
	// Op is the operation, as NewWatch was called with it.
	Op       string
	Meter    *Meter
	Activity Activity
	Elapsed  time.Duration
	// Err is why the operation failed, if it has ended.
	Err error

	took [activities]time.Duration
}

// Took returns how long an activity took; 0 while it goes on.
func (s *Sample) Took(a Activity) time.Duration { return s.took[a] }

// Sample returns what the watch shows now. err is the outcome of the operation, if it
// has ended.
func (w *Watch) Sample(err error) Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Sample{Op: w.op, Meter: w.meter, Activity: w.activity, Elapsed: w.since.Sub(w.began), Err: err, took: w.took}
	if w.activity != Ended {
		s.Elapsed = time.Since(w.began)
	}
	return s
}
