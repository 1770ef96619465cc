package training_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// withAndWithoutTimes runs a test on a store that knows when a directory was changed, and
// on one that does not.
func withAndWithoutTimes(t *testing.T, test func(t *testing.T, root string, h *hooks)) {
	for name, h := range map[string]*hooks{"times": {}, "no times": {noTimes: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, filepath.ToSlash(filepath.Join(t.TempDir(), "run")), h)
		})
	}
}

// A whole life of a run: its steps are saved, removed, damaged, replaced and resumed.
func TestRunWithoutTimes(t *testing.T) {
	t.Parallel()
	withAndWithoutTimes(t, func(t *testing.T, root string, h *hooks) {
		ctx := t.Context()
		o := training.Options{Store: h.store(), Preservation: training.LatestN{N: 3}, Sharing: training.Sharing{Off: true}}
		c := openRun(t, root, o)
		if _, err := c.Resume(ctx, &runState{}); !errors.Is(err, orbax.ErrNotExist) {
			t.Errorf("a new run: %v", err)
		}
		mustSave(t, c, 1, 2, 3, 4, 5)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		flipData(t, c.Path(5))
		if err := os.WriteFile(filepath.Join(c.Path(4), "state", "_METADATA"), []byte("{"), 0o666); err != nil {
			t.Fatal(err)
		}
		c = openRun(t, root, o)
		if got := listed(c); !slices.Equal(got, []int{3, 4, 5}) {
			t.Fatalf("steps %v", got)
		}
		var s runState
		if at, err := c.Resume(ctx, &s); at != 3 || err != nil || s.check(3) != nil {
			t.Fatalf("resumed at %d, %v, %v", at, err, s.check(3))
		}
		if _, err := c.Save(ctx, 3, stateOf(3)); !errors.Is(err, orbax.ErrExist) {
			t.Errorf("an intact step: %v", err)
		}
		mustSave(t, c, 4, 5, 6)
		if err := c.Wait(ctx); err != nil {
			t.Error(err)
		}
		wantSteps(t, c, 4, 5, 6)
		if err := c.Delete(ctx, 5); err != nil {
			t.Error(err)
		}
		wantSteps(t, c, 4, 6)
	})
}

// What has changed is seen: a step that was overwritten, and one whose save has finished.
func TestChangesAreSeen(t *testing.T) {
	t.Parallel()
	withAndWithoutTimes(t, func(t *testing.T, root string, h *hooks) {
		ctx := t.Context()
		save := func(step string, n int, options ...orbax.SaveOption) {
			t.Helper()
			if err := orbax.Save(ctx, filepath.Join(root, step), stateOf(n), options...); err != nil {
				t.Fatal(err)
			}
		}
		save("1", 1)
		save("2", 2, orbax.Atomicity(orbax.CommitFile))
		commit := filepath.Join(root, "2", "commit_success.txt")
		doc, err := os.ReadFile(commit)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(commit); err != nil {
			t.Fatal(err)
		}
		c := openRun(t, root, training.Options{Store: h.store()})
		want := func(step int, metrics any) {
			t.Helper()
			if err := c.Reload(ctx); err != nil {
				t.Fatal(err)
			}
			if l, _ := c.Latest(); l.Step != step || l.Metrics != metrics || l.Err != nil {
				t.Errorf("the latest is %+v, want %d with %v; ignored: %v", l, step, metrics, c.Ignored())
			}
		}
		want(1, nil)
		save("1", 1, orbax.Overwrite(), orbax.Metrics(0.5))
		want(1, 0.5)
		if err := os.WriteFile(commit, doc, 0o666); err != nil {
			t.Fatal(err)
		}
		want(2, nil)
	})
}

// A step whose documents could not be read once is read again.
func TestFailureEnds(t *testing.T) {
	t.Parallel()
	withAndWithoutTimes(t, func(t *testing.T, root string, h *hooks) {
		var fails atomic.Bool
		h.fail = func(name string) error {
			if fails.Load() && strings.HasPrefix(name, root+"/1") {
				return errors.New("unavailable")
			}
			return nil
		}
		if err := orbax.Save(t.Context(), root+"/1", stateOf(1)); err != nil {
			t.Fatal(err)
		}
		fails.Store(true)
		c := openRun(t, root, training.Options{Store: h.store()})
		var s runState
		if at, err := c.Resume(t.Context(), &s); err == nil || errors.Is(err, orbax.ErrNotExist) || !strings.Contains(err.Error(), "unavailable") {
			t.Errorf("while it fails: %d, %v", at, err)
		}
		fails.Store(false)
		if at, err := c.Resume(t.Context(), &s); at != 1 || err != nil {
			t.Errorf("%d, %v", at, err)
		}
	})
}

