package orbax

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
)

// Phase is a phase of a save or a load.
type Phase string

// These are the phases, in their order. A load has no PhaseSnapshot, PhaseDigest or
// PhaseCommit. Only asynchronous saves have a PhaseSnapshot, and only saves that share
// bytes with an earlier one a PhaseDigest.
const (
	PhasePrepare  Phase = "prepare"  // checking, reading documents, planning
	PhaseSnapshot Phase = "snapshot" // copying memory that may change
	PhaseDigest   Phase = "digest"   // finding the bytes that an earlier save already has
	PhaseTransfer Phase = "transfer" // moving data between memory and the store
	PhaseCommit   Phase = "commit"   // making the checkpoint durable and visible
	PhaseDone     Phase = "done"     // ended, with or without an error
)

// phases are those that the activities of an engine are, in the same order.
var phases = [...]Phase{
	transfer.Preparing:  PhasePrepare,
	transfer.Copying:    PhaseSnapshot,
	transfer.Digesting:  PhaseDigest,
	transfer.Moving:     PhaseTransfer,
	transfer.Committing: PhaseCommit,
	transfer.Ended:      PhaseDone,
}

// Stats describes the work that a save or a load has done; see [Report] and [Progress].
// It can be logged: slog.Info("saved", "stats", stats).
type Stats struct {
	Op    string // "save" or "load"
	Phase Phase
	// Arrays is the number of arrays of pytrees, including numbers, that were saved or
	// loaded or will be. Bytes is the size of their elements in memory, which for an
	// array.Sharded are those of its shards.
	Arrays int
	Bytes  int64
	// Moved is the number of bytes of files that have been written or read. Planned is an
	// upper bound for the number that will be, because the compressed size is not known
	// beforehand. A load of more than 131,072 chunks plans them in groups of that many,
	// and Planned counts the groups that have been planned.
	Moved, Planned int64
	Files          int
	// Leaf is the path of the leaf whose data was moved last. If several are moved at the
	// same time, it is one of them.
	Leaf string
	// Copied is the number of Bytes that an asynchronous save has copied.
	Copied int64
	// Shared is the number of Bytes that were not written again, because they are stored
	// under another name or by an earlier save.
	Shared int64
	// Mapped is the number of Bytes that are views of the files; see the option [Mapped].
	Mapped int64
	// The durations of the phases, and of the whole.
	Prepare, Snapshot, Digest, Transfer, Commit, Elapsed time.Duration
	// Err is the error of a save or load that has failed.
	Err error
}

// Rate returns the number of bytes of files that were moved per second, or 0 before the
// time counts.
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

// LogValue returns the fields that are not zero as a group. It implements
// [slog.LogValuer].
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

// statsOf returns what a sample of a save or a load tells.
func statsOf(s transfer.Sample) Stats {
	m := s.Meter
	return Stats{
		Op: s.Op, Phase: phases[s.Activity],
		Arrays: int(m.Arrays.Load()), Bytes: m.Bytes.Load(),
		Moved: m.Moved.Load(), Planned: m.Planned.Load(), Files: int(m.Files.Load()),
		Copied: m.Copied.Load(), Shared: m.Shared.Load(), Mapped: m.Mapped.Load(), Leaf: m.Leaf(),
		Prepare: s.Took(transfer.Preparing), Snapshot: s.Took(transfer.Copying), Digest: s.Took(transfer.Digesting),
		Transfer: s.Took(transfer.Moving), Commit: s.Took(transfer.Committing),
		Elapsed: s.Elapsed, Err: s.Err,
	}
}

// observer calls what Report and Progress were given.
type observer struct {
	watch    *transfer.Watch
	reports  []func(transfer.Sample)
	progress []func(transfer.Sample)

	stop    chan struct{} // ends the calls of progress
	stopped chan struct{}
}

func newObserver(op string, o *config.Common, meter *transfer.Meter) *observer {
	ob := &observer{watch: transfer.NewWatch(op, meter), reports: o.Reports, progress: o.Progress}
	if len(o.Progress) > 0 {
		ob.stop, ob.stopped = make(chan struct{}), make(chan struct{})
		go ob.run()
	}
	return ob
}

// run calls progress now and then.
func (o *observer) run() {
	defer close(o.stopped)
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			call(o.progress, o.watch.Sample(nil))
		case <-o.stop:
			return
		}
	}
}

// end reports how the operation has ended.
func (o *observer) end(err error) {
	o.watch.Enter(transfer.Ended)
	s := o.watch.Sample(err)
	call(o.reports, s)
	if o.stop != nil {
		close(o.stop)
		<-o.stopped
		call(o.progress, s)
	}
}

func call(all []func(transfer.Sample), s transfer.Sample) {
	for _, f := range all {
		f(s)
	}
}
