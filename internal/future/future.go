// Package future has the outcome of work that goes on in the background, which the
// responses of packages orbax and training are made of.
package future

import (
	"context"
	"sync"
)

// Future is a value and an error that there will be. Its methods may be called by
// several goroutines.
type Future[T any] struct {
	done  chan struct{}
	value T // both are set before done is closed
	err   error

	mu        sync.Mutex // held to close done
	callbacks []func(T, error)
}

// New returns a Future whose outcome [Future.Set] sets.
func New[T any]() *Future[T] { return &Future[T]{done: make(chan struct{})} }

// Go runs work in a goroutine of its own and returns its outcome to come.
func Go[T any](work func() (T, error)) *Future[T] {
	f := New[T]()
	go func() { f.Set(work()) }()
	return f
}

// Set sets the outcome, which must be done once, and then calls what [Future.Then] has
// been given.
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

// Done is closed when there is an outcome.
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

// Wait waits for the outcome. If ctx ends before there is one, Wait returns its cause.
func (f *Future[T]) Wait(ctx context.Context) error {
	if f.Ended() { // which counts also when ctx has ended; a select would take either
		return nil
	}
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Outcome returns the outcome, for which it waits.
func (f *Future[T]) Outcome() (T, error) {
	<-f.done
	return f.value, f.err
}

// Then calls call once with the outcome: on the goroutine that sets it, or at once if
// there is one already.
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
