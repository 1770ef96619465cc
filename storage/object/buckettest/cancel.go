package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"time"

	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/object"
)

var cancelTests = []test{
	{"before", testCancelledBefore},
	{"under way", testCancelledUnderWay},
	{"deadline", testDeadline},
}

// A call whose context has ended fails with the error of the context, and does nothing.
func testCancelledBefore(e *env) {
	made := e.put("key", []byte("there"))
	u := e.small("upload", "x", object.PutOptions{})
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	for what, do := range map[string]func() error{
		"Get":  func() error { _, _, err := e.b.Get(ctx, "key", "", [][]byte{make([]byte, 5)}, 0); return err },
		"Stat": func() error { _, err := e.b.Stat(ctx, "key"); return err },
		"List": func() error { _, err := e.b.List(ctx, object.ListOptions{}); return err },
		"Put": func() error {
			_, err := e.b.Put(ctx, "new", [][]byte{[]byte("x")}, object.PutOptions{})
			return err
		},
		"Upload": func() error { // Azure and GCS make no request yet
			u, err := e.b.Upload(ctx, "new", 1, object.PutOptions{})
			switch {
			case err != nil && u != nil:
				return fmt.Errorf("an Upload that is not nil comes with the error %v", err)
			case err == nil:
				return ctx.Err()
			}
			return err
		},
		"Copy":         func() error { _, err := e.b.Copy(ctx, object.Ref{Key: "key"}, "new", object.PutOptions{}); return err },
		"Delete":       func() error { return e.b.Delete(ctx, []object.Ref{{Key: "key"}}) },
		"AbortUploads": func() error { return e.b.AbortUploads(ctx, "upload") },
		"Part":         func() error { return u.Part(ctx, 1, 0, [][]byte{[]byte("y")}) },
		"Complete":     func() error { _, err := u.Complete(ctx); return err },
		"Abort":        func() error { return u.Abort(ctx) },
	} {
		started := time.Now()
		if err := do(); !errors.Is(err, context.Canceled) {
			// An AbortUploads that has nothing to do need not look at the context.
			if what != "AbortUploads" || e.o.Uploads != nil || err != nil {
				e.Errorf("%s: got the error %v, want %v", what, err, context.Canceled)
			}
		}
		if d := time.Since(started); d > 10*time.Second {
			e.Errorf("%s returned after %v", what, d)
		}
	}
	e.lacks("new")
	e.lacks("upload")
	if info := e.holds("key", []byte("there")); info.Version != made.Version {
		e.Errorf("the version is %q, want %q", info.Version, made.Version)
	}
	_, err := u.Complete(e.Context())
	e.must("Complete", err)
	e.holds("upload", []byte("x"))
}

// A call that is cancelled returns soon and leaves no goroutine. An object is there as a
// whole or not at all.
func testCancelledUnderWay(e *env) {
	want := data(10, 4<<20)
	e.put("key", want)
	for i := range testenv.Pick(40, 8) {
		delay := time.Duration(i*i) * 100 * time.Microsecond
		got := make([]byte, len(want))
		err := e.cancelled(delay, func(ctx context.Context) error {
			n, _, err := e.b.Get(ctx, "key", "", [][]byte{got}, 0)
			if !bytes.Equal(got[:n], want[:n]) || err == nil && n != len(want) {
				e.Errorf("a Get that was cancelled after %v has filled %d bytes, and they may differ", delay, n)
			}
			return err
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			e.Errorf("Get, cancelled after %v: got the error %v", delay, err)
		}
		err = e.cancelled(delay, func(ctx context.Context) error {
			_, err := e.b.Put(ctx, "new", [][]byte{want}, object.PutOptions{})
			return err
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			e.Errorf("Put, cancelled after %v: got the error %v", delay, err)
		}
		switch _, serr := e.b.Stat(e.Context(), "new"); {
		case serr == nil:
			e.holds("new", want)
			e.must("Delete", e.b.Delete(e.Context(), []object.Ref{{Key: "new"}}))
		case err == nil || !errors.Is(serr, fs.ErrNotExist):
			e.Errorf("Stat after a Put with the error %v: %v", err, serr)
		}
	}
	e.noGoroutines()
}

// cancelled runs do, and cancels its context after a while. do must return soon then.
func (e *env) cancelled(after time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(e.Context())
	defer cancel()
	ended := make(chan time.Time, 1)
	timer := time.AfterFunc(after, func() { ended <- time.Now(); cancel() })
	defer timer.Stop()
	err := do(ctx)
	select {
	case at := <-ended:
		if d := time.Since(at); d > 10*time.Second {
			e.Errorf("the call returned %v after it was cancelled", d)
		}
	default:
	}
	return err
}

// A deadline ends a call as a cancellation does.
func testDeadline(e *env) {
	e.put("key", []byte("there"))
	ctx, cancel := context.WithDeadline(e.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, _, err := e.b.Get(ctx, "key", "", [][]byte{make([]byte, 5)}, 0); !errors.Is(err, context.DeadlineExceeded) {
		e.Errorf("Get: got the error %v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := e.b.Put(ctx, "new", [][]byte{[]byte("x")}, object.PutOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		e.Errorf("Put: got the error %v, want %v", err, context.DeadlineExceeded)
	}
	e.lacks("new")
}

// noGoroutines fails the test if a goroutine that a driver has started is left. Those of
// idle connections are not the driver's.
func (e *env) noGoroutines() {
	e.Helper()
	var left []string
	for range 100 {
		left = left[:0]
		all := make([]byte, 1<<20)
		for stack := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
			by := strings.LastIndex(stack, "created by ")
			if by >= 0 && strings.HasPrefix(stack[by:], "created by github.com/go-orbax/orbax/storage/") && !strings.Contains(stack[by:], "/buckettest.") &&
				!strings.Contains(stack[by:], "_test.") && !strings.Contains(stack[by:], "/internal/servers.") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	e.Errorf("goroutines are left:\n%s", strings.Join(left, "\n\n"))
}
