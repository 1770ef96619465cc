package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/training"
)

// incremental is the cost of the steps of runs that change one array of a state from step
// to step: saved whole, and sharing unchanged bytes with the step before.
type incremental struct {
	caseResult
	// Steps are the steps of one long run that shares. Verified is the number of steps
	// that were verified after others had been removed, and Damaged the number of these
	// that were damaged.
	Steps    []runStep `json:"steps"`
	Verified int       `json:"verified"`
	Damaged  int       `json:"damaged"`
}

// runStep is a step of the long run.
type runStep struct {
	Seconds float64 `json:"seconds"`
	Written int64   `json:"written_bytes"`
	Disk    int64   `json:"disk_bytes"` // of all steps together, 0 if unknown
}

// longRun is the number of its steps: enough for all bytes to be written again twice with
// the defaults.
const longRun = 20

func parseIncremental(list string) ([]*incremental, error) {
	cases, err := parseCases(list)
	if err != nil {
		return nil, err
	}
	var all []*incremental
	for _, c := range cases {
		all = append(all, &incremental{caseResult: caseResult{Case: c}})
	}
	return all, nil
}

// measureIncremental saves every kind of step in every round, and then the steps of a
// long run, all in this process.
func (r *runner) measureIncremental(ctx context.Context, in *incremental) error {
	if err := in.Case.writeData(ctx, r.data()); err != nil {
		return err
	}
	state, err := r.job(work{}, in.Case, "").filled()
	if err != nil {
		return err
	}
	t := &trainer{state: state}
	defer debug.FreeOSMemory()
	newRow := func(group, who, op, how string) *row {
		return &row{method: method{Group: group, Who: who, work: work{ours, op, how}}}
	}
	whole, first, changed := newRow(groupSave, whoWhole, opSave, howWhole), newRow(groupSave, whoFirst, opSave, ""), newRow(groupSave, whoChanged, opSave, "")
	asyncWhole, asyncChanged := newRow(groupResult, whoWhole, opAsync, howWhole), newRow(groupResult, whoChanged, opAsync, "")
	python := &row{method: method{Group: groupSave, Who: whoOrbax, work: work{orbaxPython, opSave, ""}}, Skipped: r.missing(orbaxPython)}
	in.Rows = []*row{whole, first, changed, python, asyncWhole, asyncChanged}
	for round := range r.rounds {
		turns := []*row{first, whole, changed, asyncWhole, asyncChanged}
		if round%2 == 1 {
			turns = []*row{first, changed, whole, asyncChanged, asyncWhole}
		}
		if round%3 == 0 { // it takes many times as long
			turns = append(turns, python)
		}
		if err := r.measureSteps(ctx, in, t, round, turns); err != nil {
			return err
		}
	}
	err = r.measureLongRun(ctx, in, t)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		r.failed = append(r.failed, fmt.Errorf("incremental: %s: a run: %w", in.Case.Name, err))
	}
	return nil
}

