package partial

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/future"
	"github.com/go-orbax/orbax/storage"
)

// lines holds the operations of this process on each session. One operation works; the
// others wait in the order in which they came.
var lines = struct {
	sync.Mutex
	last map[line]*turn
}{last: map[line]*turn{}}

// line is the line for a session: the store that the caller has given, and the name of the
// session in it. A session that is reached through two stores has two lines; the claims of
// the storage then make the operations wait.
type line struct {
	given storage.Store // nil also for a store of a type that cannot be compared
	dir   string
}

func (s *session) line() line {
	l := line{s.given, s.dir.Name}
	if !reflect.ValueOf(&l.given).Elem().Comparable() {
		l.given = nil
	}
	return l
}

// turn is a place in a line.
type turn struct {
	line  line
	ahead <-chan struct{} // closed when the turn begins
	done  chan struct{}
}

// join takes a place in the line of a session. leave must be called once, at the end of
// the turn or before the turn begins.
func (s *session) join() *turn {
	lines.Lock()
	defer lines.Unlock()
	t := &turn{line: s.line(), done: make(chan struct{})}
	if last := lines.last[t.line]; last != nil {
		t.ahead = last.done
	} else {
		first := make(chan struct{})
		close(first)
		t.ahead = first
	}
	lines.last[t.line] = t
	return t
}

// joinAs is join for the process with a rank. Of several processes that save a part
// together only rank 0 works on the session; the turns of the others begin at once, because
// rank 0 waits for them at its own.
func (s *session) joinAs(rank int) *turn {
	if rank == 0 {
		return s.join()
	}
	now := make(chan struct{})
	close(now)
	return &turn{ahead: now, done: make(chan struct{})}
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
	if lines.last[t.line] == t {
		delete(lines.last, t.line)
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
		if err := future.Pause(ctx, wait/2+rand.N(wait)); err != nil {
			return err
		}
	}
}
