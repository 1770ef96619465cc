package training_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/training"
)

// A real process is killed at any moment, and its successor resumes from the last step that
// it was told of.
func TestKilledRunWithAMirror(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	last := -1
	for range testenv.Pick(200, 6) {
		child := startChild(t, "mirrored", dir)
		for line := range child.Lines {
			var n int
			if _, err := fmt.Sscanf(line, "saved %d", &n); err == nil {
				if n < last {
					t.Fatalf("the child is at step %d, and step %d was saved", n, last)
				}
				last = n
			}
			if strings.HasPrefix(line, "bad") {
				t.Fatal(line)
			}
			if rand.N(6) == 0 {
				time.Sleep(rand.N(20 * time.Millisecond))
				break
			}
		}
		last = max(last, killRun(t, child))
	}
	c := openRun(t, filepath.Join(dir, "run"), mirroredOptions(dir))
	newest, ok := c.Latest()
	if !ok || newest.Step < last {
		t.Fatalf("the newest is %+v, and step %d was saved", newest, last)
	}
	waitMirror(t, c)
	if got, want := smallSteps(t, filepath.Join(dir, "mirror"), nil), multiples(5, newest.Step, 2); !slices.Equal(got, want) {
		t.Errorf("the mirror has %v, want %v", got, want)
	}
	if left := leftovers(t, filepath.Join(dir, "mirror")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

func mirroredOptions(dir string) training.Options {
	return training.Options{
		SaveDecision: training.FixedIntervalPolicy{Interval: 1},
		Preservation: training.LatestN{N: 2},
		Mirror: training.Mirror{
			Root: filepath.Join(dir, "mirror"), MaxHeld: 1000,
			Preservation: training.AnyPreservationPolicy{training.LatestN{N: 2}, training.EveryNSteps{Interval: 5}},
		},
	}
}

func init() {
	children["mirrored"] = func(t *testing.T, dir string) {
		c := openRun(t, filepath.Join(dir, "run"), mirroredOptions(dir))
		var s smallState
		n, err := c.Resume(t.Context(), &s)
		if n >= 0 && err == nil {
			err = s.check(n)
		}
		if err != nil && n >= 0 {
			fmt.Println("bad", n, err)
		}
		for n++; ; n++ {
			if saved, err := c.Save(t.Context(), n, smallOf(n)); !saved || err != nil {
				fmt.Println("bad", n, saved, err)
			}
			fmt.Println("saved", n)
		}
	}
}
