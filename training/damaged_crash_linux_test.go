package training_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

func init() { children["over damage"] = saveOverDamage }

// saveOverDamage goes on from step 2 and saves step 3 by marker, in the place of a damaged
// one.
func saveOverDamage(t *testing.T, root string) {
	c := openRun(t, root, training.Options{SaveOptions: byMarker})
	n, err := c.Resume(t.Context(), new(runState))
	fmt.Println("resumed", n)
	if err != nil {
		t.Fatal(err)
	}
	if saved, err := c.Save(t.Context(), 3, stateOf(3)); err != nil || !saved {
		t.Fatal(saved, err)
	}
	fmt.Println("saved", 3)
	time.Sleep(time.Hour)
}

// A run that is killed while it saves a damaged step anew has lost nothing: the step is
// the damaged one or the new one, and the run goes on.
func TestKilledOverDamage(t *testing.T) {
	t.Parallel()
	damaged, whole := 0, 0
	for range crashes() {
		root := filepath.Join(t.TempDir(), "run")
		first := openRun(t, root, training.Options{SaveOptions: byMarker, Sharing: training.Sharing{Off: true}})
		mustSave(t, first, 1, 2, 3)
		first.Close()
		flipBit(t, filepath.Join(root, "3", "state", "d"))
		child := startChild(t, "over damage", root)
		if line := <-child.Lines; line != "resumed 2" {
			t.Fatalf("the child says %q", line)
		}
		time.Sleep(rand.N(60 * time.Millisecond))
		saved := killRun(t, child) == 3

		c := openRun(t, root, training.Options{SaveOptions: byMarker})
		if err := c.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if got := listed(c); !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("the root has steps %v", got)
		}
		switch err := orbax.Verify(t.Context(), c.Path(3)); {
		case err == nil:
			whole++
		case errors.Is(err, orbax.ErrCorrupt) && !saved:
			damaged++
			if n, err := c.Resume(t.Context(), new(runState)); n != 2 || err != nil {
				t.Errorf("resumed %d, %v", n, err)
			}
			mustSave(t, c, 3)
		default:
			t.Errorf("step 3, saved %v: %v", saved, err)
		}
		wantSteps(t, c, 1, 2, 3)
		c.Close()
	}
	t.Logf("killed before %d and after %d saves", damaged, whole)
}