// Watch yields a step that was overwritten, loads no step twice that is unchanged, and
// logs a damaged one once.
func TestWatchWithoutTimes(t *testing.T) {
	t.Parallel()
	withAndWithoutTimes(t, func(t *testing.T, root string, h *hooks) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for i, step := range []string{"1", "2", "3"} {
			if err := orbax.Save(ctx, root+"/"+step, stateOf(i+1)); err != nil {
				t.Fatal(err)
			}
		}
		flipData(t, root+"/2")
		if err := os.WriteFile(root+"/3/state/_METADATA", []byte("{"), 0o666); err != nil {
			t.Fatal(err)
		}
		var looks atomic.Int64
		h.listed = func(dir string) {
			if dir == root {
				looks.Add(1)
			}
		}
		var l loader
		var log bytes.Buffer
		o := training.ReadOptions{Store: h.store(), Interval: time.Millisecond, Load: l.load, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		yields := 0
		go func() { // after some looks without any news
			for looks.Load() < 20 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			if calls := l.calls.Load(); calls != 2 {
				t.Errorf("%d loads of two steps", calls)
			}
			if err := orbax.Save(ctx, root+"/1", stateOf(1), orbax.Overwrite()); err != nil {
				t.Error(err)
			}
		}()
		for step, err := range training.Watch(ctx, root, o) {
			if yields++; err != nil || step.Step != 1 || l.into.check(1) != nil {
				t.Fatalf("yielded %+v, %v", step, err)
			}
			if yields == 2 {
				break
			}
		}
		if yields != 2 {
			t.Errorf("yielded %d times", yields)
		}
		for _, step := range []string{"step=2 ", "step=3 "} {
			if n := strings.Count(log.String(), step); n != 1 {
				t.Errorf("the log has %s %d times", step, n)
			}
		}
	})
}

// A root in which nothing is a step settles, whether or not its listings have times.
func TestNoStepsWithoutTimes(t *testing.T) {
	t.Parallel()
	withAndWithoutTimes(t, func(t *testing.T, root string, h *hooks) {
		if err := os.MkdirAll(root+"/1", 0o777); err != nil {
			t.Fatal(err)
		}
		looks := 0
		h.listed = func(dir string) {
			if dir == root {
				looks++
			}
		}
		c := openRun(t, root, training.Options{Store: h.store()})
		if got := c.Ignored(); len(got) != 1 || looks > 30 {
			t.Errorf("ignored %v, after %d looks", got, looks)
		}
		if _, err := training.Latest(t.Context(), root, training.ReadOptions{Store: h.store()}); !errors.Is(err, orbax.ErrNotExist) {
			t.Error(err)
		}
	})
}

// Policies about times keep a step whose time is unknown.
func TestUnknownTimeIsKept(t *testing.T) {
	t.Parallel()
	now := time.Now()
	steps := []training.Step{{Step: 1}, {Step: 2}, {Step: 3, Time: now.Add(-time.Hour)}, {Step: 4}, {Step: 5, Time: now.Add(-time.Minute)}}
	for _, test := range []struct {
		policy training.PreservationPolicy
		want   []bool
	}{
		{training.LatestDuration{Duration: 2 * time.Minute}, []bool{true, true, false, true, true}},
		{training.LatestDuration{Duration: time.Second}, []bool{true, true, false, true, false}},
		{training.EveryNSeconds{Interval: 30 * time.Minute}, []bool{true, true, true, true, true}},
	} {
		keep, err := test.policy.ShouldPreserve(steps, training.PreservationContext{Now: now})
		if err != nil || !slices.Equal(keep, test.want) {
			t.Errorf("%+v keeps %v, %v; want %v", test.policy, keep, err, test.want)
		}
	}
}
