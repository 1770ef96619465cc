package orbax

import (
	"context"
	"sync"
)

// AsyncResponse is a save that goes on in the background. Its methods may be
// called by several goroutines.
type AsyncResponse struct {
	done chan struct{}
	err  error // set before done is closed

	mu        sync.Mutex // held to close done
	callbacks []func(error)
}

// respond runs work in the background.
func respond(work func() error) *AsyncResponse {
	r := &AsyncResponse{done: make(chan struct{})}
	go func() {
		r.err = work()
		r.mu.Lock()
		close(r.done)
		callbacks := r.callbacks
		r.callbacks = nil
		r.mu.Unlock()
		for _, f := range callbacks {
			f(r.err)
		}
	}()
	return r
}

// Result waits until the save has finished and returns its error: nil once the
// checkpoint is complete and durable. It returns the same whenever it is
// called. If ctx ends first Result returns its error, and the save goes on.
//
// A save whose own context is cancelled still has to clean up. A program that
// waits for that before it exits must not wait with the same context:
//
//	cancel()
//	err := resp.Result(context.WithoutCancel(ctx))
func (r *AsyncResponse) Result(ctx context.Context) error {
	// A save that has finished counts also when ctx has ended; of two ready
	// cases the second select would take either.
	select {
	case <-r.done:
		return r.err
	default:
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Done is closed when the save has finished, well or not.
func (r *AsyncResponse) Done() <-chan struct{} { return r.done }

// OnComplete calls f once with what Result returns, when the save has finished:
// on the save's goroutine, or at once if it has finished already.
func (r *AsyncResponse) OnComplete(f func(error)) {
	r.mu.Lock()
	select {
	case <-r.done:
		r.mu.Unlock()
		f(r.err)
	default:
		r.callbacks = append(r.callbacks, f)
		r.mu.Unlock()
	}
}
