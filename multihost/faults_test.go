package multihost_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
)

// Whichever operation on the store fails in one process, the save fails in all of them or
// succeeds in all. After a failure nothing is left, and the group can go on.
func TestStoreFails(t *testing.T) {
	for _, w := range ways {
		for _, culprit := range []int{0, 2} {
			t.Run(fmt.Sprint(w.name, " ", culprit), func(t *testing.T) {
				failed := 0
				for n := 0; ; n += testenv.Pick(1, 5) {
					tr := newTrial(t, w, 3)
					at := ""
					var mu sync.Mutex
					count := 0
					before := func(op, name string) error {
						mu.Lock()
						defer mu.Unlock()
						count++
						if count != n+1 {
							return nil
						}
						at = op + " " + filepath.Base(name)
						return fmt.Errorf("%w: operation %d", orbax.ErrNoSpace, n)
					}
					failing := failstore.New(storage.Local(), before)
					groups := coord.InProcess(tr.size)
					start := time.Now()
					errs := tr.run(groups, func(g *coord.Group) error {
						store := storage.Local()
						if g.Rank() == culprit {
							store = failing
						}
						return tr.save(t.Context(), g, store, 2)
					})
					took := time.Since(start)
					ok := !slices.ContainsFunc(errs, func(err error) bool { return err != nil })
					if testing.Verbose() {
						t.Logf("operation %d, %s: %v: %v", n, at, took, errs[1])
					}
					if ok {
						tr.wantVersion(2)
						tr.wantNothingElse()
					} else {
						failed++
						for rank, err := range errs {
							if !errors.Is(err, orbax.ErrNoSpace) {
								t.Errorf("operation %d, %s: process %d: %v; want ErrNoSpace", n, at, rank, err)
							}
							if rank != culprit {
								tr.wantFailure(rank, culprit, err)
							}
						}
						tr.wantNothingLeft()
						tr.wantSuccess(groups, 3)
					}
					if took > 3*time.Second {
						t.Errorf("operation %d, %s: took %v", n, at, took)
					}
					for _, g := range groups {
						g.Close()
					}
					tr.wantNoGoroutines()
					if t.Failed() {
						t.Fatalf("operation %d, %s", n, at)
					}
					if at == "" {
						break
					}
				}
				if failed < testenv.Pick(5, 1) {
					t.Errorf("only %d operations have failed", failed)
				}
			})
		}
	}
}

// leaver is the driver of a process that leaves the group at its n-th request.
type leaver struct {
	coord.Driver
	n  *int
	mu *sync.Mutex
}

func (l leaver) step() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *l.n--; *l.n == 0 {
		l.Close()
	}
}

func (l leaver) Set(ctx context.Context, key string, value []byte) error {
	l.step()
	return l.Driver.Set(ctx, key, value)
}

func (l leaver) Wait(ctx context.Context, key string, from int) ([]byte, error) {
	l.step()
	return l.Driver.Wait(ctx, key, from)
}

// Wherever a process is lost, the save has one outcome, the others get to know it at once,
// and a new group can go on.
func TestLeaves(t *testing.T) {
	for i, w := range append(slices.Clone(ways), ways[1]) {
		size, culprits, step := 3, []int{0, 2}, 5
		if i == len(ways) { // reports pass through process 1
			size, culprits, step = 20, []int{0, 1, 18}, 25
		}
		for _, culprit := range culprits {
			t.Run(fmt.Sprint(w.name, " ", culprit, " of ", size), func(t *testing.T) {
				outcomes := map[string]int{}
				for n := 1; ; n += testenv.Pick(1, step) {
					tr := newTrial(t, w, size)
					groups := coord.InProcess(tr.size)
					left := n
					groups[culprit] = coord.NewGroup(leaver{groups[culprit].Driver(), &left, new(sync.Mutex)})
					start := time.Now()
					errs := tr.run(groups, func(g *coord.Group) error { return tr.save(t.Context(), g, storage.Local(), 2) })
					if took := time.Since(start); took > 3*time.Second {
						t.Errorf("the processes have taken %v", took)
					}
					committed := tr.wantOutcome(culprit, errs)
					outcomes[fmt.Sprint("committed ", committed)]++
					for _, g := range groups {
						g.Close()
					}
					tr.wantNoGoroutines()
					tr.wantSuccess(coord.InProcess(tr.size), 3)
					if t.Failed() {
						t.Fatalf("request %d: %v", n, errs)
					}
					if left > 0 {
						break
					}
				}
				t.Log(outcomes)
			})
		}
	}
}

