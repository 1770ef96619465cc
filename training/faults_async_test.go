package training_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/training"
)

// heldPart is a checkpointable whose writing stops until it is told how to end.
type heldPart struct {
	started chan struct{}
	end     chan error
	file    string
}

func newHeldPart() *heldPart { return &heldPart{make(chan struct{}), make(chan error, 1), "half"} }

func (h *heldPart) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(ctx context.Context, dir *handler.WriteDir) error {
		if err := dir.WriteFile(ctx, h.file, []byte("data")); err != nil {
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
		if saved, err := c.Save(t.Context(), 1, stateOf(1)); saved || isEarlier(err) || !errors.Is(err, orbax.ErrExist) || !strings.Contains(err.Error(), boom.Error()) {
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

// panicking is the code of a user that panics when it is asked about step 2.
type panicking struct{}

func (panicking) ShouldSave(ck training.Step, _ []training.Step, _ training.DecisionContext) (bool, error) {
	if ck.Step == 2 {
		panic("boom")
	}
	return true, nil
}

func (panicking) ShouldPreserve(cks []training.Step, _ training.PreservationContext) ([]bool, error) {
	if cks[len(cks)-1].Step == 2 {
		panic("boom")
	}
	return make([]bool, len(cks)), nil
}

func (panicking) SaveState(context.Context) (handler.WriteFunc, error) { panic("boom") }

func (panicking) LoadState(context.Context, *handler.ReadDir) error { return nil }

// A panic in the code of the user reaches it: a deferred Close does not wait for
// ever.
func TestUserPanics(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o     training.Options
		items map[string]any
	}{
		"deciding":  {training.Options{SaveDecision: panicking{}}, map[string]any{"state": stateOf(2)}},
		"retaining": {training.Options{Preservation: panicking{}}, map[string]any{"state": stateOf(2)}},
		"saving":    {training.Options{}, map[string]any{"state": stateOf(2), "part": panicking{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.o.SaveDecision == nil {
				c.o.SaveDecision = training.FixedIntervalPolicy{Interval: 1}
			}
			ck, err := training.New(t.Context(), filepath.Join(t.TempDir(), "run"), c.o)
			if err != nil {
				t.Fatal(err)
			}
			mustSave(t, ck, 1)
			func() {
				defer func() {
					if v := recover(); v == nil {
						t.Error("no panic")
					}
				}()
				ck.SaveCheckpointables(t.Context(), 2, c.items)
			}()
			if ck.SavingInProgress() {
				t.Error("a save is under way")
			}
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				ck.Close()
			}()
			select {
			case <-closed:
			case <-time.After(10 * time.Second):
				t.Error("Close hangs")
			}
		})
	}
}
