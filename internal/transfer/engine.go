package transfer

import (
	"cmp"
	"context"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// defaultBudget is the budget of an engine that has been given none: a few units
// in flight.
const defaultBudget = 48 << 20

// An Engine runs plans, several jobs at a time. What its plans take of memory at
// once stays within its budget, so a job must not run a further plan on the
// engine that runs it. The zero value, and a nil *Engine, work; an Engine may be
// used by several goroutines, and must not be copied.
type Engine struct {
	// Budget bounds the memory of all buffers, in bytes; 0 is 48 MiB. One job that
	// needs more runs alone.
	Budget int64
	// Meter, if set, counts what is done.
	Meter *Meter

	mu      sync.Mutex
	room    *semaphore.Weighted // of the budget, from the first plan on
	copies  []copies            // that Release gives back
	buffers *bufferPool         // while a plan runs
	running int                 // plans
}

// Meter counts what an engine does, and what its plans are for.
type Meter struct {
	// Planned is how many bytes the plans so far move between memory and files,
	// at most.
	Planned atomic.Int64
	// Moved is how many bytes have been moved.
	Moved atomic.Int64
	// Files is how many files were opened or created.
	Files atomic.Int64
	// Copied is how many bytes Copy has copied.
	Copied atomic.Int64

	// The owners of plans count the following: arrays, the bytes of their
	// elements, and those of them that were not written, as another array of the
	// same memory is, and that were not read but mapped.
	Arrays, Bytes, Shared, Mapped atomic.Int64

	leaf atomic.Pointer[string]

	// Starting, if set, is called whenever something begins.
	Starting func(Activity)
}

// Activity is what an operation, or an engine for a plan of it, does.
type Activity int

// The activities, in the order in which an operation has them. It need not have all.
const (
	Preparing  Activity = iota // checking, reading documents, planning
	Copying                    // from memory to memory
	Digesting                  // computing digests of memory
	Moving                     // between memory and files
	Committing                 // making what was written durable and visible
	Ended                      // well or not
	activities                 // how many there are
)

// Begin tells that something begins, which will move so many bytes between memory
// and files.
func (m *Meter) Begin(a Activity, planned int64) {
	m.Planned.Add(planned)
	if m.Starting != nil {
		m.Starting(a)
	}
}

// AddArray counts an array of so many bytes of elements.
func (m *Meter) AddArray(bytes int64) {
	m.Arrays.Add(1)
	m.Bytes.Add(bytes)
}

// note remembers the leaf whose data is moved.
func (m *Meter) note(leaf string) { m.leaf.Store(&leaf) }

// Leaf returns the leaf whose data was moved last, "" if there is none.
func (m *Meter) Leaf() string {
	if leaf := m.leaf.Load(); leaf != nil {
		return *leaf
	}
	return ""
}

// AddFile counts a file of n bytes that was read or written at once.
func (m *Meter) AddFile(n int64) {
	m.Files.Add(1)
	m.Planned.Add(n)
	m.Moved.Add(n)
}

// Counters returns the engine's meter, or one that nobody looks at.
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

// start begins a run and returns what all runs of the engine share: the budget, of
// which jobs take their part, and the buffers.
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

// workers is how many of so many jobs are in flight: enough to keep every core
// encoding while the device has something queued. The budget holds back those that
// take memory.
func workers(jobs int) int {
	n := min(runtime.GOMAXPROCS(0)+2, maxWorkers)
	if jobs > 0 {
		n = min(n, jobs)
	}
	return n
}

// maxWorkers is more than any device or memory needs to be busy.
const maxWorkers = 32

// work is the jobs of one run and what is to be done with each.
type work[J any] struct {
	// jobs is how many there are; 0 if that is not known.
	jobs int
	// next returns the next job, until there are none. Calls do not overlap.
	next func() (J, bool)
	// need is how long a job's buffer is, extra what it takes besides; nil is
	// nothing.
	need, extra func(J) int64
	// do does a job. It may ask once for the buffer: page-aligned, of any content,
	// its own during the call. A plan made of a damaged checkpoint can need any
	// amount, so a job asks only once it knows better; what the process cannot have
	// is an error.
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
	// take waits for room with the lock held: a job that needs much is not
	// overtaken by later ones.
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
	group, gctx := errgroup.WithContext(ctx)
	for range workers(w.jobs) {
		group.Go(func() error {
			for {
				job, need, weight, ok, err := take(gctx)
				if err != nil || !ok {
					return err
				}
				var buf []byte
				err = w.do(gctx, job, func() (_ []byte, err error) {
					buf, err = buffers.get(need, budget)
					return buf, err
				})
				buffers.put(buf, budget)
				room.Release(weight)
				if err != nil {
					return err
				}
			}
		})
	}
	return cmp.Or(group.Wait(), ctx.Err())
}

// runAll is run for jobs that are known, given by their positions.
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

// Each calls do with the jobs of a sequence, which start in their order, several
// at a time, until one fails or ctx ends. Each job gets need(job) bytes of
// memory, of any content, its own during the call; none if need is nil. The
// sequence goes on while jobs are done, and is not called by two goroutines at once.
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
