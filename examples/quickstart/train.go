package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-orbax/orbax"
)

// run is one run of training.
type run struct {
	dir     string // of its checkpoints
	steps   int    // to train up to
	every   int    // steps from one save to the next
	crashAt int    // step after which the process dies; 0 is never
}

// crashed is the exit status of a process that dies at crashAt.
const crashed = 3

// train goes on from the last checkpoint in r.dir, or begins, and trains up to
// r.steps. When ctx is cancelled it stops, and so does a save that is under
// way; the checkpoints that are complete stay.
func train(ctx context.Context, r run, log io.Writer) (err error) {
	training, testing, err := loadDigits()
	if err != nil {
		return err
	}
	state, err := newState(len(training.labels), 1)
	if err != nil {
		return err
	}
	last, found, err := latest(ctx, r.dir)
	if err != nil {
		return err
	}
	if found {
		if err := orbax.LoadInto(ctx, stepPath(r.dir, last), state); err != nil {
			return err
		}
		fmt.Fprintf(log, "  resumed from %s\n", stepPath(r.dir, last))
	}
	t, err := newTrainer(state, training)
	if err != nil {
		return err
	}

	saves := saver{dir: r.dir, log: log}
	defer func() { err = errors.Join(err, saves.wait(ctx)) }()
	for state.Step < r.steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		loss := t.step()
		if state.Step%r.every == 0 || state.Step == r.steps {
			if err := saves.save(ctx, state, loss); err != nil {
				return err
			}
		}
		if state.Step == r.crashAt {
			fmt.Fprintf(log, "  step %4d  the process dies\n", state.Step)
			os.Exit(crashed)
		}
	}
	fmt.Fprintf(log, "  step %4d  test accuracy %.1f %%\n", state.Step, 100*t.net.accuracy(testing))
	return nil
}
