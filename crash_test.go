package orbax_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
)

// crashState is a state of about 2 MiB in which every number tells its version.
func crashState(version int) map[string]any {
	w := make([]int32, 1<<19)
	for i := range w {
		w[i] = int32(version + i)
	}
	return map[string]any{"w": w, "version": version}
}

// crashVersion loads all of the checkpoint at path and returns its version, 0
// if there is none. Anything that is not exactly one version is an error.
func crashVersion(path string) (int, error) {
	state, err := orbax.LoadAs[struct {
		W       []int32 `orbax:"w"`
		Version int     `orbax:"version"`
	}](context.Background(), path)
	if errors.Is(err, orbax.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for i, x := range state.W {
		if x != int32(state.Version+i) {
			return 0, fmt.Errorf("%s: version %d has %d at %d", path, state.Version, x, i)
		}
	}
	if len(state.W) != 1<<19 || state.Version == 0 {
		return 0, fmt.Errorf("%s: %d numbers, version %d", path, len(state.W), state.Version)
	}
	return state.Version, nil
}

// wantVersion fails the test unless path holds exactly this version.
func wantVersion(t *testing.T, path string, want int) {
	t.Helper()
	if got, err := crashVersion(path); err != nil || got != want {
		t.Errorf("%s: version %d, %v; want %d", path, got, err, want)
	}
}

// namesIn returns the names in dir: those of temporary directories, and others.
func namesIn(t *testing.T, dir string) (temporary, others []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), storage.TempMarker) {
			temporary = append(temporary, e.Name())
		} else {
			others = append(others, e.Name())
		}
	}
	return temporary, others
}

// unfinished returns the temporary directories in dir.
func unfinished(t *testing.T, dir string) []string {
	t.Helper()
	temporary, _ := namesIn(t, dir)
	return temporary
}

// heldItem is a checkpointable whose writing stops half way until it is
// released, or its save cancelled.
type heldItem struct {
	started, release chan struct{}
}

func newHeldItem() *heldItem {
	return &heldItem{make(chan struct{}), make(chan struct{})}
}

func (h *heldItem) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(ctx context.Context, dir *handler.WriteDir) error {
		if err := dir.WriteFile(ctx, "half", []byte("data")); err != nil {
			return err
		}
		close(h.started)
		select {
		case <-h.release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil
}

func (h *heldItem) LoadState(context.Context, *handler.ReadDir) error { return nil }

// hold begins a save to path that goes on until it is released or cancelled.
func hold(ctx context.Context, path string, options ...orbax.SaveCheckpointablesOption) (*heldItem, *orbax.AsyncResponse, error) {
	h := newHeldItem()
	resp, err := orbax.SaveCheckpointablesAsync(ctx, path, map[string]any{"held": h, "state": crashState(9)}, options...)
	if err == nil {
		select {
		case <-h.started:
		case <-resp.Done():
			err = resp.Result(ctx)
		}
	}
	return h, resp, err
}

// saveFresh returns a child that saves to path-1, path-2 and so on.
func saveFresh(options ...orbax.SaveOption) func(path string) error {
	return func(path string) error {
		for version := 1; ; version++ {
			if err := orbax.Save(context.Background(), fmt.Sprintf("%s-%d", path, version), crashState(version), options...); err != nil {
				return err
			}
			fmt.Println("saved", version)
		}
	}
}

// children are what a child process can do with a path; it ends by itself or
// is killed.
var children = map[string]func(path string) error{
	"fresh":  saveFresh(),
	"marker": saveFresh(byMarker),
	"overwrite": func(path string) error {
		for version := 2; ; version++ {
			if err := orbax.Save(context.Background(), path, crashState(version), orbax.Overwrite()); err != nil {
				return err
			}
			fmt.Println("saved", version)
		}
	},
	"hold": func(path string) error {
		if _, _, err := hold(context.Background(), path); err != nil {
			return err
		}
		fmt.Println("saved", 0)
		time.Sleep(time.Hour)
		return nil
	},
	"exit": func(path string) error {
		_, _, err := hold(context.Background(), path)
		return err
	},
}

// TestCrashChild is the child process.
func TestCrashChild(t *testing.T) {
	mode, path, ok := testenv.Child()
	if !ok {
		t.Skip("only for the tests of crashes")
	}
	if err := children[mode](path); err != nil {
		t.Fatal(err)
	}
}

// child is a process that runs one of children.
type child struct {
	cmd     *exec.Cmd
	saved   atomic.Int64  // the last version that it says it has saved
	started chan struct{} // closed when it has said so once, or has ended
	ended   chan struct{} // closed when it has ended
}

func startChild(t *testing.T, mode, path string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{exec.Command(exe, "-test.run=^TestCrashChild$"), atomic.Int64{}, make(chan struct{}), make(chan struct{})}
	testenv.SetChild(c.cmd, mode, path)
	out, err := c.cmd.StdoutPipe()
	c.cmd.Stderr = c.cmd.Stdout
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.cmd.Process.Kill() })
	go func() {
		defer close(c.ended)
		start := sync.OnceFunc(func() { close(c.started) })
		defer start()
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, ok := strings.CutPrefix(lines.Text(), "saved "); ok {
				version, _ := strconv.Atoi(n)
				c.saved.Store(int64(version))
				start()
			} else {
				t.Log("child: ", lines.Text())
			}
		}
	}()
	return c
}

