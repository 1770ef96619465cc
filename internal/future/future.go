// Package future provides the outcome of background work. The responses of packages orbax
// and training are made of it.
package future

import (
	"context"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
)

// Future is a value and an error that will be set later. Several goroutines may call its
// methods.
type Future[T any] struct {
	done  chan struct{}
	value T // both are set before done is closed
	err   error

	mu        sync.Mutex // held to close done
	callbacks []func(T, error)
}

// New returns a [Future] whose outcome [Future.Set] sets.
func New[T any]() *Future[T] { return &Future[T]{done: make(chan struct{})} }

// Go runs work in a new goroutine and returns the [Future] of its outcome. If work ends the
// goroutine instead of returning, the outcome is an error.
func Go[T any](work func() (T, error)) *Future[T] {
	f := New[T]()
	var value T
	go parallel.Call(func() (err error) {
		value, err = work()
		return err
	}, func(err error) { f.Set(value, err) })
	return f
}

// Set sets the outcome and then calls the functions that [Future.Then] was given. It must
// be called exactly once.
func (f *Future[T]) Set(value T, err error) {
	f.value, f.err = value, err
	f.mu.Lock()
	close(f.done)
	callbacks := f.callbacks
	f.callbacks = nil
	f.mu.Unlock()
	for _, call := range callbacks {
		call(value, err)
	}
}

// Done returns a channel that is closed when there is an outcome.
func (f *Future[T]) Done() <-chan struct{} { return f.done }

// Ended reports whether there is an outcome.
func (f *Future[T]) Ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// Wait waits for the outcome. If ctx ends before there is one, Wait returns its error with
// its cause.
func (f *Future[T]) Wait(ctx context.Context) error {
	if f.Ended() { // an outcome counts even when ctx has ended; a select could take either
		return nil
	}
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fault.WithCause(ctx, ctx.Err())
	}
}

// Outcome waits for the outcome and returns it.
func (f *Future[T]) Outcome() (T, error) {
	<-f.done
	return f.value, f.err
}

// Then calls call once with the outcome. The call is on the goroutine that calls
// [Future.Set], or at once if there is an outcome already.
func (f *Future[T]) Then(call func(T, error)) {
	f.mu.Lock()
	if !f.Ended() {
		f.callbacks = append(f.callbacks, call)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	call(f.value, f.err)
}

// Pause waits for a time. If ctx ends first, Pause returns its error with its cause.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return fault.WithCause(ctx, ctx.Err())
	}
}
