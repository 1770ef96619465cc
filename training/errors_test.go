package training_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"math/big"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/training"
)

// Every failure of a method is an *Error, which has the step, and what package orbax says
// of it is said once.
func TestEveryErrorIsAnError(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	root := filepath.Join(t.TempDir(), "run")
	c := openRun(t, root, training.Options{})
	mustSave(t, c, 1, 2)
	var wrong struct{ Other int }
	for name, f := range map[string]struct {
		step int
		of   func() error
	}{
		"save of a bad leaf":               {3, func() error { _, err := c.Save(ctx, 3, map[string]any{"f": func() {}}); return err }},
		"in the background":                {3, func() error { _, err := c.SaveAsync(ctx, 3, map[string]any{"f": func() {}}); return err }},
		"save of a step that is there":     {2, func() error { _, err := c.Save(ctx, 2, stateOf(2)); return err }},
		"load of no leaf":                  {1, func() error { _, err := c.Load(ctx, 1, orbax.Select("nope")); return err }},
		"load of a step that is not there": {7, func() error { _, err := c.Load(ctx, 7); return err }},
		"LoadInto":                         {2, func() error { return c.LoadInto(ctx, training.LatestStep, &wrong) }},
		"LoadAbstract":                     {1, func() error { _, err := c.LoadAbstract(ctx, 1, 5); return err }},
		"LoadCheckpointables":              {1, func() error { _, err := c.LoadCheckpointables(ctx, 1, map[string]any{"nope": nil}); return err }},
		"Resume":                           {2, func() error { _, err := c.Resume(ctx, &wrong); return err }},
		"ResumeCheckpointables":            {2, func() error { _, err := c.ResumeCheckpointables(ctx, map[string]any{"nope": nil}); return err }},
		"Metadata":                         {2, func() error { _, err := c.Metadata(ctx, training.LatestStep, orbax.Name("nope")); return err }},
		"Open":                             {7, func() error { _, err := c.Open(ctx, 7); return err }},
		"Delete":                           {7, func() error { return c.Delete(ctx, 7) }},
		"Delete of a part":                 {2, func() error { return c.Delete(ctx, 2, orbax.Name("nope")) }},
		"Delete of LatestStep":             {-1, func() error { return c.Delete(ctx, training.LatestStep) }},
		"Result": {3, func() error {
			h, resp := hold(t, ctx, c, 3)
			h.end <- errors.New("boom")
			_, err := resp.Result(ctx)
			return err
		}},
		"Cancel": {4, func() error {
			_, resp := hold(t, ctx, c, 4)
			resp.Cancel()
			_, err := resp.Result(ctx)
			if !errors.Is(err, context.Canceled) || strings.Count(err.Error(), "context canceled") > 1 || !strings.Contains(err.Error(), "canceled by the Checkpointer") {
				t.Errorf("Cancel: %v", err)
			}
			return err
		}},
		"EarlierError": {5, func() error {
			h, _ := hold(t, ctx, c, 5)
			h.end <- errors.New("boom")
			err := c.Wait(ctx)
			if earlier, ok := errors.AsType[*training.EarlierError](err); !ok || earlier.Step != 5 {
				t.Errorf("EarlierError: %v", err)
			}
			return err
		}},
	} {
		err := f.of()
		ours, ok := errors.AsType[*training.Error](err)
		if !ok || ours.Step != f.step || ours.Root != root {
			t.Errorf("%s: %#v: %v", name, ours, err)
			continue
		}
		if text := err.Error(); strings.Count(text, root) != 1 || strings.Count(text, "orbax: ") > 1 {
			t.Errorf("%s says twice: %v", name, err)
		}
	}
	if err := c.Delete(ctx, training.LatestStep); !errors.Is(err, orbax.ErrUsage) || !strings.Contains(err.Error(), "LatestStep") {
		t.Errorf("Delete of LatestStep: %v", err)
	}
	if _, ok := c.Latest(); !ok {
		t.Error("LatestStep was deleted")
	}
}

