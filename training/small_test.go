package training_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// own are policies and a name format of a program, which can be nil inside of the
// interface.
type (
	ownFormat struct{ training.StandardNameFormat }
	ownSave   func()
)

func (f ownSave) ShouldSave(training.Step, []training.Step, training.DecisionContext) (bool, error) {
	f()
	return true, nil
}

// A nil pointer in an interface is refused, wherever it is given.
func TestNilInside(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	for name, o := range map[string]training.Options{
		"*training.FixedIntervalPolicy":           {SaveDecision: (*training.FixedIntervalPolicy)(nil)},
		"*training.PreemptionCheckpointingPolicy": {SaveDecision: training.AnySavePolicy{(*training.PreemptionCheckpointingPolicy)(nil)}},
		"*training.AnySavePolicy":                 {SaveDecision: training.AnySavePolicy{training.AnySavePolicy{(*training.AnySavePolicy)(nil)}}},
		"training_test.ownSave":                   {SaveDecision: ownSave(nil)},
		"*training.LatestN":                       {Preservation: (*training.LatestN)(nil)},
		"*training.BestN":                         {Preservation: training.AnyPreservationPolicy{training.PreserveAll{}, (*training.BestN)(nil)}},
		"*training.StandardNameFormat":            {StepNameFormat: (*training.StandardNameFormat)(nil)},
		"*training_test.ownFormat":                {StepNameFormat: training.CompositeNameFormat{Write: (*ownFormat)(nil)}},
		"*training.CompositeNameFormat": {StepNameFormat: training.CompositeNameFormat{
			Write: training.StandardNameFormat{}, Read: []training.NameFormat{(*training.CompositeNameFormat)(nil)}}},
	} {
		c, err := training.New(t.Context(), root, o)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), name+" is nil") {
			t.Errorf("%s: %v", name, err)
		}
		if o.StepNameFormat != nil {
			if _, err := training.Latest(t.Context(), root, training.ReadOptions{StepNameFormat: o.StepNameFormat}); err == nil || !strings.Contains(err.Error(), " is nil") {
				t.Errorf("Latest, %s: %v", name, err)
			}
		}
	}
}

// A pointer to a policy or name format of the package is refused, wherever it is given:
// the package recognises them by value.
func TestPointersRefused(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	for name, o := range map[string]training.Options{
		"training.AnySavePolicy":                 {SaveDecision: &training.AnySavePolicy{training.PreemptionCheckpointingPolicy{}}},
		"training.PreemptionCheckpointingPolicy": {SaveDecision: training.AnySavePolicy{&training.PreemptionCheckpointingPolicy{}}},
		"training.LatestN":                       {Preservation: training.AnyPreservationPolicy{&training.LatestN{N: 1}}},
		"training.CompositeNameFormat":           {StepNameFormat: &training.CompositeNameFormat{Write: training.StandardNameFormat{}}},
		"training.StandardNameFormat":            {StepNameFormat: training.CompositeNameFormat{Write: &training.StandardNameFormat{}}},
	} {
		c, err := training.New(t.Context(), root, o)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "give a "+name+" by value") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A program may give its own by pointer, in which a type of the package is embedded.
	openRun(t, root, training.Options{StepNameFormat: &ownFormat{}}).Close()
}

// A response cancels its own save, and no other.
func TestCancelOfAResponse(t *testing.T) {
	t.Parallel()
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{SaveDecision: training.FixedIntervalPolicy{Interval: 2}})
	skipped, err := c.SaveAsync(t.Context(), 1, stateOf(1))
	if err != nil {
		t.Fatal(err)
	}
	skipped.Cancel()
	first, err := c.SaveAsync(t.Context(), 2, stateOf(2))
	if err != nil {
		t.Fatal(err)
	}
	if saved, err := first.Result(t.Context()); err != nil || !saved {
		t.Fatal(saved, err)
	}
	_, resp := hold(t, t.Context(), c, 4)
	first.Cancel() // it has ended
	if !c.SavingInProgress() {
		t.Error("the other save has ended")
	}
	resp.Cancel()
	resp.Cancel()
	if saved, err := resp.Result(t.Context()); saved || !errors.Is(err, context.Canceled) {
		t.Errorf("%t, %v", saved, err)
	}
	if saved, err := first.Result(t.Context()); err != nil || !saved {
		t.Errorf("the first: %t, %v", saved, err)
	}
	if err := c.Wait(t.Context()); err != nil {
		t.Errorf("a failure is told that the program caused: %v", err)
	}
	wantSteps(t, c, 2)
}

// Load options of a Checkpointer are those of each load, before its own.
func TestLoadOptionsOfACheckpointer(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	state := map[string]any{"a": []float32{1, 2}, "b": 3}
	if err := orbax.Save(t.Context(), filepath.Join(root, "1"), state); err != nil {
		t.Fatal(err)
	}
	strict := openRun(t, root, training.Options{})
	c := openRun(t, root, training.Options{LoadOptions: []orbax.LoadCheckpointablesOption{orbax.Cast(), orbax.Partial()}})
	type part struct {
		A []float64 `orbax:"a"`
	}
	for what, load := range map[string]func(c *training.Checkpointer, into *part) error{
		"LoadInto": func(c *training.Checkpointer, into *part) error { return c.LoadInto(t.Context(), 1, into) },
		"Resume": func(c *training.Checkpointer, into *part) error {
			_, err := c.Resume(t.Context(), into)
			return err
		},
		"LoadCheckpointables": func(c *training.Checkpointer, into *part) error {
			_, err := c.LoadCheckpointables(t.Context(), 1, map[string]any{"state": into})
			return err
		},
		"ResumeCheckpointables": func(c *training.Checkpointer, into *part) error {
			_, err := c.ResumeCheckpointables(t.Context(), map[string]any{"state": into})
			return err
		},
	} {
		into := part{make([]float64, 2)}
		if err := load(c, &into); err != nil || into.A[0] != 1 || into.A[1] != 2 {
			t.Errorf("%s: %v, %v", what, into, err)
		}
		if err := load(strict, &into); err == nil {
			t.Errorf("%s without the options succeeds", what)
		}
	}
}

// A save that has failed before it is canceled is reported all the same.
func TestCancelAfterAFailure(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, cancel := range []func(*training.Checkpointer, *training.Response){
		func(_ *training.Checkpointer, r *training.Response) { r.Cancel() },
		func(c *training.Checkpointer, r *training.Response) { c.Cancel(); r.Cancel() },
	} {
		c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{})
		h, resp := hold(t, t.Context(), c, 1)
		h.end <- boom
		<-resp.Done()
		cancel(c, resp)
		var earlier *training.EarlierError
		if err := c.Wait(t.Context()); !errors.Is(err, boom) || !errors.As(err, &earlier) {
			t.Errorf("Wait: %v", err)
		}
	}
}