// measureSteps adds a sample to each row, from two new runs: one that shares and one that
// does not.
func (r *runner) measureSteps(ctx context.Context, in *incremental, t *trainer, round int, rows []*row) (err error) {
	shared, err := r.newRun(ctx, "shared", training.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shared.end()) }()
	whole, err := r.newRun(ctx, "whole", training.Options{Sharing: training.Sharing{Off: true}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, whole.end()) }()
	for _, row := range rows {
		if row.Skipped != "" {
			continue
		}
		label := fmt.Sprintf("incremental: %s: round %d of %d: %v", in.Case.Name, round+1, r.rounds, row.method)
		err := r.sample(ctx, row, round, label, func() (sample, error) {
			switch {
			case row.Program != ours:
				return r.measure(ctx, row.method, in.Case)
			case row.How == howWhole:
				return t.save(ctx, whole, row.Op)
			default:
				t.change()
				return t.save(ctx, shared, row.Op)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// measureLongRun saves with the defaults, and then removes steps at random.
func (r *runner) measureLongRun(ctx context.Context, in *incremental, t *trainer) (err error) {
	run, err := r.newRun(ctx, "long", training.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.end()) }()
	for range longRun {
		t.change()
		s, err := t.save(ctx, run, opSave)
		if err != nil {
			return err
		}
		disk, err := allocated(run.root)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		in.Steps = append(in.Steps, runStep{s.Seconds, s.Stored, disk})
		fmt.Fprintf(r.log, "%6.0fs incremental: %s: step %d of a run: %.3f s\n", time.Since(r.start).Seconds(), in.Case.Name, len(in.Steps)-1, s.Seconds)
	}
	return r.removeSteps(ctx, in, run)
}

// removeSteps removes half of the steps at random, half of the rest, and so on until one
// is left. The remaining steps must be intact every time.
func (r *runner) removeSteps(ctx context.Context, in *incremental, run *trainingRun) error {
	steps := rand.Perm(len(in.Steps))
	for n := len(steps); n > 1; n /= 2 {
		for _, step := range steps[n/2 : n] {
			if err := run.Delete(ctx, step); err != nil {
				return err
			}
		}
		for _, step := range steps[:n/2] {
			err := orbax.Verify(ctx, run.Path(step))
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			in.Verified++
			if err != nil {
				in.Damaged++
				r.failed = append(r.failed, fmt.Errorf("incremental: %s: step %d after the removal of %v: %w", in.Case.Name, step, steps[n/2:], err))
			}
		}
	}
	return nil
}

// trainingRun is a run with its steps in its own directory.
type trainingRun struct {
	*training.Checkpointer
	root string
	next int // number of the next step
}

func (r *runner) newRun(ctx context.Context, name string, o training.Options) (*trainingRun, error) {
	root := filepath.Join(r.dir, name)
	c, err := training.New(ctx, root, o)
	return &trainingRun{Checkpointer: c, root: root}, err
}

// end removes the run.
func (run *trainingRun) end() error {
	defer settle()
	return errors.Join(run.Close(), os.RemoveAll(run.root))
}

// save saves the next step and waits for it.
func (run *trainingRun) save(ctx context.Context, op string, state any, options ...orbax.SaveOption) (saved bool, err error) {
	if op == opSave {
		return run.Save(ctx, run.next, state, options...)
	}
	r, err := run.SaveAsync(ctx, run.next, state, options...)
	if err != nil {
		return false, err
	}
	return r.Result(ctx)
}

// trainer has the state of a run, and the memory for the copies of its asynchronous
// saves.
type trainer struct {
	state   map[string]*array.Array
	memory  orbax.SnapshotMemory
	changes int
}

// change changes every page of one array, and of another array in the next step.
func (t *trainer) change() {
	b := t.state[leafName(t.changes%len(t.state))].Bytes()
	for i := 0; i < len(b); i += 4096 {
		b[i]++
	}
	t.changes++
}

// save measures the save of the run's next step, until the step is durable.
func (t *trainer) save(ctx context.Context, run *trainingRun, op string) (s sample, err error) {
	settle()
	debug.FreeOSMemory()
	var stats orbax.Stats
	m := startMeter()
	saved, err := run.save(ctx, op, t.state, orbax.Report(&stats), orbax.ReuseSnapshot(&t.memory))
	if err != nil {
		return s, err
	}
	m.stop(&s)
	if !saved {
		return s, fmt.Errorf("step %d was not saved", run.next)
	}
	run.next++
	s.Digest, s.Copy, s.Stored = stats.Digest.Seconds(), stats.Snapshot.Seconds(), stats.Moved
	return s, nil
}

// judge compares the cost of a step of large states with the goals. For all states it
// requires that the removal of steps damages no other step.
func (in *incremental) judge(all *goals) {
	name := "incremental, " + in.Case.Name
	if in.Case.bulk() {
		beyond := func(s sample) float64 { return s.Seconds - s.Digest - s.Copy }
		for _, group := range []string{groupSave, groupResult} {
			changed, whole := in.row(group, whoChanged), in.row(group, whoWhole)
			all.atMost(9, name, group+", one array changed, written, of the state", in.stored(changed).Max, 0.02)
			all.atMost(9, name, group+", one array changed, beyond fingerprints and copy, of the time of a whole one", changed.ratioOf(whole, beyond).Median, 0.1)
		}
	}
	if in.Verified > 0 {
		all.atMost(9, name, "steps damaged when others are removed", float64(in.Damaged), 0)
	}
}
