package coord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// DefaultTimeout is how long a phase waits for the other processes if its context has no
// earlier deadline; see [Group].Timeout. Orbax waits as long.
const DefaultTimeout = 5 * time.Minute

// fanIn is the number of processes whose reports one process collects. The reports of n
// processes pass log n levels.
const fanIn = 16

// Op is an operation that all processes of a group do together, in phases. Only one
// goroutine may use it at a time.
type Op struct {
	group *Group
	what  string
	key   string // prefix of the keys
	phase int
	ended map[int]bool // the children that have ended the operation before this process
}

// Begin begins an operation. what describes it in errors, and must be the same in all
// processes: if they are at different operations, the next phase fails in all of them.
// The caller must call End, unless no process uses the operation.
//
// Each phase has a deadline: that of its context, but at most the timeout of the group after the
// process has begun to wait. If a process is lost, fails, or does not arrive in time, the
// phase fails with an [*Error] in all processes that are alive.
func (g *Group) Begin(what string) *Op {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.begun++
	return &Op{group: g, what: what, key: fmt.Sprintf("op/%d/", g.begun), ended: map[int]bool{}}
}

// What returns the description that [Group.Begin] got.
func (o *Op) What() string { return o.what }

// Agree ends a phase. err is the outcome of the phase in this process. Agree returns nil
// if it is nil in all processes, and otherwise an [*Error] in all of them.
func (o *Op) Agree(ctx context.Context, phase string, err error) error {
	_, err = o.Exchange(ctx, phase, nil, err, nil)
	return err
}

// Merge makes one value of the values of several processes. It gets a value of this
// process and those of others, each of which may be merged already.
type Merge func(values [][]byte) ([]byte, error)

// Exchange is [Op.Agree] with a value of each process. All processes get one value: that
// which merge has made of the values of all. If merge is nil, it is that of rank 0.
//
// If its context ends, Exchange returns without waiting for the others. They get an error
// if this process has not sent its value yet. Otherwise they may all have passed the
// phase, and get the error in the next one.
func (o *Op) Exchange(ctx context.Context, phase string, value []byte, err error, merge Merge) ([]byte, error) {
	return o.exchange(ctx, phase, value, err, merge, false)
}

// exchange is Exchange. If private is true, only rank 0 gets the value.
func (o *Op) exchange(ctx context.Context, phase string, value []byte, err error, merge Merge, private bool) ([]byte, error) {
	o.phase++
	x := newExchange(ctx, o, phase)
	own := report{What: o.what, Phase: phase, Value: value}
	if err != nil {
		own.fail(x.rank, err)
		o.announce(ctx, x, &own)
	}
	reports, err := x.collect(ctx)
	o.noteEnded(reports)
	if err == nil {
		own.merge(reports, merge, x.rank)
		sent := own
		if private && x.rank == 0 {
			sent.Value = nil
		}
		err = x.send(ctx, &sent)
	}
	if err != nil {
		x.abandon(ctx, &own, err)
		return nil, x.failed(o.what, err)
	}
	if x.rank > 0 {
		outcome, err := x.outcome(ctx)
		if err != nil {
			return nil, x.failed(o.what, err)
		}
		outcome.local = own.local
		own = outcome
	}
	return own.Value, own.err()
}

// noteEnded notes the processes that have ended the operation.
func (o *Op) noteEnded(reports []report) {
	for _, r := range reports {
		if r.Phase == endPhase && r.What == o.what && !r.Lacks {
			o.ended[r.rank] = true
		}
	}
}

