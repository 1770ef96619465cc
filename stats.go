package orbax

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
)

// Phase is what a save or a load is doing.
type Phase string

// The phases, in their order. A load has no PhaseSnapshot, PhaseDigest or
// PhaseCommit. Only asynchronous saves have a PhaseSnapshot, and only those that
// share bytes with an earlier one a PhaseDigest.
const (
	PhasePrepare  Phase = "prepare"  // checking, reading documents, planning
	PhaseSnapshot Phase = "snapshot" // copying what may change
	PhaseDigest   Phase = "digest"   // looking for what an earlier save has already
	PhaseTransfer Phase = "transfer" // moving data between memory and the store
	PhaseCommit   Phase = "commit"   // making the checkpoint durable and visible
	PhaseDone     Phase = "done"     // ended, well or not
)

var phases = []Phase{PhasePrepare, PhaseSnapshot, PhaseDigest, PhaseTransfer, PhaseCommit, PhaseDone}

// Stats tell what a save or a load has done: see Report and Progress. They can be
// logged: slog.Info("saved", "stats", stats).
type Stats struct {
	Op    string // "save" or "load"
	Phase Phase
	// Arrays is how many arrays of pytrees were, or are to be, saved or loaded,
	// numbers among them, and Bytes what their elements take in memory.
	Arrays int
	Bytes  int64
	// Moved is how many bytes of files have been written or read, and Planned how
	// many will be: an upper bound, because how well data compresses is not known yet.
	// Of a load of more than 131,072 chunks it counts those that have been planned, in
	// groups of that many.
	Moved, Planned int64
	Files          int
	// Leaf is the path of the leaf whose data was moved last: where several are moved
	// at once, one of them.
	Leaf string
	// Copied is how many of Bytes an asynchronous save has copied.
	Copied int64
	// Shared is how many of Bytes were not written again, as they are stored under
	// another name, or by an earlier save.
	Shared int64
	// Mapped is how many of Bytes are views of the files; see the option Mapped.
	Mapped int64
	// What the phases took, and all of it.
	Prepare, Snapshot, Digest, Transfer, Commit, Elapsed time.Duration
	// Err is why it failed, in the Stats of one that has ended.
	Err error
}

// Rate returns the bytes of files that were moved per second, or 0 before the time
// counts.
func (s Stats) Rate() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Moved) / s.Elapsed.Seconds()
}

// String returns a line such as "save: 64 arrays of 1.0 GiB; moved 1.0 GiB in
// 0.52 s, 1.9 GiB/s".
func (s Stats) String() string {
	arrays := "1 array"
	if s.Arrays != 1 {
		arrays = fmt.Sprintf("%d arrays", s.Arrays)
	}
	text := fmt.Sprintf("%s: %s of %s; moved %s in %.2f s, %s/s",
		s.Op, arrays, fault.Size(s.Bytes), fault.Size(s.Moved), s.Elapsed.Seconds(), fault.Size(int64(s.Rate())))
	if s.Err != nil {
		text += "; failed: " + s.Err.Error()
	}
	return text
}

// LogValue returns the fields that are not zero as a group.
func (s Stats) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("op", s.Op), slog.String("phase", string(s.Phase)),
		slog.Int("arrays", s.Arrays), slog.Int64("bytes", s.Bytes),
	}
	for _, n := range []struct {
		name  string
		bytes int64
	}{
		{"planned", s.Planned}, {"moved", s.Moved}, {"files", int64(s.Files)},
		{"copied", s.Copied}, {"shared", s.Shared}, {"mapped", s.Mapped},
	} {
		if n.bytes != 0 {
			attrs = append(attrs, slog.Int64(n.name, n.bytes))
		}
	}
	for _, d := range []struct {
		name string
		time time.Duration
	}{
		{"prepare", s.Prepare}, {"snapshot", s.Snapshot}, {"digest", s.Digest}, {"transfer", s.Transfer}, {"commit", s.Commit}, {"elapsed", s.Elapsed},
	} {
		if d.time != 0 {
			attrs = append(attrs, slog.Duration(d.name, d.time))
		}
	}
	if s.Leaf != "" && s.Phase != PhaseDone {
		attrs = append(attrs, slog.String("leaf", s.Leaf))
	}
	if s.Err != nil {
		attrs = append(attrs, slog.String("error", s.Err.Error()))
	}
	return slog.GroupValue(append(attrs, slog.Float64("bytes_per_second", s.Rate()))...)
}

// progressInterval is the time between two calls of a function given to Progress.
const progressInterval = 200 * time.Millisecond

// observer follows a save or a load and tells of it.
type observer struct {
	op       string
	meter    *transfer.Meter
	reports  []*Stats
	progress []func(Stats)
	began    time.Time

	mu    sync.Mutex // Starting of the meter is called by any goroutine
	phase Phase
	since time.Time // of the phase
	took  map[Phase]time.Duration

	stop    chan struct{} // ends the calls of progress
	stopped chan struct{}
}

func newObserver(op string, o *sharedOptions, meter *transfer.Meter) *observer {
	now := time.Now()
	ob := &observer{
		op: op, meter: meter, reports: o.reports, progress: o.progress,
		began: now, phase: PhasePrepare, since: now, took: map[Phase]time.Duration{},
	}
	meter.Starting = func(a transfer.Activity) {
		switch a {
		case transfer.Copying:
			ob.enter(PhaseSnapshot)
		case transfer.Digesting:
			ob.enter(PhaseDigest)
		case transfer.Moving:
			ob.enter(PhaseTransfer)
		}
	}
	if len(o.progress) > 0 {
		ob.stop, ob.stopped = make(chan struct{}), make(chan struct{})
		go ob.tell()
	}
	return ob
}

// tell calls progress now and then.
func (o *observer) tell() {
	defer close(o.stopped)
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			o.progressed(o.stats())
		case <-o.stop:
			return
		}
	}
}

// enter begins a phase, unless it or a later one has begun.
func (o *observer) enter(p Phase) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if slices.Index(phases, p) <= slices.Index(phases, o.phase) {
		return
	}
	now := time.Now()
	o.took[o.phase] += now.Sub(o.since)
	o.phase, o.since = p, now
}

// end tells what was done.
func (o *observer) end(err error) {
	o.enter(PhaseDone)
	s := o.stats()
	s.Err = err
	for _, report := range o.reports {
		*report = s
	}
	if o.stop != nil {
		close(o.stop)
		<-o.stopped
		o.progressed(s)
	}
}

func (o *observer) progressed(s Stats) {
	for _, f := range o.progress {
		f(s)
	}
}

func (o *observer) stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.meter
	s := Stats{
		Op: o.op, Phase: o.phase,
		Arrays: int(m.Arrays.Load()), Bytes: m.Bytes.Load(),
		Moved: m.Moved.Load(), Planned: m.Planned.Load(), Files: int(m.Files.Load()),
		Copied: m.Copied.Load(), Shared: m.Shared.Load(), Mapped: m.Mapped.Load(), Leaf: m.Leaf(),
		Prepare: o.took[PhasePrepare], Snapshot: o.took[PhaseSnapshot], Digest: o.took[PhaseDigest],
		Transfer: o.took[PhaseTransfer], Commit: o.took[PhaseCommit],
		Elapsed: o.since.Sub(o.began),
	}
	if o.phase != PhaseDone {
		s.Elapsed = time.Since(o.began)
	}
	return s
}
