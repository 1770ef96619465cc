package coord_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/coord"
)

// A process that comes after the others have given up gets to know their failure at once.
// The keys that it needs for that go with the next operation.
func TestLate(t *testing.T) {
	for _, late := range []int{1, 18, 0} {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			t.Parallel()
			ctx := within(t, time.Minute)
			const n = 20
			var others sync.WaitGroup
			others.Add(n - 1)
			groups := coord.InProcess(n)
			var all sync.WaitGroup
			for rank, g := range groups {
				all.Go(func() {
					op := g.Begin("trial")
					if rank == late {
						others.Wait()
					} else {
						defer others.Done()
						g.Timeout = 500 * time.Millisecond
					}
					start := time.Now()
					err := op.End(ctx, op.Agree(ctx, "one", nil))
					g.Timeout = 0
					if !errors.Is(err, coord.ErrTimeout) && rank > 0 { // process 0 has the reports of all, and fails in the next phase
						t.Errorf("process %d: %v", rank, err)
					}
					if took := time.Since(start); took > 4*time.Second {
						t.Errorf("process %d has taken %v", rank, took)
					}
				})
			}
			all.Wait()
			for _, g := range groups {
				all.Go(func() {
					if err := g.Barrier(ctx, "next"); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if left, err := groups[0].Driver().List(ctx, ""); err != nil || len(left) > 0 {
				t.Errorf("%d keys are left, such as %v; %v", len(left), left[:min(1, len(left))], err)
			}
		})
	}
}

// The lowest of the processes that are alive acts in place of the one that is absent, and the
// others get its error. If it is lost before it has acted, the next one does.
func TestInstead(t *testing.T) {
	errFull := errors.New("the disk is full")
	for _, c := range []struct {
		absent int
		leave  []int // while they act
		want   []int // the processes that act
	}{
		{absent: 0, want: []int{1}},
		{absent: 2, want: []int{0}},
		{absent: 0, leave: []int{1, 2}, want: []int{1, 2, 3}},
	} {
		ctx := within(t, 10*time.Second)
		var mu sync.Mutex
		var acted []int
		for rank, err := range together(5, func(g *coord.Group) error {
			if g.Rank() == c.absent {
				return nil
			}
			return g.Begin("trial").Instead(ctx, c.absent, func() error {
				mu.Lock()
				acted = append(acted, g.Rank())
				mu.Unlock()
				if slices.Contains(c.leave, g.Rank()) {
					g.Close()
				}
				return errFull
			})
		}) {
			if rank != c.absent && (err == nil || !strings.Contains(err.Error(), "the disk is full")) {
				t.Errorf("%v: process %d: %v", c, rank, err)
			}
		}
		if !slices.Equal(acted, c.want) {
			t.Errorf("%v: %v have acted", c, acted)
		}
	}
}
