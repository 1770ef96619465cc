package training

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/future"
)

// Response is the handle of a save in the background. Several goroutines may call its
// methods.
type Response struct {
	step    int
	began   time.Time
	cancel  context.CancelCauseFunc
	skipped bool
	ended   *future.Future[bool] // whether it is saved

	mu       sync.Mutex
	saved    bool // the outcome that ended will have
	err      error
	reported bool // the program has the outcome
	asking   int  // number of calls of Result that wait for it
}

// Step returns the step that is saved.
func (r *Response) Step() int { return r.step }

// Skipped reports whether the policy did not want the step, so that there is no save.
func (r *Response) Skipped() bool { return r.skipped }

// Result waits until the save has ended and reports whether its step is in place,
// complete and durable. It returns false without an error if the policy has skipped the
// step. It returns the same result every time. If ctx ends first Result returns the error
// of ctx, and the save continues.
func (r *Response) Result(ctx context.Context) (saved bool, err error) {
	r.ask(1)
	defer r.ask(-1)
	if err := r.ended.Wait(ctx); err != nil {
		return false, err
	}
	r.markReported()
	return r.ended.Outcome()
}

// Cancel ends this save, and waits until its files are removed. Its Result is then an
// error that matches [context.Canceled]. If the save has ended before, Cancel does
// nothing.
func (r *Response) Cancel() {
	if r.skipped || r.ended.Ended() { // its failure, if any, still has to be reported
		return
	}
	r.ask(1)
	defer r.ask(-1)
	r.cancel(canceled{})
	if _, err := r.ended.Outcome(); errors.Is(err, context.Canceled) {
		r.markReported() // the caller knows the outcome
	}
}

// Done returns a channel that is closed when the save has ended, with or without an
// error.
func (r *Response) Done() <-chan struct{} { return r.ended.Done() }

// OnComplete calls f once with the results of [Response.Result], when the save has ended:
// on the save's goroutine, or at once if the save has ended already. f must not wait for
// the Checkpointer.
func (r *Response) OnComplete(f func(saved bool, err error)) {
	r.markReported()
	r.ended.Then(f)
}

// settle sets the outcome. end publishes it.
func (r *Response) settle(saved bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.saved, r.err = saved, err
}

// end publishes that the save has ended.
func (r *Response) end() { r.ended.Set(r.saved, r.err) }

// unasked returns the failure, unless the program has it already, and marks it as
// reported.
func (r *Response) unasked() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reported || r.asking > 0 || r.err == nil {
		return nil
	}
	r.reported = true
	return &EarlierError{Step: r.step, Err: r.err}
}

func (r *Response) ask(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking += n
}

// markReported marks the outcome as reported.
func (r *Response) markReported() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reported = true
}
