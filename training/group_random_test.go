package training_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/training"
)

// unknown stands for the outcome of a call in a process that has cancelled it.
const unknown = "?"

// Whatever a program of several processes does, and whichever of its calls fail in one
// process, no call hangs, every call has the same outcome in all of them, and they agree on
// the steps.
func TestGroupRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			root := filepath.Join(t.TempDir(), "run")
			n := 2 + int(seed%4)
			logs := make([][]string, n)
			errs := inGroup(t, n, func(ctx context.Context, g *coord.Group) (err error) {
				random := rand.New(rand.NewPCG(seed, 7)) // the same in all
				own := rand.New(rand.NewPCG(seed, uint64(100+g.Rank())))
				note := func(format string, args ...any) {
					logs[g.Rank()] = append(logs[g.Rank()], fmt.Sprintf(format, args...))
				}
				c, err := openGroup(ctx, root, g, training.Options{Preservation: training.LatestN{N: 3}, SaveDecision: training.AnySavePolicy{
					training.FixedIntervalPolicy{Interval: 3}, training.ContinuousCheckpointingPolicy{}}})
				if err != nil {
					return err
				}
				for step := 0; step < 25; step++ {
					time.Sleep(time.Duration(own.IntN(2000)) * time.Microsecond)
					culprit := random.IntN(4 * n) // mostly none
					kind, old := random.IntN(12), random.IntN(step+1)
					state := any(partOf(step, g))
					call, cancel := context.WithCancel(ctx)
					if culprit == g.Rank() {
						if old%2 == 0 {
							state = map[string]any{"a": make(chan int)}
						} else {
							time.AfterFunc(time.Duration(own.IntN(3000))*time.Microsecond, cancel)
						}
					}
					canceled := culprit == g.Rank() && old%2 == 1 // it does not always know the outcome
					switch kind {
					case 0, 1, 2:
						resp, err := c.SaveAsync(call, step, state)
						skipped := resp != nil && resp.Skipped()
						if earlier := new(training.EarlierError); errors.As(err, &earlier) {
							err = nil
						}
						note("%d: async %t, skipped %t", step, err == nil, skipped)
					case 3, 4:
						saved, err := c.Save(call, step, state)
						if earlier := new(training.EarlierError); errors.As(err, &earlier) {
							err = nil
						}
						note("%d: save %t, %t", step, saved, err == nil)
					case 5:
						want, err := c.ShouldSave(step)
						note("%d: should %t, %t", step, want, err == nil)
					case 6:
						at, err := c.Resume(ctx, partOf(-1, g))
						note("%d: resumed %d, %t", step, at, err == nil)
					case 7:
						err := c.Delete(ctx, old, orbax.MissingOK())
						note("%d: delete %d, %t", step, old, err == nil)
					case 8:
						err := c.LoadInto(ctx, old, partOf(-1, g))
						note("%d: load %d, %t", step, old, err == nil)
					case 9:
						err := c.Reload(ctx)
						note("%d: reload %t", step, err == nil)
					case 10:
						err := c.LoadInto(ctx, training.LatestStep, partOf(-1, g))
						note("%d: load latest %t", step, err == nil)
					case 11:
						c.Wait(ctx)
						note("%d: waited", step)
					}
					if canceled && kind < 5 {
						logs[g.Rank()][step] = unknown
					}
					defer cancel()
				}
				c.Wait(ctx)
				rerr := c.Reload(ctx)
				note("steps %d", listed(c))
				c.Close() // its error is that of the last save, if that has failed
				return rerr
			})
			for rank, err := range errs {
				if err != nil {
					t.Errorf("process %d: %v", rank, err)
				}
				for i, line := range logs[rank] {
					if other := logs[0][i]; line != other && line != unknown && other != unknown {
						t.Fatalf("process %d: %q, process 0: %q\n%q", rank, line, other, logs[0])
					}
				}
			}
			wantRun(t, root, listed(openRun(t, root, training.Options{}))...)
		})
	}
}
