package object_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/storage/object"
)

// errTemporary and errPermanent are answers of a service.
var (
	errTemporary = &object.Error{Op: "test", Status: 503, Temporary: true}
	errPermanent = &object.Error{Op: "test", Status: 403}
)

// A request is tried again while its errors are temporary, and no longer than Patience.
func TestTriesAgain(t *testing.T) {
	wait := &object.Error{Op: "test", Temporary: true, Throttled: true, After: 700 * time.Millisecond}
	tooLong := &object.Error{Op: "test", Temporary: true, After: time.Hour}
	for name, c := range map[string]struct {
		errs        []error // of the attempts; the last one repeats
		want        error
		attempts    [2]int
		least, most time.Duration
	}{
		"success":                      {[]error{nil}, nil, [2]int{1, 1}, 0, 0},
		"temporary":                    {[]error{errTemporary, errTemporary, nil}, nil, [2]int{3, 3}, 150 * time.Millisecond, 450 * time.Millisecond},
		"permanent":                    {[]error{errPermanent}, errPermanent, [2]int{1, 1}, 0, 0},
		"permanent after temporary":    {[]error{errTemporary, errPermanent}, errPermanent, [2]int{2, 2}, 50 * time.Millisecond, 150 * time.Millisecond},
		"without an answer":            {[]error{errors.New("not an Error")}, nil, [2]int{1, 1}, 0, 0},
		"temporary for ever":           {[]error{errTemporary}, errTemporary, [2]int{3, 5}, 350 * time.Millisecond, time.Second},
		"the service wants time":       {[]error{wait, nil}, nil, [2]int{2, 2}, 700 * time.Millisecond, 700 * time.Millisecond},
		"the service wants much time":  {[]error{tooLong}, tooLong, [2]int{1, 1}, 0, 0},
		"a missing object":             {[]error{&object.Error{Err: fs.ErrNotExist}}, fs.ErrNotExist, [2]int{1, 1}, 0, 0},
		"a condition that is not kept": {[]error{&object.Error{Err: object.ErrPrecondition}}, object.ErrPrecondition, [2]int{1, 1}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := object.New(newService(false), object.Options{Patience: time.Second})
				n, start := 0, time.Now()
				err := s.Perform(t.Context(), func(context.Context) error {
					n++
					return c.errs[min(n, len(c.errs))-1]
				})
				took := time.Since(start)
				if c.want != nil && !errors.Is(err, c.want) || c.want == nil && (err == nil) != (c.errs[len(c.errs)-1] == nil) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if n < c.attempts[0] || n > c.attempts[1] {
					t.Errorf("%d attempts, want %v", n, c.attempts)
				}
				if took < c.least || took > c.most {
					t.Errorf("it took %v, want %v to %v", took, c.least, c.most)
				}
			})
		})
	}
}

// A request whose first attempt has taken longer than Patience is tried again.
func TestTriesAgainAfterLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		err := object.New(newService(false), object.Options{Patience: time.Second}).Perform(t.Context(), func(context.Context) error {
			if n++; n > 1 {
				return nil
			}
			time.Sleep(2 * time.Second)
			return errTemporary
		})
		if n != 2 || err != nil {
			t.Errorf("%d attempts, %v", n, err)
		}
	})
}

