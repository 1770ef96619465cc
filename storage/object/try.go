package object

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	firstWait = 100 * time.Millisecond
	maxWait   = 10 * time.Second
	// answerTime is how long an attempt may take, and leastRate the bytes per second that it
	// must move beyond that. A connection that stalls is given up then.
	answerTime = 20 * time.Second
	leastRate  = 128 << 10
	// readRate is how many bytes per second a read must move to make progress. It is far less
	// than leastRate, because many reads may share a slow line.
	readRate = 1 << 10
	// assemblyRate is how many bytes per second a service must make one object of its parts.
	assemblyRate = 32 << 20
)

// effort describes a request to [Store.perform].
type effort struct {
	bytes  int64         // that it moves
	urgent bool          // it does not wait for others
	limit  time.Duration // the least time for it, if the service moves the bytes
}

// try performs a request that moves few bytes; see [Store.perform].
func (s *Store) try(ctx context.Context, request func(ctx context.Context) error) error {
	return s.perform(ctx, effort{}, request)
}

// perform performs a request, and again while its errors are temporary, for the time of
// Options.Patience, but at least once after an attempt without an answer. Between the
// attempts it waits longer and longer. A request may have succeeded although its attempt
// fails, because the answer was lost.
func (s *Store) perform(ctx context.Context, e effort, request func(ctx context.Context) error) error {
	if s.invalid != nil {
		return s.invalid
	}
	limit := max(e.limit, answerTime+time.Duration(e.bytes/leastRate)*time.Second)
	start := time.Now()
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		err := s.attempt(ctx, limit, e.urgent, request)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case !isTemporary(err):
			return err
		}
		pause := wait/2 + rand.N(wait)
		var answer *Error
		if errors.As(err, &answer) {
			pause = max(pause, answer.After)
		}
		// One attempt that was given up may have used up all the time of Patience.
		first := wait == firstWait && time.Since(start) >= limit
		if time.Since(start)+pause > s.o.Patience && !first {
			return fmt.Errorf("tried for %v: %w", time.Since(start).Round(time.Second/10), err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// attempt performs a request once.
func (s *Store) attempt(ctx context.Context, limit time.Duration, urgent bool, request func(ctx context.Context) error) error {
	if !urgent {
		if err := s.gate.enter(ctx); err != nil {
			return err
		}
	}
	throttled := false
	defer func() {
		if !urgent {
			s.gate.leave(throttled)
		}
	}()
	actx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := request(actx)
	if err != nil && actx.Err() != nil && ctx.Err() == nil {
		err = &Error{Op: "request", Temporary: true, Message: fmt.Sprintf("no answer for %v", limit), Err: err}
	}
	var e *Error
	throttled = errors.As(err, &e) && e.Throttled
	return err
}

// gate bounds the requests that are under way. When the service throttles them, the bound
// becomes smaller; it grows again with every request that succeeds.
type gate struct {
	mu      sync.Mutex
	most    float64 // the bound without throttling
	bound   float64
	inside  int
	waiting []chan struct{}
	cut     time.Time // when the bound was last lowered
}

func newGate(most int) *gate { return &gate{most: float64(most), bound: float64(most)} }

// enter waits until one more request may begin.
func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	if float64(g.inside) < g.bound {
		g.inside++
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	g.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiting {
		if w == turn {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	g.inside-- // its turn came at the same time
	g.admit()
	return ctx.Err()
}

// leave ends a request.
func (g *gate) leave(throttled bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	switch {
	case !throttled:
		g.bound = min(g.bound+1/g.bound, g.most)
	case time.Since(g.cut) > time.Second: // the answers to requests of the same moment count once
		g.cut = time.Now()
		g.bound = max(1, g.bound*0.6)
	}
	g.admit()
}

// admit lets those in that wait, as far as the bound allows.
func (g *gate) admit() {
	for len(g.waiting) > 0 && float64(g.inside) < g.bound {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.inside++
	}
}
