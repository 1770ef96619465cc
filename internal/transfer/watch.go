package transfer

import (
	"sync"
	"time"
)

// Watch times the activities of an operation, such as a save or a load. Several
// goroutines may call its methods.
type Watch struct {
	op    string
	meter *Meter
	began time.Time

	mu       sync.Mutex
	activity Activity
	since    time.Time // start of the activity
	took     [activities]time.Duration
}

// NewWatch starts the clock of the operation op. Activities that the engine of the
// operation begins, which has the meter m, enter the watch.
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

// Sample is the reading of a [Watch] at one moment.
type Sample struct {
	// Op is the operation that was passed to [NewWatch].
	Op       string
	Meter    *Meter
	Activity Activity
	Elapsed  time.Duration
	// Err is the error of the operation, if it has failed.
	Err error

	took [activities]time.Duration
}

// Took returns the duration of an activity; 0 while it runs.
func (s *Sample) Took(a Activity) time.Duration { return s.took[a] }

// Sample returns the reading of the watch now. err is the outcome of the operation, if it
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