// Metrics may be any number of JSON.
func TestMetricAtAnyNumber(t *testing.T) {
	t.Parallel()
	huge, _ := new(big.Int).SetString("36893488147419103232", 10) // 2^65
	for want, v := range map[float64]any{3: 3, 0.5: 0.5, 1 << 63: uint64(1 << 63), 1 << 65: huge, math.Inf(1): new(big.Int).Lsh(big.NewInt(1), 2000)} {
		if got, err := training.MetricAt("a")(map[string]any{"a": v}); err != nil || got != want {
			t.Errorf("%v: %v, %v", v, got, err)
		}
	}
	c := openRun(t, t.TempDir(), training.Options{
		Preservation: training.BestN{N: 1, Metric: training.MetricAt("a")},
		SaveOptions:  []orbax.SaveCheckpointablesOption{orbax.Immutable()},
	})
	for step, v := range []any{1, huge, uint64(1 << 63)} {
		if _, err := c.Save(t.Context(), step, stateOf(step), orbax.Metrics(map[string]any{"a": v})); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantSteps(t, c, 1, 2) // the best, and the newest
	// What is to be done about a step that stands in the way is said.
	if _, err := c.Save(t.Context(), 3, stateOf(3), orbax.Metrics(map[string]any{"b": 1})); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "until step 3 is deleted, or Metric returns NaN") {
		t.Errorf("without the metric: %v", err)
	}
}

// An error of Resume names a step only if it is about one.
func TestResumeErrorNamesNoStep(t *testing.T) {
	t.Parallel()
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{})
	mustSave(t, c, 0)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var s runState
	_, ctxErr := c.Resume(ended, &s)
	_, inErr := c.Resume(t.Context(), &s, orbax.In(mem.New()))
	c.Close()
	_, closedErr := c.Resume(t.Context(), &s)
	for what, err := range map[string]error{"the context has ended": ctxErr, "another store": inErr, "closed": closedErr} {
		var ours *training.Error
		if !errors.As(err, &ours) || ours.Step != -1 {
			t.Errorf("%s: %+v", what, err)
		}
	}
	if !errors.Is(ctxErr, context.Canceled) || !errors.Is(inErr, orbax.ErrUsage) || !errors.Is(closedErr, fs.ErrClosed) {
		t.Error(ctxErr, inErr, closedErr)
	}
}

// What waits returns the error of its context and its cause, which
// [os/signal.NotifyContext] sets to the signal.
func TestErrorOfAWaitHasTheCause(t *testing.T) {
	t.Parallel()
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{})
	h, resp := hold(t, t.Context(), c, 1)
	signal := errors.New("signal received")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(signal)
	for what, f := range map[string]func() error{
		"Result":       func() error { _, err := resp.Result(ended); return err },
		"Wait":         func() error { return c.Wait(ended) },
		"Save":         func() error { _, err := c.Save(ended, 2, stateOf(2)); return err },
		"Load":         func() error { _, err := c.Load(ended, training.LatestStep); return err },
		"Resume":       func() error { _, err := c.Resume(ended, &runState{}); return err },
		"Reload":       func() error { return c.Reload(ended) },
		"New":          func() error { _, err := training.New(ended, c.Root(), training.Options{}); return err },
		"Latest":       func() error { _, err := training.Latest(ended, c.Root(), training.ReadOptions{}); return err },
		"Steps":        func() error { _, err := training.Steps(ended, c.Root(), training.ReadOptions{}); return err },
		"Delete":       func() error { return c.Delete(ended, 1) },
		"Metadata":     func() error { _, err := training.Metadata(ended, c.Root(), training.ReadOptions{}); return err },
		"RootMetadata": func() error { _, err := c.RootMetadata(ended); return err },
		"Open":         func() error { _, err := c.Open(ended, training.LatestStep); return err },
		"SaveAll":      func() error { _, err := c.SaveCheckpointables(ended, 2, map[string]any{"a": 1}); return err },
	} {
		if err := f(); !errors.Is(err, context.Canceled) || !errors.Is(err, signal) {
			t.Errorf("%s: %v", what, err)
		}
	}
	h.end <- nil
	if saved, err := resp.Result(t.Context()); !saved || err != nil {
		t.Error(saved, err)
	}
}