// End ends the operation and removes what it has left in the coordination service. It
// returns err, the outcome of the operation in this process, which it does not change.
// Once it has returned, a process may leave the group without harm to the others.
func (o *Op) End(ctx context.Context, err error) error {
	o.phase++
	timeout := endTimeout
	if err != nil {
		timeout /= 5 // the processes may have failed at different phases
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	x := newExchange(ctx, o, endPhase)
	own := report{What: o.what, Phase: x.phase}
	switch shared := new(Error); {
	case err == nil:
	case !errors.As(err, &shared) || shared.What != o.what:
		own.fail(x.rank, err) // the others do not know it
	case shared.Unknown:
		own.fail(x.rank, shared.Failures[0].Err)
	}
	x.adopt, x.ended = true, o.ended
	reports, cerr := x.collect(ctx)
	own.merge(reports, nil, x.rank)
	switch {
	case cerr != nil:
	case x.rank > 0 || slices.ContainsFunc(reports, x.mayWait):
		_ = x.send(ctx, &own)
		if x.rank == 0 {
			o.group.leave(o.key)
		}
	default: // every other process is here, or will not come any more
		o.group.remove(ctx, o.key)
	}
	return err
}

// mayWait reports whether a process may still wait for the outcome of a phase: it is in an
// earlier phase, or late, or one below it is.
func (x *exchange) mayWait(r report) bool {
	if r.Lacks {
		lost := new(LostError)
		return !errors.As(r.local[r.rank], &lost)
	}
	return r.Phase != x.phase || len(r.Failures) > 0
}

// endPhase is the phase of End.
const endPhase = "end"

// endTimeout bounds the wait for processes that have not come to the end of an operation,
// whose outcome is known already.
const endTimeout = 10 * time.Second

// exchange is one phase in one process. The processes are a tree with rank 0 at its root,
// in which each collects the reports of its children and sends one report to its parent.
// The root publishes the outcome for all.
type exchange struct {
	driver Driver
	rank   int
	prefix string
	phase  string
	// Reports have to arrive until up, the outcome until down. The deeper a process is in
	// the tree, the earlier it stops waiting, so that its parent still gets to know for
	// whom it has waited.
	up, down time.Time
	grace    time.Duration
	// adopt says that the children of a process that is lost, or has ended the operation
	// already, report to its parent.
	adopt bool
	ended map[int]bool
}

func newExchange(ctx context.Context, o *Op, phase string) *exchange {
	x := &exchange{driver: o.group.driver, rank: o.group.Rank(), phase: phase}
	x.prefix = fmt.Sprintf("%s%d/", o.key, o.phase)
	now := time.Now()
	x.down = now.Add(cmp.Or(o.group.Timeout, DefaultTimeout))
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(x.down) {
		x.down = deadline
	}
	levels := depth(o.group.Size() - 1)
	x.grace = min(2*time.Second, x.down.Sub(now)/time.Duration(4*(levels+3)))
	x.down = x.down.Add(-x.grace) // before the context ends, which says nothing about the others
	x.up = x.down.Add(-x.grace * time.Duration(depth(x.rank)+2))
	return x
}

// depth returns the number of the ancestors of a process.
func depth(rank int) (n int) {
	for ; rank > 0; n++ {
		rank = parent(rank)
	}
	return n
}

func parent(rank int) int { return (rank - 1) / fanIn }

func (x *exchange) keyOf(rank int) string { return fmt.Sprint(x.prefix, rank) }

func (x *exchange) outcomeKey() string { return x.prefix + "outcome" }

// collect waits for the reports of the children. A child that does not send one has a
// report of its failure.
func (x *exchange) collect(ctx context.Context) ([]report, error) {
	wait, cancel := context.WithDeadline(ctx, x.up)
	defer cancel()
	reports := x.below(wait, x.rank)
	return reports, ctx.Err()
}

// below returns the reports of the children of a process.
func (x *exchange) below(ctx context.Context, rank int) []report {
	first := fanIn*rank + 1
	reports := make([][]report, max(0, min(fanIn, x.driver.Size()-first)))
	var group sync.WaitGroup
	for i := range reports {
		group.Go(func() {
			lacks := x.ended[first+i]
			if !lacks {
				r := x.await(ctx, first+i)
				reports[i], lacks = []report{r}, r.Lacks
			}
			if x.adopt && lacks {
				reports[i] = append(reports[i], x.below(ctx, first+i)...)
			}
		})
	}
	group.Wait()
	return slices.Concat(reports...)
}

// await returns the report of a process. A process that is late holds up none of its
// siblings.
func (x *exchange) await(ctx context.Context, rank int) (r report) {
	doc, err := x.driver.Wait(ctx, x.keyOf(rank), rank)
	if err == nil {
		r, err = parseReport(doc)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = ErrTimeout
	}
	if err != nil {
		r = report{Phase: x.phase, Lacks: true}
		r.fail(rank, err)
	}
	r.rank = rank
	return r
}

// send sends the report of this process and those below it to its parent. The root
// publishes it as the outcome.
func (x *exchange) send(ctx context.Context, r *report) error {
	key := x.outcomeKey()
	if x.rank > 0 {
		key = x.keyOf(x.rank)
	}
	ctx, cancel := context.WithDeadline(ctx, x.down)
	defer cancel()
	doc := r.encode()
	err := x.driver.Set(ctx, key, doc)
	for pause := retryPause; err != nil && pause <= retryPause<<2 && !errors.As(err, new(*LostError)); pause *= 2 {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause): // the service may only have been busy, for example choosing a leader
		}
		err = x.driver.Set(ctx, key, doc)
	}
	return err
}

// retryPause is the pause before a report is sent again for the first time.
const retryPause = 50 * time.Millisecond

// outcome waits for the outcome.
func (x *exchange) outcome(ctx context.Context) (r report, err error) {
	wait, cancel := context.WithDeadline(ctx, x.down)
	defer cancel()
	doc, err := x.driver.Wait(wait, x.outcomeKey(), 0)
	if err == nil {
		return parseReport(doc)
	}
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == nil {
		err = fmt.Errorf("the outcome of process 0 %w", ErrTimeout)
	}
	return r, err
}

// abandon reports to the others that this process has given up, so that they do not wait
// for it until their deadline.
func (x *exchange) abandon(ctx context.Context, own *report, err error) {
	own.fail(x.rank, err)
	own.Value = nil // it may be the reason: services bound the size of a value
	own.Unknown = x.rank == 0
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.grace)
	defer cancel()
	_ = x.send(ctx, own)
}

// failed returns the error of a process that does not know the outcome of the phase.
func (x *exchange) failed(what string, err error) error {
	f := &Failure{x.rank, x.phase, err}
	var lost *LostError
	if errors.As(err, &lost) {
		f.Rank = lost.Rank
	}
	return &Error{What: what, Failures: []*Failure{f}, Unknown: true}
}
