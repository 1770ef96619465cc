package training_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// A program that dies in the save of a step to an object store, at any request, never makes
// a run look new, and the next program waits for nothing but the claim of the dead one.
func TestDeadInSave(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]deadSave{
		"the only step is replaced": {steps: 1, overwrite: true}, "the newest step is replaced": {steps: 3, overwrite: true}, "a new step": {steps: 2}, "the first step": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			most := 1000
			for d.n = 1; d.n <= most && !t.Failed(); d.n++ {
				synctest.Test(t, func(t *testing.T) {
					d.t = t
					if !d.dies() {
						most = 0
						return
					}
					d.early()
					time.Sleep(time.Minute) // its claim ends
					d.late()
				})
			}
			if d.unmarked == 0 {
				t.Error("no death has left the step without its mark")
			}
			t.Logf("%d deaths, %d of them without the mark", d.n, d.unmarked)
		})
	}
}

// deadSave is a run whose program has died in a save.
type deadSave struct {
	steps     int  // that the run has
	overwrite bool // the last of them, instead of a save of the next
	n         int  // the request before which it dies

	t        *testing.T
	bucket   *membucket.Bucket
	step     int       // that was being saved
	marked   bool      // it has its mark
	state    stepState // of the newest step with its mark
	decided  bool      // what it had begun is finished whatever happens
	unmarked int       // deaths that left the step without its mark
}

type stepState struct{ A int }

func (d *deadSave) open(b object.Bucket) (*training.Checkpointer, error) {
	return training.New(d.t.Context(), "run", training.Options{
		Store: object.New(b, object.Options{Patience: time.Second}), Preempted: make(chan struct{}),
	})
}

// dies makes the run and the death. It returns false if the save has ended before.
func (d *deadSave) dies() bool {
	d.t.Helper()
	d.bucket = membucket.New()
	first, err := d.open(d.bucket)
	if err != nil {
		d.t.Fatal(err)
	}
	for step := 1; step <= d.steps; step++ {
		if _, err := first.Save(d.t.Context(), step, &stepState{step}); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		d.t.Fatal(err)
	}
	var armed, dead atomic.Bool
	var n atomic.Int64
	errDead := errors.New("this process is dead")
	dying, err := d.open(&failstore.Bucket{Bucket: d.bucket, Fail: func(string, string) error {
		if armed.Load() && n.Add(1) == int64(d.n) {
			dead.Store(true)
		}
		if dead.Load() {
			return errDead
		}
		return nil
	}})
	if err != nil {
		d.t.Fatal(err)
	}
	armed.Store(true)
	d.step = d.steps + 1
	var options []orbax.SaveOption
	if d.overwrite {
		d.step, options = d.steps, append(options, orbax.Overwrite())
	}
	dying.Save(d.t.Context(), d.step, &stepState{100}, options...)
	died := dead.Load()
	dead.Store(true)
	dying.Close()
	work, err := object.New(d.bucket, object.Options{}).Work(d.t.Context(), fmt.Sprint("run/", d.step))
	if err != nil {
		d.t.Fatal(err)
	}
	d.decided = work != nil && work.Decided
	d.marked = slices.Contains(d.bucket.Keys(), fmt.Sprintf("run/%d/commit_success.txt", d.step))
	if d.decided && !d.marked {
		d.unmarked++
	}
	if d.newest() > 0 {
		if err := orbax.LoadInto(d.t.Context(), fmt.Sprint("run/", d.newest()), &d.state, orbax.In(object.New(d.bucket, object.Options{}))); err != nil {
			d.t.Fatal(err)
		}
	}
	return died
}

func (d *deadSave) errorf(format string, args ...any) {
	d.t.Helper()
	d.t.Errorf("death before request %d: %s", d.n, fmt.Sprintf(format, args...))
}

