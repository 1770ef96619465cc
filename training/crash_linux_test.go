package training_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/training"
)

func init() { children["run"] = runOn }

// crashOptions keep some steps, which share bytes.
func crashOptions() training.Options {
	return training.Options{
		SaveDecision: training.FixedIntervalPolicy{Interval: 1},
		Preservation: training.AnyPreservationPolicy{training.LatestN{N: 3}, training.EveryNSteps{Interval: 10, MaxToKeep: 2}},
		Sharing:      training.Sharing{FreshEvery: 4},
	}
}

// runOn resumes a run and saves steps for as long as it lives. It prints each that
// it was told to be saved.
func runOn(t *testing.T, root string) {
	c := openRun(t, root, crashOptions())
	var s runState
	n, err := c.Resume(t.Context(), &s)
	if err == nil {
		err = s.check(n)
	}
	if err != nil && n >= 0 {
		t.Fatal(err)
	}
	fmt.Println("resumed", n)
	for n := n + 1; ; n++ {
		report := func(saved bool, err error) {
			if err != nil || !saved {
				fmt.Println("failed:", n, saved, err)
			} else {
				fmt.Println("saved", n)
			}
		}
		if n%2 == 0 {
			resp, err := c.SaveAsync(t.Context(), n, stateOf(n))
			if err != nil {
				t.Fatal(err)
			}
			resp.OnComplete(report)
		} else {
			report(c.Save(t.Context(), n, stateOf(n)))
		}
	}
}

// crashes is how many processes are killed.
func crashes() int { return testenv.Pick(300, 8) }

// A run that is killed at any moment has every step that it was told of, and that
// is to be kept, whole, and goes on.
func TestKilledRun(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	saved := -1 // the last that is known to be
	found := 0  // how many directories were left unfinished
	for i := range crashes() {
		child := startChild(t, "run", root)
		if i%5 > 0 { // else it may be killed before it has begun
			line, ok := <-child.Lines
			var resumed int
			if _, err := fmt.Sscanf(line, "resumed %d", &resumed); err != nil || resumed < saved {
				t.Fatalf("the child, after step %d was saved: %q, %t", saved, line, ok)
			}
			saved = resumed
		}
		time.Sleep(rand.N(80 * time.Millisecond))
		saved = max(saved, killRun(t, child))
		if _, err := os.Stat(root); err == nil {
			found += len(leftovers(t, root))
		}
		saved = checkRun(t, root, saved)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d steps; %d directories had been left", saved+1, found)
}

// killRun ends a child and returns the last step that it has told of.
func killRun(t *testing.T, child *orbaxtest.Process) (saved int) {
	t.Helper()
	child.Kill(t)
	saved = -1
	for line := range child.Lines {
		var n int
		if _, err := fmt.Sscanf(line, "resumed %d", &n); err != nil {
			if _, err := fmt.Sscanf(line, "saved %d", &n); err != nil {
				t.Errorf("the child says %q", line)
			}
		}
		saved = max(saved, n)
	}
	return saved
}

// checkRun demands that a root has what it must after a crash. It saves the next
// step, and returns it.
func checkRun(t *testing.T, root string, saved int) (latest int) {
	t.Helper()
	reader, err := training.Latest(t.Context(), root, training.ReadOptions{})
	if err != nil && saved >= 0 || err == nil && reader.Step < saved {
		t.Errorf("a reader finds %+v after step %d was saved; %v", reader, saved, err)
	}
	c, err := training.New(t.Context(), root, crashOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if left := leftovers(t, root); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	for _, i := range c.Ignored() {
		t.Errorf("ignored: %+v", i)
	}
	steps := listed(c)
	for _, ck := range c.Checkpoints() {
		if ck.Err != nil {
			t.Errorf("%+v", ck)
		}
		if err := checkStep(c, ck.Step); err != nil {
			t.Error(err)
		}
	}
	latest = saved
	if n := len(steps); n > 0 {
		latest = max(latest, steps[n-1])
	}
	if latest > saved+1 {
		t.Errorf("the latest is %d, of which only %d were told", latest, saved)
	}
	for n := max(0, latest-2); n <= latest; n++ {
		if !slices.Contains(steps, n) {
			t.Errorf("of the steps up to %d, %d is missing: there are %v", latest, n, steps)
		}
	}
	// The run goes on, and what remains to be removed goes.
	latest++
	mustSave(t, c, latest)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	var want []int
	for n := max(0, latest/10*10-10); n <= latest; n++ {
		if n > latest-3 || n%10 == 0 {
			want = append(want, n)
		}
	}
	wantSteps(t, c, want...)
	return latest
}
