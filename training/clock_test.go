package training_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// A step whose time lies in the future says nothing about when the next one is due,
// nor about what is old.
func TestClockThatWasAhead(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(hours ...float64) (checkpoints []training.Step) {
		for i, h := range hours {
			checkpoints = append(checkpoints, training.Step{Step: i, Time: now.Add(time.Duration(h * float64(time.Hour)))})
		}
		return checkpoints
	}
	const year = 365 * 24
	for _, hours := range [][]float64{{year}, {-5, year}, {-5, 0.001}, {-5, year, -2, year}} {
		yes, err := training.ContinuousCheckpointingPolicy{MinimumInterval: time.Hour}.ShouldSave(
			training.Step{Step: 9, Time: now}, at(hours...), training.DecisionContext{})
		if !yes || err != nil {
			t.Errorf("after %v nothing is saved: %v", hours, err)
		}
	}
	for _, test := range []struct {
		hours         []float64
		seconds, last []bool // what EveryNSeconds and LatestDuration of an hour keep
	}{
		{[]float64{year, -2, -1.5, -0.5}, []bool{true, false, false, true}, []bool{false, false, false, true}},
		{[]float64{-3, year, -2, -1.5, -0.5}, []bool{true, true, false, false, true}, []bool{false, false, false, false, true}},
		{[]float64{-3, -2, year}, []bool{true, true, true}, []bool{false, false, true}},
		{[]float64{-3, year, 2 * year}, []bool{true, true, false}, []bool{false, true, true}},
		{[]float64{-3, 2 * year, year, -1.5}, []bool{true, true, false, false}, []bool{false, false, false, false}},
	} {
		for policy, want := range map[training.PreservationPolicy][]bool{
			training.EveryNSeconds{Interval: time.Hour}:  test.seconds,
			training.LatestDuration{Duration: time.Hour}: test.last,
		} {
			keep, err := policy.ShouldPreserve(at(test.hours...), training.PreservationContext{Now: now})
			if err != nil || !slices.Equal(keep, want) {
				t.Errorf("%T, %v: %v, %v; want %v", policy, test.hours, keep, err, want)
			}
		}
	}
}

// setTime makes a step one that was saved at another time.
func setTime(t *testing.T, path string, at time.Time) {
	t.Helper()
	name := filepath.Join(path, "_CHECKPOINT_METADATA")
	doc, err := os.ReadFile(name)
	var m map[string]any
	if err == nil {
		err = json.Unmarshal(doc, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	m["commit_timestamp_nsecs"] = json.Number(strconv.FormatInt(at.UnixNano(), 10))
	doc, err = json.Marshal(m)
	if err == nil {
		err = os.WriteFile(name, doc, 0o644)
	}
	if err == nil {
		err = os.Remove(filepath.Join(path, "digests.sha256"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A run goes on saving, and removing, after a step from the future, and reports it.
func TestRunAfterAStepFromTheFuture(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var log bytes.Buffer
	for _, step := range []int{1, 2} {
		path := filepath.Join(root, strconv.Itoa(step))
		if err := orbax.Save(t.Context(), path, stateOf(step)); err != nil {
			t.Fatal(err)
		}
		setTime(t, path, time.Now().AddDate(step, 0, 0))
	}
	c := openRun(t, root, training.Options{
		SaveDecision: training.ContinuousCheckpointingPolicy{MinimumInterval: 24 * time.Hour},
		Preservation: training.LatestDuration{Duration: time.Nanosecond},
		Logger:       slog.New(slog.NewTextHandler(&log, nil)),
	})
	if saved, err := c.Save(t.Context(), 3, stateOf(3)); !saved || err != nil {
		t.Errorf("saved %t, %v", saved, err)
	}
	if saved, err := c.Save(t.Context(), 4, stateOf(4)); saved || err != nil {
		t.Errorf("a step too early: saved %t, %v", saved, err)
	}
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	wantSteps(t, c, 3)
	if n := strings.Count(log.String(), "lies in the future"); n != 2 {
		t.Errorf("the log tells of %d steps from the future: %s", n, &log)
	}
}

// How much time has passed since the own save is read from the clock that nobody
// sets.
func TestIntervalSinceTheOwnSave(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	asked := 0
	c := openRun(t, root, training.Options{SaveDecision: decide(func(step training.Step, previous []training.Step) bool {
		if asked++; len(previous) == 0 {
			return true
		}
		since := step.Time.Sub(previous[0].Time)
		if since < 0 || since > time.Minute {
			t.Errorf("%v have passed since the save", since)
		}
		for _, at := range []time.Time{step.Time, previous[0].Time} {
			if !strings.Contains(at.String(), " m=") {
				t.Errorf("%v has no reading of the monotonic clock", at)
			}
		}
		return false
	})})
	if saved, err := c.Save(t.Context(), 1, stateOf(1)); !saved || err != nil {
		t.Fatal(saved, err)
	}
	if saved, err := c.Save(t.Context(), 2, stateOf(2)); saved || err != nil || asked != 2 {
		t.Errorf("%t, %v, asked %d times", saved, err, asked)
	}
}

type decide func(step training.Step, previous []training.Step) bool

func (d decide) ShouldSave(step training.Step, previous []training.Step, _ training.DecisionContext) (bool, error) {
	return d(step, previous), nil
}
