package orbax

import (
	"context"

	"github.com/go-orbax/orbax/internal/future"
)

// AsyncResponse is the handle of a save in the background. Several goroutines may call
// its methods.
type AsyncResponse struct{ save *future.Future[struct{}] }

// respond runs work in the background.
func respond(work func() error) *AsyncResponse {
	return &AsyncResponse{future.Go(func() (struct{}, error) { return struct{}{}, work() })}
}

// Result waits until the save has finished and returns its error: nil once the checkpoint
// is complete and durable. It returns the same result every time. If ctx ends first
// Result returns the error of ctx, and the save continues.
//
// A save whose own context is cancelled still has to clean up. A program that waits for
// that before it exits must not wait with the same context:
//
//	cancel()
//	err := resp.Result(context.WithoutCancel(ctx))
func (r *AsyncResponse) Result(ctx context.Context) error {
	if err := r.save.Wait(ctx); err != nil {
		return err
	}
	_, err := r.save.Outcome()
	return err
}

// Done returns a channel that is closed when the save has finished, with or without an
// error.
func (r *AsyncResponse) Done() <-chan struct{} { return r.save.Done() }

// OnComplete calls f once, with the result of [AsyncResponse.Result], when the save has
// finished. f runs on the save's goroutine, or at once if the save has finished already.
func (r *AsyncResponse) OnComplete(f func(error)) {
	r.save.Then(func(_ struct{}, err error) { f(err) })
}
