package transfer

import (
	"cmp"
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/go-orbax/orbax/internal/parallel"
)

// defaultBudget is the budget of an engine without a Budget: a few units in flight.
const defaultBudget = 48 << 20

// Engine runs plans, several jobs at a time. All jobs that run together stay within its
// budget of memory, so a job must not run another plan on the same engine. The zero value
// and a nil *Engine work. Several goroutines may use an Engine. It must not be copied.
type Engine struct {
	// Budget bounds the memory of all buffers, in bytes; 0 means 48 MiB. A job that needs
	// more runs alone.
	Budget int64
	// Meter, if set, counts the work of the engine.
	Meter *Meter

	mu      sync.Mutex
	room    *semaphore.Weighted // in the budget, from the first plan on
	copies  []copies            // for Release
	buffers *bufferPool         // while a plan runs
	running int                 // number of plans
}

// Meter counts the work of an engine, and the arrays that its plans are for.
type Meter struct {
	// Planned is an upper bound for the bytes that the plans so far move between memory
	// and files.
	Planned atomic.Int64
	// Moved is the number of bytes that have been moved.
	Moved atomic.Int64
	// Files is the number of files that were opened or created.
	Files atomic.Int64
	// Copied is the number of bytes that [Engine.Copy] has copied.
	Copied atomic.Int64

	// The owners of plans count these. Arrays is the number of arrays, and Bytes the
	// bytes of their elements. Shared is the bytes that were not written because another
	// array has the same memory. Mapped is the bytes that were mapped instead of read.
	Arrays, Bytes, Shared, Mapped atomic.Int64

	leaf atomic.Pointer[string]

	// Starting, if set, is called whenever an activity begins.
	Starting func(Activity)
}

// Activity is a phase of an operation, or of an engine that runs a plan for it.
type Activity int

// These are the activities, in the order in which they occur in an operation. An
// operation may lack some.
const (
	Preparing  Activity = iota // checking, reading documents, planning
	Copying                    // from memory to memory
	Digesting                  // computing digests of memory
	Moving                     // between memory and files
	Committing                 // making the written files durable and visible
	Ended                      // with or without an error
	activities                 // number of activities
)

// Begin records that an activity begins, which will move planned bytes between memory and
// files.
func (m *Meter) Begin(a Activity, planned int64) {
	m.Planned.Add(planned)
	if m.Starting != nil {
		m.Starting(a)
	}
}

// AddArray counts an array whose elements have the given number of bytes.
func (m *Meter) AddArray(bytes int64) {
	m.Arrays.Add(1)
	m.Bytes.Add(bytes)
}

// note remembers the leaf whose data is moved.
func (m *Meter) note(leaf string) { m.leaf.Store(&leaf) }

// Leaf returns the leaf whose data was moved last, or "".
func (m *Meter) Leaf() string {
	if leaf := m.leaf.Load(); leaf != nil {
		return *leaf
	}
	return ""
}

// AddFile counts a file of n bytes that was read or written in one piece.
func (m *Meter) AddFile(n int64) {
	m.Files.Add(1)
	m.Planned.Add(n)
	m.Moved.Add(n)
}

type meterKey struct{}

// WithMeter returns a context for a load whose arrays m counts, wherever they are made.
func WithMeter(ctx context.Context, m *Meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

// MeterOf returns the meter that counts the arrays of a load, or an unused one.
func MeterOf(ctx context.Context) *Meter {
	if m, ok := ctx.Value(meterKey{}).(*Meter); ok {
		return m
	}
	return new(Meter)
}

// Counters returns the engine's meter, or a new one if the engine has none.
func (e *Engine) Counters() *Meter {
	if e == nil || e.Meter == nil {
		return new(Meter)
	}
	return e.Meter
}

func (e *Engine) budget() int64 {
	if e.Budget <= 0 {
		return defaultBudget
	}
	return e.Budget
}

// start begins a run. It returns the budget, from which jobs take their memory, and the
// buffers; all runs of the engine share both.
func (e *Engine) start() (*semaphore.Weighted, *bufferPool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.room == nil {
		e.room = semaphore.NewWeighted(e.budget())
	}
	if e.running++; e.running == 1 {
		e.buffers = borrowPool(e.budget())
	}
	return e.room, e.buffers
}

// finish ends a run. An engine that is idle keeps no buffers.
func (e *Engine) finish() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running--; e.running == 0 {
		e.buffers.release()
		e.buffers = nil
	}
}