// early looks at the run while the claim of the dead program counts.
func (d *deadSave) early() {
	ctx := d.t.Context()
	o := training.ReadOptions{Store: object.New(d.bucket, object.Options{})}
	newest, err := training.Latest(ctx, "run", o)
	alone := d.newest() == 0 && d.decided
	switch {
	case d.newest() == 0 && !alone:
		if !errors.Is(err, orbax.ErrNotExist) {
			d.errorf("Latest: %v", err)
		}
	case !alone:
		if want := d.newest(); err != nil || newest.Step != want {
			d.errorf("Latest is %v, %v; want step %d", newest.Step, err, want)
		}
	case !errors.Is(err, orbax.ErrBusy) || !errors.Is(err, orbax.ErrIncomplete) || errors.Is(err, orbax.ErrNotExist):
		d.errorf("Latest: %v", err)
	default:
		for _, want := range []string{"process ", "/claim counts until 2", "no commit_success.txt", "wait and try again", "training.New"} {
			if !strings.Contains(err.Error(), want) {
				d.errorf("Latest has no %q: %v", want, err)
			}
		}
	}
	c, err := d.open(d.bucket)
	if alone {
		if !errors.Is(err, orbax.ErrBusy) || errors.Is(err, orbax.ErrNotExist) || !strings.Contains(err.Error(), "/claim counts until 2") {
			d.errorf("New: %v", err)
		}
		return
	}
	if err != nil {
		d.errorf("New: %v", err)
		return
	}
	defer c.Close()
	var got stepState
	step, err := c.Resume(ctx, &got)
	switch {
	case d.decided && !d.marked && d.overwrite:
		if !errors.Is(err, orbax.ErrBusy) || errors.Is(err, orbax.ErrNotExist) || !strings.Contains(err.Error(), "/claim counts until 2") {
			d.errorf("Resume at step %d: %v", step, err)
		}
		if _, err := c.Load(ctx, training.LatestStep); !errors.Is(err, orbax.ErrBusy) {
			d.errorf("Load of the newest step: %v", err)
		}
	case d.newest() == 0 && errors.Is(err, orbax.ErrNotExist):
	case err != nil || step != d.newest() || got != d.state:
		d.errorf("Resume has step %d, %+v, %v; want step %d, %+v", step, got, err, d.newest(), d.state)
	}
}

// newest is the newest step that has its mark.
func (d *deadSave) newest() int {
	if d.marked {
		return d.step
	}
	return d.step - 1
}

// late looks at the run when the claim of the dead program has ended.
func (d *deadSave) late() {
	ctx := d.t.Context()
	o := training.ReadOptions{Store: object.New(d.bucket, object.Options{})}
	newest, err := training.Latest(ctx, "run", o)
	switch {
	case d.newest() == 0 && d.decided: // a program that only reads finishes nothing
		if !errors.Is(err, orbax.ErrIncomplete) || errors.Is(err, orbax.ErrBusy) || errors.Is(err, orbax.ErrNotExist) ||
			!strings.Contains(err.Error(), "has died") || !strings.Contains(err.Error(), "Repair") {
			d.errorf("Latest: %v", err)
		}
		steps, err := training.Steps(ctx, "run", o)
		if d.overwrite && (err != nil || len(steps) != 1 || !errors.Is(steps[0].Err, orbax.ErrIncomplete)) ||
			!d.overwrite && (!errors.Is(err, orbax.ErrIncomplete) || errors.Is(err, orbax.ErrNotExist)) {
			d.errorf("Steps: %+v, %v", steps, err)
		}
	case d.newest() == 0:
		if !errors.Is(err, orbax.ErrNotExist) {
			d.errorf("Latest: %v", err)
		}
	default:
		if want := d.newest(); err != nil || newest.Step != want {
			d.errorf("Latest is %v, %v; want step %d", newest.Step, err, want)
		}
	}

	c, err := d.open(d.bucket)
	if err != nil {
		d.errorf("New: %v", err)
		return
	}
	want, state := d.newest(), d.state
	if d.decided {
		want, state = d.step, stepState{100}
	}
	var got stepState
	step, err := c.Resume(ctx, &got)
	if isNew := want == 0 && errors.Is(err, orbax.ErrNotExist); !isNew && (err != nil || step != want || got != state) {
		d.errorf("Resume has step %d, %+v, %v; want step %d, %+v", step, got, err, want, state)
	}
	// What this program removes in the background is in its own way no longer than it takes.
	_, err = c.Save(ctx, d.step, &stepState{101}, orbax.Overwrite())
	if err != nil {
		d.errorf("Save: %v", err)
	}
	if err := c.Close(); err != nil {
		d.errorf("Close: %v", err)
	}
	for _, key := range d.bucket.Keys() {
		if strings.Contains(key, ".orbax-checkpoint-tmp") {
			d.errorf("%s is left", key)
		}
	}
	if n := d.bucket.Uploads(); n > 0 {
		d.errorf("%d uploads are left", n)
	}
}
