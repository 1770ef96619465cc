//go:build unix

package jax_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord/jax"
	"github.com/go-orbax/orbax/guest"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/internal/testenv/python"
	"github.com/go-orbax/orbax/storage"
)

// job is a JAX job that saves with a part of a Go process.
type job struct {
	t         *testing.T
	address   string
	root      string
	processes []*jobProcess
}

type jobProcess struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	errs  strings.Builder
}

// startJob starts a job of n processes. It does not wait until they are up.
func startJob(t *testing.T, n int) *job {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	j := &job{t: t, address: listener.Addr().String(), root: t.TempDir()}
	must(t, listener.Close())
	for i := range n {
		p := &jobProcess{lines: make(chan string, 100)}
		p.cmd = exec.Command(python.Need(t), filepath.Join("testdata", "job.py"), strconv.Itoa(i), strconv.Itoa(n), j.address, j.root)
		p.cmd.Env = append(os.Environ(), "JAX_PLATFORMS=cpu")
		p.cmd.Stderr = &p.errs
		p.in, err = p.cmd.StdinPipe()
		must(t, err)
		out, err := p.cmd.StdoutPipe()
		must(t, err)
		must(t, p.cmd.Start())
		go func() {
			defer close(p.lines)
			for scan := bufio.NewScanner(out); scan.Scan(); {
				if text, own := strings.CutPrefix(scan.Text(), "job: "); own { // gloo prints too
					p.lines <- text
				}
			}
		}()
		j.processes = append(j.processes, p)
		t.Cleanup(func() {
			p.cmd.Process.Kill()
			p.cmd.Wait()
			if t.Failed() {
				t.Logf("process %d: %s", i, p.errs.String()[max(0, p.errs.Len()-3000):])
			}
		})
	}
	return j
}

// up waits until the job runs.
func (j *job) up() {
	j.t.Helper()
	for _, p := range j.processes {
		if line := j.next(p); line != "up" {
			j.t.Fatalf("the job does not start: %q", line)
		}
	}
}

func (j *job) next(p *jobProcess) string {
	j.t.Helper()
	select {
	case line := <-p.lines:
		return line
	case <-time.After(2 * time.Minute):
		j.t.Fatal("a process of the job says nothing")
		return ""
	}
}

// save lets the job save a step, and returns what its processes say.
func (j *job) save(step int, options map[string]any) (says []string) {
	j.t.Helper()
	command := map[string]any{"step": step}
	for name, v := range options {
		command[name] = v
	}
	line, err := json.Marshal(command)
	must(j.t, err)
	for _, p := range j.processes {
		_, err := p.in.Write(append(line, '\n'))
		must(j.t, err)
	}
	for _, p := range j.processes {
		says = append(says, j.next(p))
	}
	return says
}

func (j *job) path(step int) string { return filepath.Join(j.root, fmt.Sprint("step_", step)) }

// partOf returns the state of the Go process at the step of a part.
func partOf(p jax.Part) (step int, state map[string]any, err error) {
	name, _, _ := strings.Cut(filepath.Base(p.Dir), ".")
	if step, err = strconv.Atoi(strings.TrimPrefix(name, "step_")); err != nil {
		return 0, nil, err
	}
	return step, map[string]any{"cursor": step * 1000, "shuffle": array.Of([]uint32{7, 1, 4, uint32(step)}, 4)}, nil
}

func writePart(ctx context.Context, p jax.Part) error {
	_, state, err := partOf(p)
	if err != nil {
		return err
	}
	return guest.WritePart(ctx, p.Dir, p.Name, state)
}

