package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/training"
)

// A run that is killed at random moments, and resumed each time, ends with the same
// result as an uninterrupted run, bit for bit.
func TestKill(t *testing.T) {
	manyLives(t, 200, func(p *os.Process) error { return p.Kill() }, func(t *testing.T, l life) {
		if l.exit == 0 || strings.Contains(l.stderr, "quickstart") {
			t.Fatalf("the process was not killed: it ended with %d, %s", l.exit, l.stderr)
		}
	})
}

// A run that gets SIGTERM at random moments does too: it saves first, and ends by itself.
func TestTerminate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals between processes")
	}
	manyLives(t, 50, func(p *os.Process) error { return p.Signal(syscall.SIGTERM) }, func(t *testing.T, l life) {
		if !l.began { // the process did not handle the signal yet
			return
		}
		ck := newest(t, l.root)
		if l.exit != 1 || !strings.Contains(l.stderr, fmt.Sprintf("%v at step %d, which is saved", errPreempted, ck.Step)) {
			t.Fatalf("the process ended with %d, and step %d is the last: %s", l.exit, ck.Step, l.stderr)
		}
		m, err := orbax.CheckpointablesMetadata(t.Context(), ck.Path)
		if err != nil {
			t.Fatal(err)
		}
		if custom, ok := m.Custom.(map[string]any); !ok || custom["preempted"] != true {
			t.Fatalf("the last step has the metadata %v", m.Custom)
		}
	})
}

// manyLives ends a run at random moments, lives times in long tests, and resumes it each
// time; the last life runs to the end. It calls check after each life.
func manyLives(t *testing.T, lives int, end func(*os.Process) error, check func(*testing.T, life)) {
	if !testenv.Long() {
		lives = 10
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	// Lives are as long, at most, as it takes to save eight steps.
	began := time.Now()
	if out, err := exec.Command(os.Args[0], "train", "-dir", t.TempDir(), "-every", "5", "-steps", "40").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	longest := time.Since(began)

	root := t.TempDir()
	progressed, torn, last := 0, 0, 0
	for range lives {
		// Half of them count from the start of the process, and may end before it has
		// begun to train, half from its first line of output.
		l := live(t, root, time.Duration(random.Int64N(int64(longest))), random.IntN(2) == 0, end)
		check(t, l)
		if unfinished, err := filepath.Glob(filepath.Join(root, "*.orbax-checkpoint-tmp*")); err != nil {
			t.Fatal(err)
		} else if len(unfinished) > 0 {
			torn++
		}
		step := 0
		switch ck, err := training.Latest(t.Context(), root, training.ReadOptions{}); {
		case err == nil:
			step = ck.Step
		case !errors.Is(err, orbax.ErrNotExist):
			t.Fatal(err)
		}
		if step < last {
			t.Fatalf("the newest step was %d, and is %d", last, step)
		}
		if step > last {
			progressed, last = progressed+1, step
		}
	}
	t.Logf("%d of %d lives saved something, %d left a temporary directory; the last step was %d", progressed, lives, torn, last)
	if progressed == 0 {
		t.Error("no life has saved anything")
	}

	// The last life, and the run that is not interrupted.
	steps := last + 20
	if err := train(t.Context(), run{dir: root, steps: steps, every: 5}, io.Discard); err != nil {
		t.Fatal(err)
	}
	sound(t, root)
	whole := t.TempDir()
	if err := train(t.Context(), run{dir: whole, steps: steps, every: steps}, io.Discard); err != nil {
		t.Fatal(err)
	}
	parts, differ, err := compare(t.Context(), newest(t, whole).Path, newest(t, root).Path)
	if err != nil || parts != 14 || len(differ) > 0 {
		t.Errorf("after step %d, %d parts, of which %v differ, %v", steps, parts, differ, err)
	}
}

// life is one process of a run.
type life struct {
	root   string
	began  bool // it had a line of output, and so a Checkpointer, before it was ended
	exit   int
	stderr string
}

// live continues the run at root in a new process, which it ends after delay, counted
// from its first line of output if afterLine is set.
func live(t *testing.T, root string, delay time.Duration, afterLine bool, end func(*os.Process) error) life {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, os.Args[0], "train", "-dir", root, "-every", "5", "-steps", "1000000000")
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make(chan struct{})
	read := make(chan struct{})
	go func() { // to the end, so that the process need not wait
		defer close(read)
		lines := bufio.NewScanner(stdout)
		if lines.Scan() {
			close(line)
		}
		for lines.Scan() {
		}
	}()
	if afterLine {
		select {
		case <-line:
		case <-read:
		}
	}
	time.Sleep(delay)
	l := life{root: root}
	select {
	case <-line:
		l.began = true
	default:
	}
	if err := end(cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-read
	err = cmd.Wait()
	if ctx.Err() != nil {
		t.Fatalf("the process did not end: %v", ctx.Err())
	}
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	l.exit, l.stderr = cmd.ProcessState.ExitCode(), stderr.String()
	return l
}
