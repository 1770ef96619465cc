package partial

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// lines holds the operations of this process on each session, by the session's name in
// the store. One operation works; the others wait in the order in which they came.
var lines = struct {
	sync.Mutex
	last map[string]*turn
}{last: map[string]*turn{}}

// turn is a place in a line.
type turn struct {
	dir   string
	ahead <-chan struct{} // closed when the turn begins
	done  chan struct{}
}

// join takes a place in the line of a session. leave must be called once, at the end of
// the turn or before the turn begins.
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

// leave ends the turn and begins the next one. If this turn has not begun because the
// caller has given up waiting, the next one begins after all turns ahead of this one.
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

// These bound the wait until the next look whether the process that writes a session has
// finished.
const (
	minWait = 2 * time.Millisecond
	maxWait = 100 * time.Millisecond
)

// patiently calls f until f returns something other than the error that another process
// works on the session. Two processes that begin at the same time give way to each other.
// Their waits differ, so one of them is first the next time.
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
