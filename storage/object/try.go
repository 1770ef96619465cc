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
	// trials is how often a request that moves many bytes may get no answer before it fails,
	// whatever Patience is. Each time the bound of the gate falls to a quarter and the bytes
	// get twice the time, because on a slow line too many requests may be under way.
	trials    = 3
	manyBytes = 256 << 10
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
// Options.Patience, but at least once after an attempt without an answer, and up to trials
// attempts if it moves many bytes. Between the attempts it waits longer and longer. A request
// may have succeeded although its attempt fails, because the answer was lost.
func (s *Store) perform(ctx context.Context, e effort, request func(ctx context.Context) error) error {
	if s.invalid != nil {
		return s.invalid
	}
	moving := time.Duration(e.bytes/leastRate) * time.Second
	more := 1 // attempts that Patience does not end
	if e.bytes >= manyBytes {
		more = trials - 1
	}
	start := time.Now()
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		err := s.attempt(ctx, max(e.limit, answerTime+moving), e, request)
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
		// One attempt may have used up all the time of Patience, also one with an answer: the
		// completion of a large upload takes long.
		long := errors.Is(err, errUnanswered) || wait == firstWait && time.Since(start) >= s.o.Patience
		spared := long && more > 0
		if time.Since(start)+pause > s.o.Patience && !spared {
			return fmt.Errorf("tried for %v: %w", time.Since(start).Round(time.Second/10), err)
		}
		if spared {
			more, moving = more-1, 2*moving
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// errUnanswered reports an attempt that was given up because it took too long.
var errUnanswered = errors.New("given up")

// attempt performs a request once.
func (s *Store) attempt(ctx context.Context, limit time.Duration, effort effort, request func(ctx context.Context) error) error {
	end := passed
	if !effort.urgent {
		if err := s.gate.enter(ctx); err != nil {
			return err
		}
		defer func() { s.gate.leave(end) }()
	}
	actx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := request(actx)
	var e *Error
	switch {
	case err != nil && actx.Err() != nil && ctx.Err() == nil:
		err = &Error{Op: "request", Temporary: true, Message: fmt.Sprintf("no answer for %v", limit), Err: fmt.Errorf("%w: %w", errUnanswered, err)}
		if effort.bytes >= manyBytes {
			end = tooSlow
		}
	case errors.As(err, &e) && e.Throttled:
		end = throttled
	}
	return err
}

// gate bounds the requests that are under way. When the service throttles them, or the line
// is too slow for them, the bound becomes smaller; it grows again with every request that
// succeeds.
type gate struct {
	mu      sync.Mutex
	full    float64 // the bound without throttling, on a fast line
	most    float64 // that on this line, as far as is known
	bound   float64
	inside  int
	waiting []chan struct{}
	lowered time.Time // when that happened to the bound last
}

func newGate(most int) *gate {
	return &gate{full: float64(most), most: float64(most), bound: float64(most)}
}

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

// outcome is how a request has ended, as far as a gate has to know.
type outcome int

const (
	passed    outcome = iota
	throttled         // the service wants fewer requests
	tooSlow           // the bytes have not moved in time
)

// leave ends a request. A line that was too slow for some requests gets so many again only
// after hundreds of others have passed.
func (g *gate) leave(o outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	switch {
	case o == passed:
		g.most = min(g.most+1.0/64, g.full)
		g.bound = min(g.bound+1/g.bound, g.most)
	case time.Since(g.lowered) <= time.Second: // requests of the same moment count once
	case o == throttled:
		g.lowered = time.Now()
		g.bound = max(1, g.bound*0.6)
	case o == tooSlow:
		g.lowered = time.Now()
		g.most = max(1, g.bound/2)
		g.bound = max(1, g.bound/4)
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
