// Package parallel runs functions at the same time and returns the first error. It is
// used wherever a goroutine of this module calls a handler, a store or another function of
// a program: such a function may end its goroutine and return nothing, as the methods
// Fatal and Skip of a test do. Here that is an error. In package errgroup it would count as
// success.
package parallel

import (
	"context"
	"errors"
	"sync"
)

// errExited is the result of a function that did not return.
var errExited = errors.New("a function has ended its goroutine and returned no result (runtime.Goexit, as Fatal and Skip of a test call it)")

// Call calls f, and then done with its result. If f ends the goroutine instead of
// returning, done gets an error, and is the last that the goroutine calls.
func Call(f func() error, done func(error)) {
	err := errExited
	defer func() { done(err) }()
	err = f()
}

// Run calls f in a new goroutine and returns its result. It is for a goroutine that must go
// on even if f ends its own.
func Run(f func() error) error {
	var g Group
	g.Go(f)
	return g.Wait()
}

// Group is a set of functions that run at the same time. The zero value works. A Group
// must not be copied.
type Group struct {
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	limit   chan struct{}

	once sync.Once
	err  error
}

// WithContext returns a [Group] and a context that ends when a function of the group
// fails, or when Wait returns.
func WithContext(ctx context.Context) (*Group, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Group{cancel: cancel}, ctx
}

// SetLimit sets the number of functions that run at the same time. It must be called
// before the first function starts.
func (g *Group) SetLimit(n int) { g.limit = make(chan struct{}, n) }

// Go calls f in a new goroutine, once fewer functions run than the limit allows.
func (g *Group) Go(f func() error) {
	if g.limit != nil {
		g.limit <- struct{}{}
	}
	g.running.Add(1)
	go Call(f, func(err error) {
		if err != nil {
			g.once.Do(func() {
				g.err = err
				if g.cancel != nil {
					g.cancel(err)
				}
			})
		}
		if g.limit != nil {
			<-g.limit
		}
		g.running.Done()
	})
}

// Wait waits until all functions have ended. It returns the first error.
func (g *Group) Wait() error {
	g.running.Wait()
	if g.cancel != nil {
		g.cancel(g.err)
	}
	return g.err
}