// A save of a job has the part of the Go process, or fails with a reason.
func TestServe(t *testing.T) {
	j := startJob(t, 1)
	client, err := jax.Dial(t.Context(), j.address) // the job is starting
	must(t, err)
	defer client.Close()
	j.up()
	want := func(step int, options map[string]any, text string) {
		t.Helper()
		start := time.Now()
		says := j.save(step, options)[0]
		if !strings.HasPrefix(says, text) {
			t.Errorf("step %d: the job says %q, want %q", step, says, text)
		}
		t.Logf("%q after %v", says, time.Since(start))
		_, err := os.Stat(j.path(step))
		if saved := strings.HasPrefix(says, "saved"); saved != (err == nil) {
			t.Errorf("step %d: the job says %q, and the checkpoint: %v", step, says, err)
		} else if saved {
			if err := orbax.Verify(t.Context(), j.path(step)); err != nil {
				t.Error(err)
			}
			got, err := orbax.Load(t.Context(), j.path(step), orbax.Name("go_state"))
			if err != nil || got.(map[string]any)["cursor"] != 1000*step {
				t.Errorf("step %d has the part %v, %v", step, got, err)
			}
		}
	}
	want(1, map[string]any{"dead_after": 2}, `failed 1 GoPartError checkpointable 'go_state': no Go process serves it`)

	var write atomic.Pointer[func(ctx context.Context, p jax.Part) error]
	serve := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() {
			done <- jax.Serve(ctx, client, "go_state", func(ctx context.Context, p jax.Part) error { return (*write.Load())(ctx, p) })
		}()
		return done
	}
	normal := writePart
	write.Store(&normal)
	ctx, cancel := context.WithCancel(t.Context())
	done := serve(ctx)
	want(1, nil, "saved 1") // the unfinished directory of the first try is there
	want(2, nil, "saved 2")

	failing := func(context.Context, jax.Part) error { return errors.New("the disk is on fire") }
	write.Store(&failing)
	want(3, nil, `failed 3 GoPartError checkpointable 'go_state': the disk is on fire`)

	gaveUp := make(chan error, 1)
	slow := func(ctx context.Context, p jax.Part) error {
		<-ctx.Done()
		gaveUp <- context.Cause(ctx)
		return ctx.Err()
	}
	write.Store(&slow)
	want(4, map[string]any{"timeout": 3}, `failed 4 GoPartError checkpointable 'go_state': the Go process has not written it within 3 s`)
	if err := <-gaveUp; !strings.Contains(err.Error(), "has not written it within 3 s") {
		t.Errorf("the slow write ends with %v", err)
	}
	write.Store(&normal)
	want(4, nil, "saved 4")

	inPlace := func(ctx context.Context, p jax.Part) error {
		if p.Dir != j.path(7) {
			t.Errorf("the directory of a save by the marker file is %s", p.Dir)
		}
		return writePart(ctx, p)
	}
	write.Store(&inPlace)
	want(7, map[string]any{"commit_file": true}, "saved 7")

	write.Store(&normal)
	want(8, map[string]any{"overlap": true}, "saved 8")
	if err := orbax.Verify(t.Context(), j.path(9)); err != nil {
		t.Error(err)
	}
	inRun := func(ctx context.Context, p jax.Part) error {
		return guest.WritePart(ctx, p.Dir, p.Name, map[string]any{"cursor": 10_000})
	}
	write.Store(&inRun)
	if says := j.save(10, map[string]any{"run": true})[0]; says != "saved 10" {
		t.Errorf("a step of a run: the job says %q", says)
	}
	if err := orbax.Verify(t.Context(), filepath.Join(j.root, "run", "10")); err != nil {
		t.Error(err)
	}
	if _, err := orbax.Load(t.Context(), filepath.Join(j.root, "run", "10"), orbax.Name("go_state")); err != nil {
		t.Error(err)
	}

	ending := func(ctx context.Context, p jax.Part) error { cancel(); <-ctx.Done(); return ctx.Err() }
	write.Store(&ending)
	want(5, nil, `failed 5 GoPartError checkpointable 'go_state': the Go process is ending`)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve ends with %v", err)
	}
	jax.WantNoKeys(t, client, "orbax-go/")

	dying := func(ctx context.Context, p jax.Part) error {
		must(t, j.processes[0].cmd.Process.Kill())
		<-ctx.Done()
		return context.Cause(ctx)
	}
	write.Store(&dying)
	done = serve(t.Context())
	j.save(6, nil)
	start := time.Now()
	if err := <-done; !errors.Is(err, jax.ErrGone) {
		t.Errorf("Serve ends with %v when the job has died", err)
	}
	t.Log(time.Since(start))
	if _, err := os.Stat(j.path(6)); err == nil {
		t.Error("the job has died, and the checkpoint is there")
	}
	for _, name := range []string{"", "a/b"} {
		if err := jax.Serve(t.Context(), client, name, writePart); err == nil || errors.Is(err, jax.ErrGone) {
			t.Errorf("Serve(%q): %v", name, err)
		}
	}
}

