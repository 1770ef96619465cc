package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/training"
)

// run is one run of training.
type run struct {
	dir     string // root of its checkpoints
	steps   int    // last step
	every   int    // steps from one save to the next
	crashAt int    // step after which the process kills itself; 0 is never
	logger  *slog.Logger
}

// crashed is the exit status of a process that kills itself at crashAt.
const crashed = 3

// train resumes from the last checkpoint in r.dir, or starts from the beginning, and
// trains up to step r.steps. On SIGTERM it saves its current step and returns
// errPreempted. When ctx is cancelled it ends at once, and so does a running save. In any
// case the saved steps remain.
func train(ctx context.Context, r run, out io.Writer) (err error) {
	digits, testing, err := loadDigits()
	if err != nil {
		return err
	}
	data := newBatches(digits, 1)
	state, err := newState(1)
	if err != nil {
		return err
	}
	// The checkpointables of a step: everything that the rest of the run depends on.
	items := map[string]any{"state": state, "data": handler.DatasetIterator(data)}

	checkpoints, err := training.New(ctx, r.dir, r.options())
	if err != nil {
		return err
	}
	// Close waits for the last save, and returns its error.
	defer func() { err = errors.Join(err, checkpoints.Close()) }()

	switch step, err := checkpoints.ResumeCheckpointables(ctx, items); {
	case err == nil:
		fmt.Fprintf(out, "  resumed from step %d\n", step)
	case !errors.Is(err, orbax.ErrNotExist): // without a step, this is the beginning
		return err
	}
	t, err := newTrainer(state, data) // the trainer works in the memory of state
	if err != nil {
		return err
	}

	for last := false; state.Step < r.steps && !last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		loss := t.step()
		preempted := checkpoints.Preempted()
		last = preempted || state.Step == r.steps
		save, err := checkpoints.ShouldSave(state.Step)
		if err != nil {
			return err
		}
		if !save && !last {
			continue
		}
		accuracy := t.net.accuracy(testing)
		options := []orbax.SaveCheckpointablesOption{
			orbax.Metrics(map[string]any{"loss": loss, "accuracy": accuracy}),
			orbax.CustomMetadata(map[string]any{"preempted": preempted}),
		}
		if last {
			options = append(options, training.Force()) // whatever the policy says
		}
		start := time.Now()
		// The save returns once it has a copy of state, and does the rest in the
		// background.
		if _, err := checkpoints.SaveCheckpointablesAsync(ctx, state.Step, items, options...); err != nil {
			return err
		}
		fmt.Fprintf(out, "  step %4d  loss %.4f  accuracy %.1f %%  save blocked training for %v\n",
			state.Step, loss, 100*accuracy, time.Since(start).Round(time.Microsecond))
		if state.Step == r.crashAt {
			fmt.Fprintf(out, "  step %4d  the process dies\n", state.Step)
			os.Exit(crashed)
		}
	}
	if err := checkpoints.Wait(ctx); err != nil {
		return err
	}
	if state.Step < r.steps {
		return fmt.Errorf("%w at step %d, which is saved: the same command goes on from it", errPreempted, state.Step)
	}
	return nil
}

// errPreempted reports that a run has ended early.
var errPreempted = errors.New("told to end")

// options says which steps are saved and which are kept. The zero Options save as often
// as the disk allows, and keep everything.
func (r run) options() training.Options {
	return training.Options{
		SaveDecision: training.AnySavePolicy{
			training.FixedIntervalPolicy{Interval: r.every},
			training.PreemptionCheckpointingPolicy{}, // SIGTERM
		},
		Preservation: training.AnyPreservationPolicy{
			training.LatestN{N: 2},
			training.BestN{N: 1, Metric: training.MetricAt("accuracy")},
			training.EveryNSteps{Interval: 300},
		},
		CustomMetadata: map[string]any{"data": "digits", "layers": sizes}, // of the run
		Logger:         r.logger,
	}
}