// wait returns the exit code of a child that ends by itself.
func (c *child) wait() int {
	<-c.ended
	c.cmd.Wait()
	return c.cmd.ProcessState.ExitCode()
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	c.cmd.Process.Kill()
	if c.wait() >= 0 {
		t.Error("the child ended before it was killed")
	}
}

// crashes is how many processes a test kills.
func crashes() int { return testenv.Pick(200, 10) }

// A process that is killed while it overwrites leaves the old checkpoint or the
// new one, and is in nobody's way.
func TestKillOverwrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	for range crashes() {
		if err := orbax.Save(t.Context(), path, crashState(1), orbax.Overwrite()); err != nil {
			t.Fatal(err) // ErrBusy, for example
		}
		c := startChild(t, "overwrite", path)
		<-c.started
		time.Sleep(rand.N(30 * time.Millisecond))
		c.kill(t)
		version, err := crashVersion(path)
		if saved := int(c.saved.Load()); err != nil || version < saved || version > saved+1 {
			t.Errorf("version %d after the save of %d returned; %v", version, saved, err)
		}
		onlyTemporary(t, dir, "ck")
	}
}

// A process that is killed while it saves leaves whole checkpoints only.
func TestKillSave(t *testing.T) {
	killSaves(t, "fresh", func(path string, version int) {
		switch found, err := crashVersion(path); {
		case err != nil:
			t.Error(err)
		case found == 0:
			if err := orbax.Save(t.Context(), path, crashState(version)); err != nil {
				t.Error(err)
			}
		}
	})
}

// killSaves kills processes that save one checkpoint after the other in a way that
// startChild knows. What they have reported must be whole. The one after these may be
// complete too, be unfinished or not be there: complete looks at it, and saves it anew if
// it is not complete.
func killSaves(t *testing.T, way string, complete func(path string, version int)) {
	t.Parallel()
	for range crashes() {
		dir := t.TempDir()
		c := startChild(t, way, filepath.Join(dir, "ck"))
		<-c.started
		time.Sleep(rand.N(30 * time.Millisecond))
		c.kill(t)
		var whole []string
		for v := 1; v <= int(c.saved.Load())+1; v++ {
			whole = append(whole, fmt.Sprintf("ck-%d", v))
			path := filepath.Join(dir, whole[v-1])
			if v > int(c.saved.Load()) {
				complete(path, v)
			}
			wantVersion(t, path, v)
		}
		onlyTemporary(t, dir, whole...)
		os.RemoveAll(dir)
	}
}

// onlyTemporary fails the test unless dir has exactly the names in whole, and
// temporary directories.
func onlyTemporary(t *testing.T, dir string, whole ...string) {
	t.Helper()
	_, names := namesIn(t, dir)
	slices.Sort(whole)
	if !slices.Equal(names, whole) {
		t.Errorf("%s has %q, want %q", dir, names, whole)
	}
}

// A path is busy while another process writes it, and free once that is dead.
func TestBusyProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	c := startChild(t, "hold", path)
	<-c.started
	for range 2 {
		if err := orbax.Save(t.Context(), path, crashState(1)); !errors.Is(err, orbax.ErrBusy) {
			t.Errorf("while the child saves: %v", err)
		}
	}
	if left := unfinished(t, dir); len(left) != 1 {
		t.Errorf("temporary directories %q, want the child's", left)
	}
	c.kill(t)
	if err := orbax.Save(t.Context(), path, crashState(2)); err != nil {
		t.Errorf("after its death: %v", err)
	}
	wantVersion(t, path, 2)
}

// A program that ends without waiting for its save ends at once, and leaves a
// temporary directory.
func TestExitWithoutWaiting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	c := startChild(t, "exit", path)
	select {
	case <-c.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("it hangs")
	}
	if code := c.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if left := unfinished(t, dir); len(left) != 1 {
		t.Errorf("temporary directories %q", left)
	}
	wantVersion(t, path, 0)
	if err := orbax.Save(t.Context(), path, crashState(1)); err != nil {
		t.Error(err)
	}
	wantVersion(t, path, 1)
}
