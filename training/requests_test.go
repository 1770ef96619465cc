package training_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// A program that reads a long run in an object store makes few requests.
func TestRequestsOfRun(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	bucket := &failstore.Bucket{Bucket: membucket.New()}
	store := object.New(bucket, object.Options{})
	const steps = 500
	save := func(step int, options ...orbax.SaveOption) {
		t.Helper()
		if err := orbax.Save(ctx, fmt.Sprint("run/", step), map[string]any{"step": step}, append(options, orbax.In(store))...); err != nil {
			t.Fatal(err)
		}
	}
	for step := range steps {
		save(step)
	}
	most := func(what string, most int) {
		t.Helper()
		made := bucket.Take()
		t.Logf("%s: %d requests", what, len(made.All))
		if len(made.All) > most {
			t.Errorf("%s: want at most %d requests, got %v", what, most, made)
		}
		if i := slices.IndexFunc(made.All, func(q string) bool { return strings.HasSuffix(q, "/claim") }); i >= 0 {
			t.Errorf("%s: nothing is claimed, and %s is a request", what, made.All[i])
		}
	}
	bucket.Take()
	o := training.ReadOptions{Store: store, Interval: time.Millisecond}
	newest, err := training.Latest(ctx, "run", o)
	if err != nil || newest.Step != steps-1 || newest.Time.IsZero() {
		t.Fatalf("%+v, %v", newest, err)
	}
	most("Latest", 3)
	all, err := training.Steps(ctx, "run", o)
	if err != nil || len(all) != steps {
		t.Fatalf("%d steps, %v", len(all), err)
	}
	most("Steps", 2*steps+20) // each is opened once

	// A Checkpointer opens no step again that has not changed. It finds the one that has.
	c, err := training.New(ctx, "run", training.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bucket.Take()
	if err := c.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	most("Reload of a run that is the same", 20)
	before := c.Checkpoints()
	save(250, orbax.Overwrite())
	bucket.Take()
	if err := c.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	most("Reload of a run with one new step", 25)
	after := c.Checkpoints()
	same := func(a, b training.Step) bool { return a.Step == b.Step && a.Time.Equal(b.Time) }
	if same(before[250], after[250]) || !same(before[249], after[249]) || len(after) != steps {
		t.Errorf("step 250 was %+v and is %+v", before[250], after[250])
	}

	looks := 0
	watched, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	bucket.Take()
	var seen []int
	for step, err := range training.Watch(watched, "run", o) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, step.Step)
		if looks++; looks == 1 {
			save(steps-1, orbax.Overwrite()) // it is reported again
			continue
		}
		break
	}
	if !slices.Equal(seen, []int{steps - 1, steps - 1}) {
		t.Errorf("Watch has %d", seen)
	}
}