// workerJob serves parts. It dies while it writes the part of one step, and fails to write
// that of another.
func workerJob(args []string) error {
	client, err := jax.Dial(context.Background(), args[0])
	if err != nil {
		return err
	}
	defer client.Close()
	return jax.Serve(context.Background(), client, "go_state", func(ctx context.Context, p jax.Part) error {
		step, state, err := partOf(p)
		if err != nil {
			return err
		}
		switch fmt.Sprint(step) {
		case args[1]:
			var writes atomic.Int64
			return guest.WritePart(ctx, p.Dir, p.Name, state, orbax.In(failstore.New(storage.Local(), func(op, _ string) error {
				if op == "write" && writes.Add(1) == 3 {
					p, _ := os.FindProcess(os.Getpid())
					p.Kill()
					select {}
				}
				return nil
			})))
		case args[2]:
			return errors.New("the replay buffer is being rebuilt")
		}
		return guest.WritePart(ctx, p.Dir, p.Name, state)
	})
}

// A Go process beside a job of two processes saves its part in each of 20 steps. It is
// killed in one of them, which is not committed, and fails in another one. In a third one
// another Go process takes the place of the killed one in time, and one is committed by
// the marker file. Orbax alone loads all steps that are committed.
func TestTwentySteps(t *testing.T) {
	testenv.NeedLong(t, "starts three processes of JAX")
	j := startJob(t, 2)
	const deadly, failing, rescued, marked = 7, 12, 15, 17
	worker, _ := startChild(t, "worker", j.address, fmt.Sprint(deadly), fmt.Sprint(failing))
	j.up()
	committed := 0
	var took time.Duration
	for step := 1; step <= 20; step++ {
		start := time.Now()
		want := fmt.Sprint("saved ", step)
		options := map[string]any{"dead_after": 30, "commit_file": step == marked}
		restarted := make(chan struct{})
		switch step {
		case deadly:
			options["dead_after"] = 4
			want = fmt.Sprintf("failed %d GoPartError checkpointable 'go_state': the Go process that serves it has shown no sign of life for 4 s", step)
			close(restarted)
		case failing:
			want = fmt.Sprintf("failed %d GoPartError checkpointable 'go_state': the replay buffer is being rebuilt", step)
			close(restarted)
		case rescued:
			go func() {
				defer close(restarted)
				worker.Wait()
				worker, _ = startChild(t, "worker", j.address, "0", "0")
			}()
		default:
			close(restarted)
		}
		for i, line := range j.save(step, options) {
			if !strings.HasPrefix(line, want) {
				t.Errorf("process %d says %q, want %q", i, line, want)
			}
		}
		<-restarted
		_, err := os.Stat(j.path(step))
		if (err == nil) != strings.HasPrefix(want, "saved") {
			t.Errorf("step %d: %v", step, err)
		}
		if err == nil {
			committed++
			if step != rescued {
				took += time.Since(start)
			}
			if err := orbax.Verify(t.Context(), j.path(step)); err != nil {
				t.Error(err)
			}
			if entries, err := os.ReadDir(j.path(step)); err != nil || len(entries) != 5 {
				t.Errorf("step %d has %v, %v", step, entries, err)
			}
		}
		if step == deadly {
			if worker.Wait(); worker.ProcessState.ExitCode() >= 0 {
				t.Errorf("the Go process was not killed: %v", worker.ProcessState)
			}
			worker, _ = startChild(t, "worker", j.address, fmt.Sprint(rescued), fmt.Sprint(failing))
		}
	}
	t.Logf("%d steps, %v each", committed, took/time.Duration(max(1, committed)))
	for i, line := range j.save(21, map[string]any{"run": true}) {
		if line != "saved 21" {
			t.Errorf("a step of a run: process %d says %q", i, line)
		}
	}
	start := time.Now()
	for _, p := range j.processes {
		must(t, p.in.Close())
	}
	for i, p := range j.processes { // the Go process, which is there, does not keep them
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("process %d of the job ends with %v", i, err)
		}
	}
	t.Logf("the job ends within %v", time.Since(start))
	for verb, want := range map[string]string{"ls": "go_state/cursor", "verify": "4 leaves"} {
		out, err := exec.Command("go", "run", "github.com/go-orbax/orbax/cmd/orbax", verb, j.path(20)).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("orbax %s: %v: %s", verb, err, out)
		}
	}
	cmd := exec.Command(python.Need(t), filepath.Join("testdata", "load.py"), j.root)
	cmd.Env = append(os.Environ(), "JAX_PLATFORMS=cpu")
	out, err := cmd.CombinedOutput()
	if loaded := strings.Count(string(out), "loaded "); err != nil || loaded != 19 {
		t.Errorf("Orbax loads %d checkpoints, %v: %s", loaded, err, out)
	}
}