// A context that ends stops a wait and an attempt at once.
func TestTryIsCancelled(t *testing.T) {
	for name, request := range map[string]func(ctx context.Context) error{
		"between attempts": func(context.Context) error { return &object.Error{Temporary: true, After: 20 * time.Second} },
		"in an attempt":    func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cause := errors.New("enough")
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
				start := time.Now()
				err := object.New(newService(false), object.Options{}).Perform(ctx, request)
				if took := time.Since(start); !errors.Is(err, cause) || took != 50*time.Millisecond {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// A line that is too slow for all the parts that are under way at the same time gets them to
// the service all the same, because fewer and fewer are. One that moves nothing does not.
func TestSlowLine(t *testing.T) {
	const part = 8 << 20
	for _, c := range []struct {
		rate float64 // bytes per second of the line
		want bool
	}{{16 << 20, true}, {1 << 20, true}, {192 << 10, true}, {0, false}} {
		t.Run(fmt.Sprint(c.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := object.New(newService(false), object.Options{})
				var under atomic.Int64
				upload := func(ctx context.Context) error {
					under.Add(1)
					defer under.Add(-1)
					const tick = 100 * time.Millisecond
					for moved := 0.0; moved < part; moved += c.rate * tick.Seconds() / float64(under.Load()) {
						select {
						case <-time.After(tick):
						case <-ctx.Done():
							return ctx.Err()
						}
					}
					return nil
				}
				start := time.Now()
				var group sync.WaitGroup
				for range 64 {
					group.Go(func() {
						if err := s.Move(t.Context(), part, upload); (err == nil) != c.want {
							t.Errorf("after %v: %v", time.Since(start), err)
						}
					})
				}
				group.Wait()
				t.Logf("%v for 512 MiB", time.Since(start))
			})
		})
	}
}

// A gate lets in as many as its bound allows, in the order in which they came, and counts
// them rightly whatever is cancelled.
func TestGate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 5).Draw(t, "most")
		g := object.NewGate(most)
		type guest struct {
			id     int
			cancel context.CancelFunc
			got    chan error
		}
		var waiting []*guest
		inside := 0
		settle := func() { // those whose turn has come are in
			for len(waiting) > 0 {
				in, _, _ := g.Inside()
				if in <= inside {
					return
				}
				if err := <-waiting[0].got; err != nil {
					t.Fatalf("guest %d: %v", waiting[0].id, err)
				}
				waiting = waiting[1:]
				inside++
			}
		}
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"enter", "enter", "leave", "throttled", "cancel"}).Draw(t, "step") {
			case "enter":
				ctx, cancel := context.WithCancel(context.Background())
				v := &guest{i, cancel, make(chan error, 1)}
				_, before, _ := g.Inside()
				inBefore, _, _ := g.Inside()
				go func() { v.got <- g.Enter(ctx) }()
				for { // until it is in or waits
					in, w, _ := g.Inside()
					if in > inBefore || w > before {
						break
					}
				}
				waiting = append(waiting, v)
			case "leave", "throttled":
				if inside > 0 {
					inside--
					g.Leave(rapid.Bool().Draw(t, "throttled"))
				}
			case "cancel":
				if n := len(waiting); n > 0 {
					k := rapid.IntRange(0, n-1).Draw(t, "which")
					v := waiting[k]
					in, _, _ := g.Inside()
					if k < in-inside {
						break // its turn has come
					}
					v.cancel()
					if err := <-v.got; !errors.Is(err, context.Canceled) {
						t.Fatalf("a guest that has gone: %v", err)
					}
					waiting = append(waiting[:k:k], waiting[k+1:]...)
				}
			}
			settle()
			in, w, bound := g.Inside()
			if in != inside || w != len(waiting) || in > most || bound > float64(most) || bound < 1 || w > 0 && float64(in) < bound {
				t.Fatalf("%d inside, %d wait, the bound is %v; want %d and %d", in, w, bound, inside, len(waiting))
			}
		}
		for inside > 0 || len(waiting) > 0 {
			inside--
			g.Leave(false)
			settle()
		}
		if in, w, _ := g.Inside(); in != 0 || w != 0 {
			t.Fatalf("in the end %d are inside and %d wait", in, w)
		}
	})
}

func TestGateRaces(t *testing.T) {
	g := object.NewGate(3)
	var group sync.WaitGroup
	var inside atomic.Int64
	for i := range 200 {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.N(3000))*time.Microsecond)
			defer cancel()
			if g.Enter(ctx) == nil {
				if n := inside.Add(1); n > 3 {
					t.Errorf("%d are inside", n)
				}
				time.Sleep(time.Duration(rand.N(100)) * time.Microsecond)
				inside.Add(-1)
				g.Leave(i%7 == 0)
			}
		})
	}
	group.Wait()
	if in, w, _ := g.Inside(); in != 0 || w != 0 {
		t.Errorf("%d are inside, and %d wait", in, w)
	}
}
