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
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// TestMain lets the test binary be the program that the tour runs.
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
	for _, want := range []string{"the process dies", "resumed from step", "bit for bit", "accuracy:0.9", "params.0.kernel"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	broken, whole := filepath.Join(dir, "broken"), filepath.Join(dir, "whole")
	for _, root := range []string{broken, whole} {
		steps := sound(t, root)
		if n := len(steps); n < 2 || n > 3 || !slices.Equal(steps[n-2:], []int{250, 300}) {
			t.Errorf("%s has steps %v", root, steps)
		}
	}

	// Different states must not pass for equal.
	_, differ, err := compare(t.Context(), filepath.Join(whole, "250"), filepath.Join(whole, "300"))
	if err != nil || len(differ) < 14 || !slices.Contains(differ, "data") {
		t.Errorf("steps 250 and 300 differ in %v, %v", differ, err)
	}

	digits, testing, err := loadDigits()
	if err != nil {
		t.Fatal(err)
	}
	if n, m := len(digits.labels), len(testing.labels); n+m != 1797 || m != 360 {
		t.Errorf("%d training and %d testing images", n, m)
	}
	state, err := orbax.LoadAs[State](t.Context(), filepath.Join(whole, "300"))
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

// However a run is cancelled, everything that it leaves is complete, and another run
// continues from it to the same end.
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
		sound(t, dir)
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
	_, differ, err := compare(t.Context(), newest(t, whole).Path, newest(t, dir).Path)
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
	if len(sound(t, dir)) == 0 {
		t.Error("no checkpoint")
	}
}

// sound returns the steps in root after checking every byte of them. root must have no
// other entries, temporary directories in particular.
func sound(t *testing.T, root string) []int {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var steps []int
	for _, e := range entries {
		step, err := strconv.Atoi(e.Name())
		switch {
		case err == nil:
			steps = append(steps, step)
			if err := orbax.Verify(t.Context(), filepath.Join(root, e.Name())); err != nil {
				t.Error(err)
			}
		case e.Name() != "metadata": // of the run
			t.Errorf("left behind: %s", e.Name())
		}
	}
	slices.Sort(steps)
	return steps
}

// newest returns the last step in root.
func newest(t *testing.T, root string) training.Step {
	t.Helper()
	ck, err := training.Latest(t.Context(), root, training.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ck
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