// work is the jobs of one run, and the function that does one of them.
type work[J any] struct {
	// jobs is the number of jobs; 0 if it is not known.
	jobs int
	// workers is the number of jobs at the same time; 0: see [workers].
	workers int
	// next returns the next job; ok is false after the last. Calls do not overlap.
	next func() (J, bool)
	// need returns the length of a job's buffer, and extra the memory that the job takes
	// in addition; nil means none.
	need, extra func(J) int64
	// do does a job. It may ask once for the buffer, which is page-aligned, has arbitrary
	// content, and belongs to the job during the call. A plan that comes from a damaged
	// checkpoint can need any amount, so a job asks for the buffer only after it has
	// checked the size. If the process cannot have the memory, buffer returns an error.
	do func(ctx context.Context, job J, buffer func() ([]byte, error)) error
}

// run starts the jobs in their order, several at a time, until one fails or ctx
// ends.
func run[J any](ctx context.Context, e *Engine, w work[J]) error {
	if e == nil {
		e = new(Engine)
	}
	budget := e.budget()
	room, buffers := e.start()
	defer e.finish()
	var mu sync.Mutex
	// take holds the lock while it waits for room, so that later jobs do not overtake a
	// job that needs much.
	take := func(ctx context.Context) (job J, need, weight int64, ok bool, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err = ctx.Err(); err != nil {
			return
		}
		if job, ok = w.next(); !ok {
			return
		}
		if w.need != nil {
			need = w.need(job)
		}
		weight = need
		if w.extra != nil {
			weight += w.extra(job)
		}
		weight = min(weight, budget)
		err = room.Acquire(ctx, weight)
		return
	}
	group, gctx := parallel.WithContext(ctx)
	one := func() (more bool, err error) {
		job, need, weight, ok, err := take(gctx)
		if err != nil || !ok {
			return false, err
		}
		var buf []byte
		defer func() { // also if the job ends its goroutine
			buffers.put(buf, budget)
			room.Release(weight)
		}()
		return true, w.do(gctx, job, func() (_ []byte, err error) {
			buf, err = buffers.get(need, budget)
			return buf, err
		})
	}
	for range workers(w.jobs, w.workers) {
		group.Go(func() error {
			for {
				if more, err := one(); err != nil || !more {
					return err
				}
			}
		})
	}
	return cmp.Or(group.Wait(), ctx.Err())
}

// runAll is run for n jobs that are numbered from 0.
func runAll(ctx context.Context, e *Engine, n int, w work[int]) error {
	if n == 0 {
		return ctx.Err()
	}
	i := -1
	w.jobs = n
	w.next = func() (int, bool) {
		i++
		return i, i < n
	}
	return run(ctx, e, w)
}

// Each calls do with the jobs of a sequence. The jobs start in their order, several at a
// time, until one fails or ctx ends. Each job gets need(job) bytes of memory, which have
// arbitrary content and belong to the job during the call; none if need is nil. The
// sequence runs on while jobs run, and is not called by two goroutines at the same time.
func Each[J any](ctx context.Context, e *Engine, jobs iter.Seq[J], need func(J) int64, do func(ctx context.Context, job J, memory []byte) error) error {
	next, stop := iter.Pull(jobs)
	defer stop()
	return run(ctx, e, work[J]{next: next, need: need, do: func(ctx context.Context, job J, buffer func() ([]byte, error)) error {
		memory, err := buffer()
		if err != nil {
			return err
		}
		return do(ctx, job, memory)
	}})
}
