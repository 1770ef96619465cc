package training_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/training"
)

// runState is a state of about 2 MiB in which every number tells its step, but for
// those that never change and are large enough to be shared.
type runState struct {
	W      []int32 `orbax:"w"`
	Frozen []int32 `orbax:"frozen"`
	Step   int     `orbax:"step"`
}

const runStateLen = 1 << 18

func stateOf(step int) *runState {
	s := &runState{make([]int32, runStateLen), make([]int32, runStateLen), step}
	for i := range s.W {
		s.W[i], s.Frozen[i] = int32(step+i), int32(-i)
	}
	return s
}

// check returns an error unless s is exactly the state of step.
func (s *runState) check(step int) error {
	want := stateOf(step)
	if s.Step != step || !slices.Equal(s.W, want.W) || !slices.Equal(s.Frozen, want.Frozen) {
		return fmt.Errorf("not the state of step %d: that of %d, with %d and %d numbers", step, s.Step, len(s.W), len(s.Frozen))
	}
	return nil
}

// checkStep returns an error unless a step is whole and holds its state.
func checkStep(c *training.Checkpointer, step int) error {
	if err := orbax.Verify(context.Background(), c.Path(step)); err != nil {
		return err
	}
	var s runState
	if err := c.LoadInto(context.Background(), step, &s); err != nil {
		return err
	}
	return s.check(step)
}

// openRun makes a Checkpointer, which saves every step unless o says otherwise, and
// which the test need not close.
func openRun(t *testing.T, root string, o training.Options) *training.Checkpointer {
	t.Helper()
	if o.SaveDecision == nil {
		o.SaveDecision = training.FixedIntervalPolicy{Interval: 1}
	}
	c, err := training.New(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mustSave(t *testing.T, c *training.Checkpointer, steps ...int) {
	t.Helper()
	for _, n := range steps {
		if saved, err := c.Save(t.Context(), n, stateOf(n)); err != nil || !saved {
			t.Fatalf("step %d: saved %t, %v", n, saved, err)
		}
	}
}

func listed(c *training.Checkpointer) (steps []int) {
	for _, ck := range c.Checkpoints() {
		steps = append(steps, ck.Step)
	}
	return steps
}

// wantSteps demands that a root has exactly these steps, each whole, and nothing
// unfinished.
func wantSteps(t *testing.T, c *training.Checkpointer, want ...int) {
	t.Helper()
	if err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if got := listed(c); !slices.Equal(got, want) {
		t.Errorf("the root has steps %v, want %v", got, want)
	}
	for _, n := range want {
		if err := checkStep(c, n); err != nil {
			t.Error(err)
		}
	}
	if left := leftovers(t, c.Root()); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// leftovers returns the names of what is unfinished in root.
func leftovers(t *testing.T, root string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), storage.TempMarker) {
			names = append(names, e.Name())
		}
	}
	return names
}

// heldPart is a checkpointable whose writing stops until it is told how to end.
type heldPart struct {
	started chan struct{}
	end     chan error
}

func newHeldPart() *heldPart { return &heldPart{make(chan struct{}), make(chan error, 1)} }

func (h *heldPart) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(ctx context.Context, dir *handler.WriteDir) error {
		if err := dir.WriteFile(ctx, "half", []byte("data")); err != nil {
			return err
		}
		close(h.started)
		select {
		case err := <-h.end:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, nil
}

func (h *heldPart) LoadState(context.Context, *handler.ReadDir) error { return nil }

// hold begins a save in the background that goes on until it is told to end.
func hold(t *testing.T, ctx context.Context, c *training.Checkpointer, step int) (*heldPart, *training.Response) {
	t.Helper()
	h := newHeldPart()
	resp, err := c.SaveCheckpointablesAsync(ctx, step, map[string]any{"state": stateOf(step), "held": h})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.started:
	case <-resp.Done():
		_, err := resp.Result(ctx)
		t.Fatalf("the save has ended: %v", err)
	}
	return h, resp
}

func TestRootsThatAreNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	ck := filepath.Join(dir, "checkpoint")
	if err := orbax.Save(t.Context(), ck, stateOf(1)); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{
		file, filepath.Join(file, "below"),
		ck, filepath.Join(ck, "state"), filepath.Join(ck, "run"),
		"", "nowhere://run",
	} {
		c, err := training.New(t.Context(), root, training.Options{CustomMetadata: map[string]any{"a": 1}})
		if err == nil {
			_, err = c.Save(t.Context(), 1, stateOf(1))
			c.Close()
			t.Errorf("%q can be opened; a save gives %v", root, err)
			continue
		}
		var e *training.Error
		if !errors.As(err, &e) || e.Root != root || e.Step >= 0 {
			t.Errorf("%q: %v", root, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "text" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if err := orbax.Verify(t.Context(), ck); err != nil {
		t.Error(err)
	}
	if names, err := filepath.Glob(filepath.Join(ck, "*")); err != nil || slices.Contains(names, filepath.Join(ck, "metadata")) {
		t.Errorf("the checkpoint has %q", names)
	}
}

// What is not a step of the run is told, and stays as it is.
func TestForeignEntries(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c := openRun(t, root, training.Options{Preservation: training.LatestN{N: 1}})
	mustSave(t, c, 1)
	foreign := map[string]func(path string) error{
		"notes.txt": func(path string) error { return os.WriteFile(path, []byte("n"), 0o644) },
		"plots":     func(path string) error { return os.Mkdir(path, 0o755) },
		"007":       func(path string) error { return os.Mkdir(path, 0o755) }, // padded otherwise
		"ck_7":      func(path string) error { return os.Mkdir(path, 0o755) },
		"-5":        func(path string) error { return os.Mkdir(path, 0o755) },
		"50":        func(path string) error { return os.Mkdir(path, 0o755) }, // empty
		"51":        func(path string) error { return os.WriteFile(path, []byte("n"), 0o644) },
		"52": func(path string) error { // somebody's files
			if err := os.Mkdir(path, 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(path, "thesis.txt"), []byte("n"), 0o644)
		},
		"99999999999999999999": func(path string) error { return os.Mkdir(path, 0o755) }, // no int
	}
	if runtime.GOOS != "windows" {
		foreign["53"] = func(path string) error { return os.Symlink(path, path) }
		foreign["54"] = func(path string) error { return os.Symlink("notes.txt/below", path) }
	}
	if os.Geteuid() > 0 { // whom permissions stop
		foreign["55"] = func(path string) error { return os.Mkdir(path, 0) }
	}
	for name, make := range foreign {
		if err := make(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := openRun(t, root, training.Options{Preservation: training.LatestN{N: 1}, CleanTemporary: true})
	for _, c := range []*training.Checkpointer{c, again} {
		told := map[string]bool{}
		for _, i := range c.Ignored() {
			told[filepath.Base(i.Path)] = i.Err != nil
		}
		for name := range foreign {
			if !told[name] {
				t.Errorf("%s is not told: %v", name, c.Ignored())
			}
		}
		if got := listed(c); !slices.Equal(got, []int{1}) {
			t.Errorf("steps %v", got)
		}
	}
	mustSave(t, c, 2)
	if _, err := c.Save(t.Context(), 50, stateOf(50)); err == nil {
		t.Error("a save to a name that is taken by an empty directory has made a step")
	} else if !errors.Is(err, orbax.ErrExist) {
		t.Error(err)
	}
	for _, n := range []int{51, 52} {
		for _, o := range [][]orbax.SaveOption{nil, {orbax.Overwrite()}} {
			if saved, err := c.Save(t.Context(), n, stateOf(n), o...); err == nil || saved {
				t.Errorf("step %d is written over what is not a step: %t, %v", n, saved, err)
			}
		}
	}
	for _, n := range []int{50, 51, 52} {
		if err := c.Delete(t.Context(), n); err == nil {
			t.Errorf("%d is deleted", n)
		}
	}
	mustSave(t, c, 100)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	wantSteps(t, c, 100)
	for name := range foreign {
		if _, err := os.Lstat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(root, "52", "thesis.txt")); err != nil || string(text) != "n" {
		t.Errorf("somebody's file is %q, %v", text, err)
	}
}

// flipBit changes a bit in the middle of a file, or of the largest file of a
// directory. It puts a copy in its place, as other steps may share it.
func flipBit(t *testing.T, path string) {
	t.Helper()
	largest := int64(-1)
	var file string
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > largest {
			file, largest = p, info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err == nil {
		data[len(data)/2] ^= 16
		err = os.Remove(file)
	}
	if err == nil {
		err = os.WriteFile(file, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamagedLatest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file string }{
		{"documents", "_CHECKPOINT_METADATA"},
		{"tree", "state/_METADATA"},
		{"array", "state/d"},
		{"manifest", "state/manifest.ocdbt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			first := openRun(t, root, training.Options{Sharing: training.Sharing{Off: true}})
			mustSave(t, first, 1, 2, 3, 4)
			flipBit(t, filepath.Join(root, "4", filepath.FromSlash(c.file)))
			flipBit(t, filepath.Join(root, "3", "state", "d"))
			for name, c := range map[string]*training.Checkpointer{
				"that saved": first,
				"another":    openRun(t, root, training.Options{Preservation: training.LatestN{N: 2}}),
			} {
				for _, n := range []int{4, training.LatestStep} {
					if _, err := c.Load(t.Context(), n); !errors.Is(err, orbax.ErrCorrupt) {
						t.Errorf("%s: load of %d: %v", name, n, err)
					}
				}
				// A state that is not what is loaded is no reason to fall back.
				wrong := struct{ Other int }{}
				if n, err := c.Resume(t.Context(), &wrong); !errors.Is(err, orbax.ErrStructure) {
					t.Errorf("%s: a wrong target resumes %d, %v", name, n, err)
				}
				var s runState
				n, err := c.Resume(t.Context(), &s)
				if err == nil {
					err = s.check(2)
				}
				if err != nil || n != 2 {
					t.Fatalf("%s: resumed %d, %v", name, n, err)
				}
				for _, ck := range c.Checkpoints() {
					if (ck.Err != nil) != (ck.Step > 2) {
						t.Errorf("%s: %+v", name, ck)
					}
				}
				if err := c.Wait(t.Context()); err != nil {
					t.Error(err)
				}
			}
			// The run goes on where it resumed.
			second := openRun(t, root, training.Options{Preservation: training.LatestN{N: 3}})
			if n, err := second.Resume(t.Context(), new(runState)); n != 2 || err != nil {
				t.Fatalf("resumed %d, %v", n, err)
			}
			mustSave(t, second, 3, 4, 5)
			if err := second.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			wantSteps(t, second, 3, 4, 5)
			for _, ck := range second.Checkpoints() {
				if ck.Err != nil {
					t.Errorf("%+v", ck)
				}
			}
		})
	}
}

// Where every step is damaged nothing is loaded, and nothing is called a new run.
func TestAllDamaged(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c := openRun(t, root, training.Options{Sharing: training.Sharing{Off: true}})
	if n, err := c.Resume(t.Context(), new(runState)); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("an empty root resumes %d, %v", n, err)
	}
	mustSave(t, c, 1, 2)
	for _, n := range []string{"1", "2"} {
		flipBit(t, filepath.Join(root, n, "state", "d"))
	}
	n, err := c.Resume(t.Context(), new(runState))
	if !errors.Is(err, orbax.ErrCorrupt) || errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("resumed %d, %v", n, err)
	}
	if got := listed(c); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("steps %v", got)
	}
}

func TestStepsThatAreRefused(t *testing.T) {
	t.Parallel()
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{})
	for _, n := range []int{-1, -2, math.MinInt} {
		if saved, err := c.Save(t.Context(), n, stateOf(0), training.Force()); err == nil || saved {
			t.Errorf("step %d is saved: %t, %v", n, saved, err)
		}
		if resp, err := c.SaveAsync(t.Context(), n, stateOf(0)); err == nil || resp != nil {
			t.Errorf("step %d is being saved: %v, %v", n, resp, err)
		}
	}
	mustSave(t, c, 5)
	for _, o := range [][]orbax.SaveOption{nil, {training.Force()}} {
		if saved, err := c.Save(t.Context(), 5, stateOf(6), o...); !errors.Is(err, orbax.ErrExist) || saved {
			t.Errorf("again: %t, %v", saved, err)
		}
	}
	if saved, err := c.Save(t.Context(), 4, stateOf(4)); !errors.Is(err, training.ErrOlderStep) || saved {
		t.Errorf("older: %t, %v", saved, err)
	}
	wantSteps(t, c, 5)
	if saved, err := c.Save(t.Context(), 3, stateOf(3), training.Force()); err != nil || !saved {
		t.Errorf("older, by force: %t, %v", saved, err)
	}
	wantSteps(t, c, 3, 5)
	for _, n := range []int{4, 6, -7} {
		if _, err := c.Load(t.Context(), n); !errors.Is(err, orbax.ErrNotExist) {
			t.Errorf("load of %d: %v", n, err)
		}
		if err := c.Delete(t.Context(), n); err == nil || n >= 0 && !errors.Is(err, orbax.ErrNotExist) {
			t.Errorf("delete of %d: %v", n, err)
		}
	}
	if err := c.Delete(t.Context(), training.LatestStep); err == nil {
		t.Error("the newest is deleted, without a number")
	}
	// Whatever is refused is refused before the old one is touched.
	for _, o := range []orbax.SaveOption{training.Metrics(math.NaN()), orbax.CustomMetadata(func() {})} {
		if saved, err := c.Save(t.Context(), 5, stateOf(5), orbax.Overwrite(), o); err == nil || saved {
			t.Errorf("overwriting: %t, %v", saved, err)
		}
	}
	wantSteps(t, c, 3, 5)
}

func TestWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	loop := map[string]any{}
	loop["loop"] = loop
	values := map[string]any{
		"NaN": math.NaN(), "infinity": map[string]any{"loss": math.Inf(1)},
		"a function": func() {}, "a channel": map[string]any{"c": make(chan int)}, "a loop": loop,
	}
	c := openRun(t, root, training.Options{})
	mustSave(t, c, 1)
	for name, v := range values {
		for what, o := range map[string]orbax.SaveOption{"metrics": training.Metrics(v), "custom metadata": orbax.CustomMetadata(v)} {
			if saved, err := c.Save(t.Context(), 2, stateOf(2), o); err == nil || saved {
				t.Errorf("%s that are %s: %t, %v", what, name, saved, err)
			}
			if resp, err := c.SaveAsync(t.Context(), 2, stateOf(2), o); err == nil || resp != nil {
				t.Errorf("%s that are %s, in the background: %v, %v", what, name, resp, err)
			}
		}
		if other, err := training.New(t.Context(), filepath.Join(root, "other"), training.Options{CustomMetadata: v}); err == nil {
			other.Close()
			t.Errorf("the root's metadata may be %s", name)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "other")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that is refused: %v", err)
	}
	wantSteps(t, c, 1)
	mustSave(t, c, 2)
	wantSteps(t, c, 1, 2)
	// Any other value is some JSON.
	for i, v := range []any{map[string]any{"loss": 0.5}, []any{1, nil}, "good", 3.5, false} {
		if saved, err := c.Save(t.Context(), 3+i, stateOf(3+i), training.Metrics(v)); err != nil || !saved {
			t.Errorf("metrics %v: %t, %v", v, saved, err)
		}
		if ck, ok := c.Latest(); !ok || fmt.Sprint(ck.Metrics) != fmt.Sprint(v) {
			t.Errorf("metrics %v are %v", v, ck.Metrics)
		}
	}
}

