package coord_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/coord/coordtest"
)

// together calls f in n processes and returns their errors.
func together(n int, f func(g *coord.Group) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for rank, g := range coord.InProcess(n) {
		wg.Go(func() {
			errs[rank] = f(g)
			g.Close()
		})
	}
	wg.Wait()
	return errs
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// sorted is a Merge that keeps every value.
func sorted(values [][]byte) ([]byte, error) {
	var all []string
	for _, v := range values {
		all = append(all, strings.Fields(string(v))...)
	}
	slices.Sort(all)
	return []byte(strings.Join(all, " ")), nil
}

func TestExchange(t *testing.T) {
	for _, n := range []int{1, 2, 3, 16, 17, 18, 40, 300} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			ctx := within(t, time.Minute)
			var want []string
			for rank := range n {
				want = append(want, fmt.Sprintf("%04d", rank))
			}
			var left []coord.Entry
			for rank, err := range together(n, func(g *coord.Group) error {
				op := g.Begin("trial")
				got, err := op.Exchange(ctx, "gather", fmt.Appendf(nil, "%04d", g.Rank()), nil, sorted)
				if err == nil && string(got) != strings.Join(want, " ") {
					err = fmt.Errorf("got %s", got)
				}
				if err == nil {
					got, err = op.Exchange(ctx, "broadcast", fmt.Append(nil, g.Rank()), nil, nil)
					if err == nil && string(got) != "0" {
						err = fmt.Errorf("broadcast gives %s", got)
					}
				}
				if err = op.End(ctx, err); err == nil {
					err = g.Barrier(ctx, "twice")
				}
				if g.Rank() == 0 {
					var lerr error
					left, lerr = g.Driver().List(ctx, "")
					err = errors.Join(err, lerr)
				}
				return err
			}) {
				if err != nil {
					t.Errorf("process %d: %v", rank, err)
				}
			}
			if len(left) > 0 {
				t.Errorf("%d keys are left: %s", len(left), left[0].Key)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	errDisk := errors.New("the disk is full")
	const n = 20
	for name, c := range map[string]struct {
		// The culprit calls fail instead of passing the phase "two".
		fail func(ctx context.Context, g *coord.Group, op *coord.Op) error
		want string
		is   func(err error) bool
	}{
		"fails": {
			func(ctx context.Context, _ *coord.Group, op *coord.Op) error { return op.Agree(ctx, "two", errDisk) },
			"save ck: process 18 in phase two: the disk is full", func(error) bool { return true },
		},
		"leaves": {
			func(_ context.Context, g *coord.Group, _ *coord.Op) error { return g.Close() },
			"save ck: process 18 is lost in phase two", func(err error) bool { return errors.As(err, new(*coord.LostError)) },
		},
		"is elsewhere": {
			func(ctx context.Context, _ *coord.Group, op *coord.Op) error { return op.Agree(ctx, "three", nil) },
			"save ck: process 18 in phase two: it is at phase three of save ck", func(error) bool { return true },
		},
		"has ended": {
			func(ctx context.Context, _ *coord.Group, op *coord.Op) error { return op.End(ctx, errDisk) },
			"save ck: process 18 in phase end: the disk is full", func(error) bool { return true },
		},
		"has ended early": {
			func(ctx context.Context, _ *coord.Group, op *coord.Op) error { return op.End(ctx, nil) },
			"save ck: process 18 in phase two: it is at phase end of save ck", func(error) bool { return true },
		},
		"is canceled": {
			func(ctx context.Context, _ *coord.Group, op *coord.Op) error {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				return op.Agree(ctx, "two", nil)
			},
			"save ck: process 18 in phase two: context canceled", func(error) bool { return true },
		},
		"does not come": {
			func(ctx context.Context, _ *coord.Group, _ *coord.Op) error {
				<-ctx.Done()
				return ctx.Err()
			},
			"save ck: process 18 in phase two: did not arrive in time", func(err error) bool { return errors.Is(err, coord.ErrTimeout) },
		},
	} {
		for _, culprit := range []int{18, 1, 0} {
			t.Run(fmt.Sprint(name, " ", culprit), func(t *testing.T) {
				t.Parallel()
				ctx := within(t, 2*time.Second)
				errs := together(n, func(g *coord.Group) error {
					op := g.Begin("save ck")
					if err := op.Agree(ctx, "one", nil); err != nil {
						return err
					}
					if g.Rank() == culprit {
						return c.fail(ctx, g, op)
					}
					return op.End(ctx, op.Agree(ctx, "two", nil))
				})
				for rank, err := range errs {
					want := strings.Replace(c.want, "process 18", fmt.Sprint("process ", culprit), 1)
					switch { // the others know process 0 only by what it publishes
					case culprit == 0 && name == "does not come":
						want = fmt.Sprintf("save ck: process %d in phase two: the outcome of process 0 did not arrive in time", rank)
					case culprit <= 1 && name == "is elsewhere":
						want = "" // 16 children of the culprit say the same of each other
					case culprit <= 1 && name == "has ended early":
						want = fmt.Sprintf("save ck: process %d in phase end: it has ended the operation early", culprit)
					}
					if rank == culprit {
						continue
					}
					if err == nil || want != "" && err.Error() != want || !c.is(err) {
						t.Errorf("process %d: %v; want %s", rank, err, want)
					}
				}
			})
		}
	}
}

func TestInProcess(t *testing.T) {
	coordtest.Test(t, func(t *testing.T, n int) []coord.Driver {
		var drivers []coord.Driver
		for _, g := range coord.InProcess(n) {
			t.Cleanup(func() { g.Close() })
			drivers = append(drivers, g.Driver())
		}
		return drivers
	})
}

// Whatever one process does, no other process hangs, and all that are alive agree about
// each phase that has ended for one of them.
func TestRandomFailures(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		n, culprit, at, kind := 2+r.IntN(40), 0, r.IntN(4), r.IntN(3)
		culprit = r.IntN(n)
		ctx := within(t, 20*time.Second)
		passed := make([]int, n)
		start := time.Now()
		errs := together(n, func(g *coord.Group) error {
			op := g.Begin("trial")
			for phase := range 4 {
				own := ctx
				if g.Rank() == culprit && phase == at {
					switch kind {
					case 0:
						return g.Close()
					case 1:
						canceled, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(300))*time.Microsecond)
						defer cancel()
						own = canceled
					case 2:
						return op.End(ctx, op.Agree(ctx, fmt.Sprint(phase), errors.New("bad")))
					}
				}
				if err := op.Agree(own, fmt.Sprint(phase), nil); err != nil {
					return op.End(own, err)
				}
				passed[g.Rank()]++
			}
			return op.End(ctx, nil)
		})
		failed := 0
		for rank, err := range errs {
			if rank == culprit {
				continue
			}
			if err != nil {
				failed++
			}
			if passed[rank] < at {
				t.Errorf("seed %d: process %d has passed %d phases, %v", seed, rank, passed[rank], err)
			}
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("seed %d took %v", seed, took)
		}
		if kind != 1 && failed != n-1 {
			t.Errorf("seed %d: %d of %d have failed", seed, failed, n-1)
		}
	}
}

func TestValuesAreCopies(t *testing.T) {
	g := coord.InProcess(1)[0]
	value := []byte("a")
	if err := g.Driver().Set(t.Context(), "k", value); err != nil {
		t.Fatal(err)
	}
	value[0] = 'b'
	got, err := g.Driver().Get(t.Context(), "k")
	if err != nil || !bytes.Equal(got, []byte("a")) {
		t.Errorf("%s, %v", got, err)
	}
}
