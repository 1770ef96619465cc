package cloud_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/training"
)

// weights is a state in training. Each step depends on all before it.
type weights struct {
	W    []uint64 `orbax:"w"`
	Step int      `orbax:"step"`
}

// advance trains one step further.
func (w *weights) advance() {
	w.Step++
	for i, v := range w.W {
		w.W[i] = v*6364136223846793005 + uint64(w.Step)
	}
}

func newWeights() *weights {
	return &weights{W: make([]uint64, 20_000), Step: -1}
}

func mirrored(store *object.Store) training.Options {
	return training.Options{
		Preservation: training.LatestN{N: 2},
		Mirror: training.Mirror{
			Root: "run", Store: store, MaxHeld: 1000,
			Preservation: training.AnyPreservationPolicy{training.LatestN{N: 2}, training.EveryNSteps{Interval: 10}},
		},
	}
}

// train resumes a run and trains until stop returns true after a step. It returns the state.
func train(ctx context.Context, root string, store *object.Store, stop func(step int) bool) (w *weights, err error) {
	var c *training.Checkpointer
	for err = orbax.ErrBusy; errors.Is(err, orbax.ErrBusy); time.Sleep(50 * time.Millisecond) {
		c, err = training.New(ctx, root, mirrored(store))
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	w = newWeights()
	if _, err := c.Resume(ctx, w); err != nil && !errors.Is(err, orbax.ErrNotExist) {
		return nil, err
	}
	for {
		w.advance()
		if _, err := c.Save(ctx, w.Step, w); err != nil {
			return nil, err
		}
		if stop(w.Step) {
			break
		}
	}
	waiting, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return w, c.WaitMirror(waiting)
}

func init() {
	jobs["train"] = func(arg string) {
		args := strings.Fields(arg) // cloud, address, bucket, root
		_, err := train(context.Background(), args[3], childStore(args), func(step int) bool {
			fmt.Println("saved", step)
			return false
		})
		fmt.Println("failed", err)
	}
}

// A training process with a mirror behind a bad network is killed again and again. In the end the state is that of a training without any of that,
// and the mirror has exactly the steps that it is to have.
func TestKilledTraining(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	for _, c := range clouds {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr := c.start(t)
			bucket := c.newBucket(t, addr)
			network := &servers.Faults{Busy: c.busy}
			bad := network.Start(t, addr)
			network.Set(15)
			root := filepath.Join(t.TempDir(), "run")
			last := -1
			for range often(200, 30, 4) {
				cmd := exec.CommandContext(t.Context(), exe)
				testenv.SetChild(cmd, "train", strings.Join([]string{c.name, bad, bucket, root}, " "))
				out, err := cmd.StdoutPipe()
				must(t, err)
				cmd.Stderr = os.Stderr
				must(t, cmd.Start())
				killed := false
				for scan := bufio.NewScanner(out); scan.Scan(); {
					var step int
					if _, err := fmt.Sscanf(scan.Text(), "saved %d", &step); err != nil {
						t.Errorf("the child: %s", scan.Text())
						break
					}
					if step <= last {
						t.Errorf("step %d is saved again, after %d", step, last)
					}
					last = step
					if !killed {
						killed = true
						time.AfterFunc(rand.N(500*time.Millisecond), func() { cmd.Process.Kill() })
					}
				}
				cmd.Process.Kill()
				cmd.Wait()
				if t.Failed() {
					return
				}
			}
			good := object.New(c.open(t, addr, bucket), shortLease)
			got, err := train(t.Context(), root, good, func(step int) bool { return step > last+3 })
			must(t, err)
			want := newWeights()
			for want.Step < got.Step {
				want.advance()
			}
			if !slices.Equal(got.W, want.W) {
				t.Errorf("the state of step %d differs from that of an undisturbed training", got.Step)
			}
			t.Logf("%d steps; %v", got.Step, network.Counts())
			time.Sleep(3 * shortLease.Lease) // the claims of the dead end
			run, err := training.New(t.Context(), root, mirrored(good))
			must(t, err)
			must(t, errors.Join(run.WaitMirror(t.Context()), run.Close()))
			wantMirror(t, c.open(t, addr, bucket), good, got.Step)
		})
	}
}

// wantMirror fails the test unless the bucket has exactly the steps that the mirror is to
// have, whole and with their states.
func wantMirror(t *testing.T, b object.Bucket, store *object.Store, newest int) {
	t.Helper()
	var steps []string
	want := newWeights()
	for want.Step < newest {
		want.advance()
		if want.Step%10 != 0 && want.Step < newest-1 {
			continue
		}
		steps = append(steps, fmt.Sprintf("run/%d/", want.Step))
		got := newWeights()
		must(t, orbax.LoadInto(t.Context(), fmt.Sprint("run/", want.Step), got, orbax.In(store)))
		if !slices.Equal(got.W, want.W) {
			t.Errorf("step %d in the mirror is wrong", want.Step)
		}
	}
	page, err := b.List(t.Context(), object.ListOptions{Flat: true})
	must(t, err)
	for page.Next != "" {
		more, err := b.List(t.Context(), object.ListOptions{Flat: true, Token: page.Next})
		must(t, err)
		page.Objects, page.Next = append(page.Objects, more.Objects...), more.Next
	}
	for _, o := range page.Objects {
		if !slices.ContainsFunc(steps, func(s string) bool { return strings.HasPrefix(o.Key, s) }) {
			t.Errorf("%s is left", o.Key)
		}
	}
}