// A failure in the background reaches the program once where it did not ask, and
// whenever it asks.
func TestFailureIsToldOnce(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	// failed returns a Checkpointer whose save of step 2 has failed.
	failed := func(t *testing.T) (*training.Checkpointer, *training.Response) {
		c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{})
		mustSave(t, c, 1)
		h, resp := hold(t, t.Context(), c, 2)
		h.end <- boom
		<-resp.Done()
		return c, resp
	}
	// isEarlier reports whether err is the failure, told by another call.
	isEarlier := func(err error) bool {
		var earlier *training.EarlierError
		return errors.As(err, &earlier) && earlier.Step == 2 && errors.Is(err, boom)
	}
	// quiet demands that nobody tells of it any more.
	quiet := func(t *testing.T, c *training.Checkpointer) {
		t.Helper()
		if err := c.Wait(t.Context()); err != nil {
			t.Errorf("Wait tells: %v", err)
		}
		mustSave(t, c, 7)
		if err := c.Close(); err != nil {
			t.Errorf("Close tells: %v", err)
		}
	}
	asked := func(t *testing.T, resp *training.Response) {
		t.Helper()
		for range 3 {
			if saved, err := resp.Result(t.Context()); saved || !errors.Is(err, boom) || isEarlier(err) {
				t.Errorf("Result: %t, %v", saved, err)
			}
		}
	}

	t.Run("Result", func(t *testing.T) {
		t.Parallel()
		c, resp := failed(t)
		asked(t, resp)
		wantSteps(t, c, 1)
		quiet(t, c)
		asked(t, resp)
	})
	t.Run("OnComplete", func(t *testing.T) {
		t.Parallel()
		c, resp := failed(t)
		calls := 0
		resp.OnComplete(func(saved bool, err error) {
			if calls++; saved || !errors.Is(err, boom) {
				t.Errorf("OnComplete: %t, %v", saved, err)
			}
		})
		if calls != 1 {
			t.Errorf("called %d times", calls)
		}
		quiet(t, c)
	})
	t.Run("Save", func(t *testing.T) {
		t.Parallel()
		c, resp := failed(t)
		if saved, err := c.Save(t.Context(), 3, stateOf(3)); !saved || !isEarlier(err) {
			t.Errorf("Save: %t, %v", saved, err)
		}
		wantSteps(t, c, 1, 3)
		quiet(t, c)
		asked(t, resp)
	})
	t.Run("SaveAsync", func(t *testing.T) {
		t.Parallel()
		c, resp := failed(t)
		next, err := c.SaveAsync(t.Context(), 3, stateOf(3))
		if next == nil || !isEarlier(err) {
			t.Fatalf("SaveAsync: %v, %v", next, err)
		}
		if saved, err := next.Result(t.Context()); err != nil || !saved {
			t.Errorf("its own result: %t, %v", saved, err)
		}
		wantSteps(t, c, 1, 3)
		quiet(t, c)
		asked(t, resp)
	})
	t.Run("a refused Save", func(t *testing.T) {
		t.Parallel()
		c, resp := failed(t)
		if saved, err := c.Save(t.Context(), 1, stateOf(1)); saved || !isEarlier(err) || !errors.Is(err, orbax.ErrExist) {
			t.Errorf("Save: %t, %v", saved, err)
		}
		quiet(t, c)
		asked(t, resp)
	})
	t.Run("Wait", func(t *testing.T) {
		t.Parallel()
		c, resp := failed(t)
		if err := c.Wait(t.Context()); !isEarlier(err) {
			t.Errorf("Wait: %v", err)
		}
		quiet(t, c)
		asked(t, resp)
	})
	t.Run("Close", func(t *testing.T) {
		t.Parallel()
		c, resp := failed(t)
		if err := c.Close(); !isEarlier(err) {
			t.Errorf("Close: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
		asked(t, resp)
	})
}

func TestCancelASave(t *testing.T) {
	t.Parallel()
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{})
	c.Cancel() // nothing
	mustSave(t, c, 1)
	c.Cancel()

	_, resp := hold(t, t.Context(), c, 2)
	if !c.SavingInProgress() {
		t.Error("no save is under way")
	}
	c.Cancel()
	if c.SavingInProgress() {
		t.Error("a save is under way")
	}
	for range 2 {
		if saved, err := resp.Result(t.Context()); saved || !errors.Is(err, context.Canceled) {
			t.Errorf("%t, %v", saved, err)
		}
	}
	wantSteps(t, c, 1)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	_, resp = hold(t, ctx, c, 2)
	cancel()
	if saved, err := resp.Result(t.Context()); saved || !errors.Is(err, context.Canceled) {
		t.Errorf("%t, %v", saved, err)
	}
	if saved, err := c.Save(ctx, 2, stateOf(2)); saved || !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %t, %v", saved, err)
	}
	if resp, err := c.SaveAsync(ctx, 2, stateOf(2)); err == nil {
		if saved, err := resp.Result(t.Context()); saved || !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %t, %v", saved, err)
		}
	} else if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wantSteps(t, c, 1)

	// Who waits for the save before may give up.
	h, resp := hold(t, t.Context(), c, 3)
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if saved, err := c.Save(short, 4, stateOf(4)); saved || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind another save: %t, %v", saved, err)
	}
	if err := c.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: %v", err)
	}
	if saved, err := resp.Result(short); saved || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Result: %t, %v", saved, err)
	}
	h.end <- nil
	if saved, err := resp.Result(t.Context()); err != nil || !saved {
		t.Errorf("%t, %v", saved, err)
	}
	mustSave(t, c, 4)
}

