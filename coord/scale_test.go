package coord_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/testenv"
)

// counted counts the requests of a process.
type counted struct {
	coord.Driver
	sets, waits *atomic.Int64
}

func (c counted) Set(ctx context.Context, key string, value []byte) error {
	c.sets.Add(1)
	return c.Driver.Set(ctx, key, value)
}

func (c counted) Wait(ctx context.Context, key string, from int) ([]byte, error) {
	c.waits.Add(1)
	return c.Driver.Wait(ctx, key, from)
}

// TestMessages counts the requests of one phase: each process sets and awaits two keys.
func TestMessages(t *testing.T) {
	for _, n := range testenv.Pick([]int{1, 64, 512, 4096}, []int{1, 64, 512}) {
		var sets, waits atomic.Int64
		ctx := within(t, time.Minute)
		start := time.Now()
		for rank, err := range together(n, func(g *coord.Group) error {
			g = coord.NewGroup(counted{g.Driver(), &sets, &waits})
			return g.Begin("trial").Agree(ctx, "one", nil)
		}) {
			if err != nil {
				t.Fatalf("process %d: %v", rank, err)
			}
		}
		if int(sets.Load()) != n || int(waits.Load()) != 2*(n-1) {
			t.Errorf("%d processes: %d keys are set, %d awaited; want %d and %d", n, sets.Load(), waits.Load(), n, 2*(n-1))
		}
		t.Logf("%d processes: %v", n, time.Since(start))
	}
}
