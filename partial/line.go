package partial

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// lines are the operations of this process on each session, by its name in the
// store: one works, the others wait in the order in which they came.
var lines = struct {
	sync.Mutex
	last map[string]*turn
}{last: map[string]*turn{}}

// turn is a place in a line.
type turn struct {
	dir   string
	ahead <-chan struct{} // closed when it is this one's turn
	done  chan struct{}
}

// join takes a place. leave must be called once, at the end of the turn or before it
// has come.
func join(dir string) *turn {
	lines.Lock()
	defer lines.Unlock()
	t := &turn{dir: dir, done: make(chan struct{})}
	if last := lines.last[dir]; last != nil {
		t.ahead = last.done
	} else {
		first := make(chan struct{})
		close(first)
		t.ahead = first
	}
	lines.last[dir] = t
	return t
}

// leave lets the next one have its turn: after those ahead, also if this one has
// given up waiting for them.
func (t *turn) leave() {
	select {
	case <-t.ahead:
		t.pass()
	default:
		go func() {
			<-t.ahead
			t.pass()
		}()
	}
}

func (t *turn) pass() {
	close(t.done)
	lines.Lock()
	defer lines.Unlock()
	if lines.last[t.dir] == t {
		delete(lines.last, t.dir)
	}
}

func (t *turn) wait(ctx context.Context) error {
	select {
	case <-t.ahead:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// How long to wait before another look whether the process that writes a session
// has finished.
const (
	minWait = 2 * time.Millisecond
	maxWait = 100 * time.Millisecond
)

// patiently calls f until it does not fail because another process works on the
// session. Two that have come together give way to each other, and the waits, which
// differ, part them.
func patiently(ctx context.Context, f func() error) error {
	for wait := minWait; ; wait = min(2*wait, maxWait) {
		if err := f(); !errors.Is(err, fault.ErrBusy) {
			return err
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
