//go:build unix

package storage_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
)

// outcome is a word for the error of an operation that Revoke can make fail.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, fault.ErrNotExist):
		return "gone"
	case errors.Is(err, fault.ErrBusy):
		return "busy"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// TestRevokeStopped checks that a save goes on in the place of one whose process is
// stopped by a signal before any operation of its Commit, and that the stopped one changes
// nothing when it wakes up.
func TestRevokeStopped(t *testing.T) {
	if job, at, ok := testenv.Child(); ok {
		stoppedOwner(t, job, at)
		return
	}
	kinds := stageKinds()
	kinds["no exchange"] = kinds["replace"]
	for kind, o := range kinds {
		t.Run(kind, func(t *testing.T) {
			for n := 0; !t.Failed(); n++ {
				dir := filepath.ToSlash(t.TempDir()) + "/run/ck"
				if !revokeStopped(t, kind, dir, o, n) {
					return
				}
			}
		})
	}
}

// wakeFile returns the name of the file that lets the owner of a stage go on.
func wakeFile(dir string) string { return filepath.Dir(filepath.Dir(dir)) + "/wake" }

// stoppedOwner is the process that is stopped: before an operation of Commit, or, if that
// has fewer operations, after it.
func stoppedOwner(t *testing.T, kind, at string) {
	text, dir, _ := strings.Cut(at, " ")
	n, err := strconv.Atoi(text)
	must(t, err)
	o, noExchange := stageKinds()[kind], kind == "no exchange"
	if noExchange {
		o = stageKinds()["replace"]
	}
	armed := false
	stop := func(why string) {
		armed = false
		fmt.Println(why)
		for { // the signal comes now
			if _, err := os.Stat(wakeFile(dir)); err == nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	r := &storage.Recorder{NoExchange: noExchange, NoSync: true, Before: func(storage.Op) error {
		if armed {
			if n == 0 {
				stop("stops")
			}
			n--
		}
		return nil
	}}
	stage, err := r.Store().Begin(t.Context(), dir, o)
	must(t, err)
	put(t, stage, "d/new", "new")
	put(t, stage, "done", "new")
	fmt.Println(stage.Ticket())
	armed = true
	err = stage.Commit(t.Context())
	if armed {
		stop("has ended")
	}
	fmt.Println(outcome(err))
}

// revokeStopped lets a process stop before the n-th operation of its Commit, and reports
// whether it has as many.
func revokeStopped(t *testing.T, kind, dir string, o storage.BeginOptions, n int) (stopped bool) {
	published := dir
	if o.Into != nil {
		published += "/part"
	}
	save := func(text string) {
		stage, err := beginWith(t, dir, o)
		must(t, err)
		put(t, stage, "done", text)
		must(t, stage.Commit(t.Context()))
	}
	var want map[string]string
	if o.Replace != nil {
		save("old")
		want = map[string]string{"done": "old"}
	}
	child := orbaxtest.StartChild(t, "TestRevokeStopped", kind, fmt.Sprint(n, " ", dir))
	ticket := <-child.Lines
	stopped = <-child.Lines == "stops"
	must(t, child.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(child.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("the child has not stopped: %v, %v", status, err)
	}
	if n == 0 {
		if _, err := beginWith(t, dir, storage.BeginOptions{Replace: storage.Everything}); !errors.Is(err, fault.ErrBusy) {
			t.Errorf("Begin before Revoke: %v, want ErrBusy", err)
		}
	}
	err := storage.Local().Revoke(t.Context(), ticket)
	wantChild := "gone"
	switch outcome(err) {
	case "ok":
		if got := contents(t, published); !maps.Equal(got, want) {
			t.Errorf("operation %d: after Revoke there is %q, want %q", n, got, want)
		}
		save("next")
		want = map[string]string{"done": "next"}
	case "gone":
		wantChild = "ok"
		want = map[string]string{"done": "new", "d/new": "new"}
	default:
		t.Errorf("operation %d: Revoke: %v", n, err)
	}
	must(t, os.WriteFile(wakeFile(dir), nil, 0o666))
	must(t, child.Process.Signal(syscall.SIGCONT))
	if got := <-child.Lines; got != wantChild {
		t.Errorf("operation %d: Commit: %s, want %s", n, got, wantChild)
	}
	child.Wait()
	if got := contents(t, published); !maps.Equal(got, want) {
		t.Errorf("operation %d: there is %q, want %q", n, got, want)
	}
	if got := names(t, filepath.Dir(dir)); len(got) != 1 {
		t.Errorf("operation %d: left %q", n, got)
	}
	return stopped
}

// TestRevokeDead checks that Revoke ends a save whose process has died, unless another
// save has begun in its place.
func TestRevokeDead(t *testing.T) {
	if job, at, ok := testenv.Child(); ok {
		stoppedOwner(t, job, at)
		return
	}
	for kind := range stageKinds() {
		t.Run(kind, func(t *testing.T) {
			dir := filepath.ToSlash(t.TempDir()) + "/run/ck"
			die := func() (ticket string) {
				child := orbaxtest.StartChild(t, "TestRevokeDead", kind, "0 "+dir)
				ticket = <-child.Lines
				if line := <-child.Lines; line != "stops" {
					t.Fatal(line)
				}
				child.Kill(t)
				return ticket
			}
			must(t, storage.Local().Revoke(t.Context(), die()))
			if got := names(t, filepath.Dir(dir)); len(got) > 0 {
				t.Errorf("left %q", got)
			}
			if kind != "marker" {
				return
			}
			ticket := die()
			next, err := beginWith(t, dir, storage.BeginOptions{Replace: storage.Everything})
			must(t, err)
			if err := storage.Local().Revoke(t.Context(), ticket); !errors.Is(err, fault.ErrBusy) {
				t.Errorf("Revoke beside another save: %v, want ErrBusy", err)
			}
			put(t, next, "next", "1")
			must(t, next.Commit(t.Context()))
			if err := storage.Local().Revoke(t.Context(), ticket); !errors.Is(err, fault.ErrNotExist) {
				t.Errorf("Revoke after another save: %v, want ErrNotExist", err)
			}
			if got := contents(t, dir); got["next"] != "1" {
				t.Errorf("there is %q", got)
			}
		})
	}
}

// tickets is a store that passes on the tickets of its stages.
type tickets struct {
	storage.Store
	of chan string
}

func (s tickets) Confined(root string, outside bool) storage.Store {
	return tickets{storage.Confine(s.Store, root, outside), s.of}
}

func (s tickets) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	in, err := s.Store.Snapshot(ctx, dir)
	if in == nil || err != nil {
		return nil, err
	}
	return tickets{in, s.of}, nil
}

func (s tickets) Begin(ctx context.Context, dir string, o storage.BeginOptions) (storage.Stage, error) {
	stage, err := s.Store.Begin(ctx, dir, o)
	if err == nil {
		s.of <- stage.Ticket()
	}
	return stage, err
}

// TestRevokeDies checks that a process that dies in Revoke, before any operation or in the
// middle of a removal, leaves the old or the new checkpoint, and nothing that a save does
// not remove. The save whose stage it ends lives on.
func TestRevokeDies(t *testing.T) {
	if job, at, ok := testenv.Child(); ok {
		dyingRevoke(t, job, at)
		return
	}
	for kind, options := range map[string][]orbax.SaveOption{"rename": {orbax.Overwrite()}, "marker": {orbax.Overwrite(), byMarker}} {
		t.Run(kind, func(t *testing.T) {
			for n, code := 0, 1; code != 0 && !t.Failed(); n++ {
				t.Chdir(t.TempDir())
				code = revokeDies(t, kind == "rename", options, n)
			}
		})
	}
}

// dyingRevoke is the process that dies: before an operation of Revoke, or in place of a
// save.
func dyingRevoke(t *testing.T, job, at string) {
	if job == "save" {
		fmt.Println(outcome(orbax.Save(t.Context(), at, sample(3), orbax.Overwrite())))
		return
	}
	n, err := strconv.Atoi(job)
	must(t, err)
	next := func() {
		if n == 0 {
			os.Exit(7)
		}
		n--
	}
	removed, step := 0, testenv.Pick(1, 8)
	removing := func(string) {
		if removed%step == 0 {
			next()
		}
		removed++
	}
	r := &storage.Recorder{NoSync: true, Removing: removing, Before: func(storage.Op) error { next(); return nil }}
	must(t, r.Store().Revoke(t.Context(), at))
}

func revokeDies(t *testing.T, old bool, options []orbax.SaveOption, n int) (code int) {
	step := filepath.ToSlash(abs(t, "run/step"))
	before := 0
	if old {
		must(t, orbax.Save(t.Context(), step, sample(1)))
		before = 1
	}
	arrived, resume, saved := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	publishes := func(op storage.Op) bool {
		return op.Kind == "rename" && (op.To == step || op.To == step+"/commit_success.txt")
	}
	r := &storage.Recorder{NoSync: true, Before: func(op storage.Op) error {
		if publishes(op) {
			close(arrived)
			<-resume
		}
		return nil
	}}
	store := tickets{r.Store(), make(chan string, 1)}
	go func() {
		saved <- orbax.Save(context.Background(), step, sample(2), append(options, orbax.In(store))...)
	}()
	<-arrived
	child := orbaxtest.StartChild(t, "TestRevokeDies", fmt.Sprint(n), <-store.of)
	if code = child.Wait(); code != 0 && code != 7 {
		t.Fatalf("operation %d: exit code %d: %s", n, code, <-child.Lines)
	}
	child = orbaxtest.StartChild(t, "TestRevokeDies", "save", step)
	next := <-child.Lines
	child.Wait()
	close(resume)
	err := <-saved
	want := map[string]int{"ok": 3, "busy": before}[next]
	switch {
	case next != "ok" && next != "busy", code == 0 && next != "ok":
		t.Errorf("operation %d: a save after Revoke: %s", n, next)
	case err == nil && next == "busy":
		want = 2
	case err == nil:
		t.Errorf("operation %d: two saves have committed", n)
	}
	if version, err := versionAt(step); err != nil || version != want {
		t.Errorf("operation %d: version %d, %v; want %d", n, version, err, want)
	}
	must(t, orbax.Save(t.Context(), step, sample(4), orbax.Overwrite()))
	if version, err := versionAt(step); err != nil || version != 4 {
		t.Errorf("operation %d: at the end version %d, %v", n, version, err)
	}
	if got := names(t, "run"); len(got) != 1 {
		t.Errorf("operation %d: left %q", n, got)
	}
	return code
}
