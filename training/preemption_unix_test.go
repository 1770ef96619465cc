//go:build unix

package training_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/go-orbax/orbax/training"
)

func init() { children["deaf"] = runDeaf }

// runDeaf opens a run and never asks whether the program is about to be ended.
func runDeaf(t *testing.T, root string) {
	openRun(t, root, training.Options{SaveDecision: training.PreemptionCheckpointingPolicy{}})
	fmt.Println("ready")
	time.Sleep(time.Minute)
}

// A program that never asks for the notice is still ended by a second SIGTERM. One that
// follows the first at once counts as the first.
func TestSecondSIGTERM(t *testing.T) {
	t.Parallel()
	child := startChild(t, "deaf", t.TempDir())
	if line := <-child.Lines; line != "ready" {
		t.Fatal(line)
	}
	for range 3 {
		if err := child.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Millisecond)
	}
	select {
	case line := <-child.Lines:
		t.Fatalf("the first SIGTERMs have ended the program: %q", line)
	case <-time.After(1500 * time.Millisecond):
	}
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case _, more := <-child.Lines:
		if more {
			t.Error("it says something more")
		}
	case <-time.After(20 * time.Second):
		t.Error("the second SIGTERM has not ended the program")
	}
}
