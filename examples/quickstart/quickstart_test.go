package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
)

// TestMain lets the test's own binary be the program that the tour runs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "train" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestTour(t *testing.T) {
	var out bytes.Buffer
	dir := t.TempDir()
	err := tour{dir: dir, steps: 300, every: 50, out: &out}.run(t.Context())
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the process dies", "resumed from", "bit for bit", "params.0.kernel"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	// The crash may have left the one save that was under way, and no more.
	broken, whole := filepath.Join(dir, "broken"), filepath.Join(dir, "whole")
	if left := unfinished(t, broken); len(left) > 1 {
		t.Errorf("left behind by a crash: %v", left)
	}
	if left := unfinished(t, whole); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// Different states must not pass for equal.
	_, differ, err := compare(t.Context(), stepPath(whole, 250), stepPath(whole, 300))
	if err != nil || len(differ) < 14 {
		t.Errorf("steps 250 and 300 differ in %v, %v", differ, err)
	}

	training, testing, err := loadDigits()
	if err != nil {
		t.Fatal(err)
	}
	if n, m := len(training.labels), len(testing.labels); n+m != 1797 || m != 360 {
		t.Errorf("%d training and %d testing images", n, m)
	}
	state, err := orbax.LoadAs[State](t.Context(), stepPath(whole, 300))
	if err != nil {
		t.Fatal(err)
	}
	net, err := newNetwork(state.Params)
	if err != nil {
		t.Fatal(err)
	}
	if a := net.accuracy(testing); a < 0.95 {
		t.Errorf("accuracy %.3f", a)
	}
}

// However a run is cancelled, all that it leaves is complete, and another run
// goes on from it to the same end.
func TestCancel(t *testing.T) {
	const steps = 20
	whole := t.TempDir()
	if err := train(t.Context(), run{dir: whole, steps: steps, every: steps}, io.Discard); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cancelled := 0
	for delay := time.Duration(0); ; delay += 3 * time.Millisecond {
		// The time begins with the first line of output: a save has begun.
		ctx, cancel := context.WithCancel(t.Context())
		err := train(ctx, run{dir: dir, steps: steps, every: 1}, firstWrite(func() { time.AfterFunc(delay, cancel) }))
		cancel()
		if left := unfinished(t, dir); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		cancelled++
	}
	if cancelled < 3 {
		t.Errorf("only %d runs were cancelled", cancelled)
	}
	_, differ, err := compare(t.Context(), stepPath(whole, steps), stepPath(dir, steps))
	if err != nil || len(differ) > 0 {
		t.Errorf("after %d cancelled runs the end differs in %v, %v", cancelled, differ, err)
	}
}

// Ctrl-C ends the program in the same way.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals between processes")
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "train", "-dir", dir, "-every", "1", "-steps", "1000000")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(stdout)
	for n := 0; lines.Scan(); n++ {
		if n == 5 {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "interrupt") {
		t.Errorf("ended with %v: %s", err, &stderr)
	}
	if left := unfinished(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, found, err := latest(t.Context(), dir); !found || err != nil {
		t.Errorf("no checkpoint: %v", err)
	}
}

// unfinished lists the temporary directories of saves in dir. What else is there
// must be complete checkpoints; each is loaded, so that its bytes are checked.
func unfinished(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		_, err := orbax.LoadAs[State](t.Context(), filepath.Join(dir, e.Name()))
		switch {
		case errors.Is(err, orbax.ErrIncomplete):
			left = append(left, e.Name())
		case err != nil:
			t.Error(err)
		}
	}
	return left
}

// firstWrite is a writer that calls itself once, when it is first written to.
func firstWrite(f func()) io.Writer { return &hook{f: f} }

type hook struct{ f func() }

func (h *hook) Write(p []byte) (int, error) {
	if h.f != nil {
		h.f()
		h.f = nil
	}
	return len(p), nil
}