func TestCloseWhileSaving(t *testing.T) {
	t.Parallel()
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{})
	h, resp := hold(t, t.Context(), c, 2)
	closed := make(chan error)
	go func() { closed <- c.Close() }()
	select {
	case err := <-closed:
		t.Errorf("Close has not waited: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	h.end <- nil
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if saved, err := resp.Result(t.Context()); err != nil || !saved {
		t.Errorf("%t, %v", saved, err)
	}

	ctx := t.Context()
	_, loadErr := c.Load(ctx, 2)
	_, abstractErr := c.LoadAbstract(ctx, 2, map[string]any{})
	_, itemsErr := c.LoadCheckpointables(ctx, 2, nil)
	_, openErr := c.Open(ctx, 2)
	_, metaErr := c.Metadata(ctx, 2)
	_, resumeErr := c.Resume(ctx, new(runState))
	_, saveErr := c.Save(ctx, 3, stateOf(3))
	_, asyncErr := c.SaveAsync(ctx, 3, stateOf(3))
	_, shouldErr := c.ShouldSave(3)
	for name, err := range map[string]error{
		"Load": loadErr, "LoadInto": c.LoadInto(ctx, 2, new(runState)), "LoadAbstract": abstractErr,
		"LoadCheckpointables": itemsErr, "Open": openErr, "Metadata": metaErr, "Resume": resumeErr,
		"Save": saveErr, "SaveAsync": asyncErr, "ShouldSave": shouldErr, "Delete": c.Delete(ctx, 2),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	c.Cancel()
	if err := c.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	if err := c.Wait(ctx); err != nil {
		t.Errorf("Wait after Close: %v", err)
	}
	if _, err := os.Stat(c.Path(3)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("step 3: %v", err)
	}
}

// A Checkpointer that is closed leaves no goroutine behind. Not parallel: the
// goroutines of other tests would count.
func TestNothingRunsAfterClose(t *testing.T) {
	var before int
	for i := range 5 {
		if i == 1 { // the first one starts what the runtime has for all signals
			before = runtime.NumGoroutine()
		}
		c, err := training.New(t.Context(), filepath.Join(t.TempDir(), "run"), training.Options{
			Preservation: training.LatestN{N: 1},
			Progress:     func(int, orbax.Stats) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		mustSave(t, c, 1, 2)
		_, resp := hold(t, t.Context(), c, 3)
		if i%2 == 0 {
			c.Cancel()
		} else {
			resp.OnComplete(func(bool, error) {})
			h := newHeldPart()
			h.end <- errors.New("boom")
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			c.SaveCheckpointablesAsync(ctx, 4, map[string]any{"held": h}, training.Force())
			cancel()
			c.Cancel()
		}
		c.Close()
	}
	var now int
	for range 100 {
		if now = runtime.NumGoroutine(); now <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines, %d before:\n%s", now, before, stacks[:runtime.Stack(stacks, true)])
}