// Whenever the context of one process ends, the save has one outcome, nothing is left, and
// the group can go on.
func TestCanceledTogether(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	outcomes := map[string]int{}
	for range testenv.Pick(400, 20) {
		w := ways[r.IntN(len(ways))]
		culprit := r.IntN(3)
		tr := newTrial(t, w, 3)
		groups := coord.InProcess(tr.size)
		ctx, cancel := context.WithCancel(t.Context())
		after := time.Duration(r.Int64N(int64(30 * time.Millisecond)))
		timer := time.AfterFunc(after, cancel)
		start := time.Now()
		errs := tr.run(groups, func(g *coord.Group) error {
			if g.Rank() == culprit {
				return tr.save(ctx, g, storage.Local(), 2)
			}
			return tr.save(t.Context(), g, storage.Local(), 2)
		})
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("the processes have taken %v", took)
		}
		timer.Stop()
		cancel()
		failed := 0
		for _, err := range errs {
			if err != nil {
				failed++
			}
		}
		outcomes[fmt.Sprintf("committed %t, %d have failed", tr.wantOutcome(culprit, errs), failed)]++
		if err := errs[culprit]; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the process whose context has ended: %v", err)
		}
		tr.wantSuccess(groups, 3)
		for _, g := range groups {
			g.Close()
		}
		tr.wantNoGoroutines()
		if t.Failed() {
			t.Fatalf("%s %d, after %v: %v", w.name, culprit, after, errs)
		}
	}
	t.Log(outcomes)
}

// If a process does not come, the others stop waiting when the timeout of the group or
// their own deadline has passed. If it comes later, it gets to know that at once, and the
// group can go on.
func TestComesLate(t *testing.T) {
	for _, culprit := range []int{0, 2} {
		for _, deadline := range []bool{false, true} {
			t.Run(fmt.Sprint(culprit, deadline), func(t *testing.T) {
				t.Parallel()
				tr := newTrial(t, ways[1], 3)
				const patience = time.Second
				groups := coord.InProcess(tr.size)
				var others sync.WaitGroup
				others.Add(tr.size - 1)
				errs := tr.run(groups, func(g *coord.Group) error {
					ctx := t.Context()
					if deadline {
						limited, cancel := context.WithTimeout(ctx, patience)
						defer cancel()
						ctx = limited
					} else {
						g.Timeout = patience
					}
					if g.Rank() == culprit {
						others.Wait()
						g.Timeout, ctx = time.Minute, t.Context()
					} else {
						defer others.Done()
					}
					start := time.Now()
					err := tr.save(ctx, g, storage.Local(), 2)
					if took := time.Since(start); took > patience+3*time.Second {
						t.Errorf("process %d has taken %v", g.Rank(), took)
					}
					return err
				})
				tr.wantOutcome(culprit, errs)
				for rank, err := range errs {
					if !errors.Is(err, coord.ErrTimeout) {
						t.Errorf("process %d: %v; want ErrTimeout", rank, err)
					}
				}
				for _, g := range groups {
					g.Timeout = time.Minute
				}
				tr.wantSuccess(groups, 3)
				if keys, err := groups[0].Driver().List(t.Context(), ""); err != nil || len(keys) > 0 {
					t.Errorf("%d keys are left, %v", len(keys), err)
				}
			})
		}
	}
}
