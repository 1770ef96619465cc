package training_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// flipData changes a byte in the middle of the largest file of a step.
func flipData(t *testing.T, path string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(path, "state", "d", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var largest string
	size := int64(-1)
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && info.Size() > size {
			largest, size = f, info.Size()
		}
	}
	data, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	data[1000] ^= 1
	if err := errors.Join(os.Remove(largest), os.WriteFile(largest, data, 0o644)); err != nil { // not in what shares it
		t.Fatal(err)
	}
}

// loader loads each step into a state, and notes which.
type loader struct {
	into  runState
	calls atomic.Int64
}

func (l *loader) load(ctx context.Context, ck *orbax.Checkpoint) error {
	l.calls.Add(1)
	return ck.LoadInto(ctx, &l.into)
}

// A program that only reads gets the newest step that it can load.
func TestLatestThatLoads(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	c := openRun(t, root, training.Options{Sharing: training.Sharing{Off: true}})
	mustSave(t, c, 1, 2, 3, 4)
	flipData(t, c.Path(4))
	if err := os.WriteFile(filepath.Join(c.Path(3), "state", "_METADATA"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	var l loader
	var log bytes.Buffer
	o := training.ReadOptions{Load: l.load, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	if ck, err := training.Latest(t.Context(), root, o); err != nil || ck.Step != 2 || l.into.check(2) != nil || l.calls.Load() != 2 {
		t.Errorf("step %d, %v, %v, %d loads", ck.Step, err, l.into.check(2), l.calls.Load())
	}
	for _, step := range []string{"step=3 ", "step=4 "} {
		if strings.Count(log.String(), step) != 1 {
			t.Errorf("the log says of %s: %s", step, &log)
		}
	}
	o.Load = func(ctx context.Context, ck *orbax.Checkpoint) error { return ck.Verify(ctx) }
	if ck, err := training.Latest(t.Context(), root, o); err != nil || ck.Step != 2 {
		t.Errorf("verified: step %d, %v", ck.Step, err)
	}

	// What is wrong with the program is no damage.
	for what, load := range map[error]func(ctx context.Context, ck *orbax.Checkpoint) error{
		orbax.ErrStructure: func(ctx context.Context, ck *orbax.Checkpoint) error {
			return ck.LoadInto(ctx, &struct{ Other int }{})
		},
		os.ErrClosed: func(context.Context, *orbax.Checkpoint) error { return os.ErrClosed },
	} {
		o.Load = load
		if ck, err := training.Latest(t.Context(), root, o); !errors.Is(err, what) || errors.Is(err, orbax.ErrNotExist) {
			t.Errorf("step %d, %v; want %v", ck.Step, err, what)
		}
	}
	o.Load = func(ctx context.Context, ck *orbax.Checkpoint) error {
		_, err := ck.LoadCheckpointables(ctx, map[string]any{"missing": nil})
		return err
	}
	if _, err := training.Latest(t.Context(), root, o); !errors.Is(err, orbax.ErrStructure) || errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("a checkpointable that is missing: %v", err)
	}

	// All are damaged.
	flipData(t, c.Path(1))
	flipData(t, c.Path(2))
	o.Load = l.load
	if _, err := training.Latest(t.Context(), root, o); !errors.Is(err, orbax.ErrCorrupt) || errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("all damaged: %v", err)
	}

	listed, err := training.Steps(t.Context(), root, training.ReadOptions{})
	if err != nil || len(listed) != 4 {
		t.Fatal(listed, err)
	}
	for i, ck := range listed {
		if ck.Step != i+1 || ck.Path != filepath.Join(root, strconv.Itoa(i+1)) || ck.Time.IsZero() {
			t.Errorf("%+v", ck)
		}
	}
	for _, none := range []string{filepath.Join(root, "none"), t.TempDir()} {
		if listed, err := training.Steps(t.Context(), none, training.ReadOptions{}); !errors.Is(err, orbax.ErrNotExist) || listed != nil {
			t.Errorf("%v, %v", listed, err)
		}
	}
}

// While a step is loaded it is removed, as there is a newer one.
func TestLatestThatIsRemovedWhileLoaded(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	if err := orbax.Save(t.Context(), filepath.Join(root, "1"), stateOf(1)); err != nil {
		t.Fatal(err)
	}
	var s runState
	calls := 0
	ck, err := training.Latest(t.Context(), root, training.ReadOptions{Load: func(ctx context.Context, ck *orbax.Checkpoint) error {
		if calls++; calls <= 3 {
			succeed(t, root)
		}
		return ck.LoadInto(ctx, &s)
	}})
	if err != nil || ck.Step != 4 || calls != 4 || s.check(4) != nil {
		t.Errorf("step %d after %d calls, %v, %v", ck.Step, calls, err, s.check(4))
	}
}

// A watch yields what it could load, and passes over damage, without trying again.
func TestWatchThatLoads(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	c := openRun(t, root, training.Options{Sharing: training.Sharing{Off: true}})
	mustSave(t, c, 1, 2)
	flipData(t, c.Path(2))
	var l loader
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	o := training.ReadOptions{Interval: time.Millisecond, Load: l.load}
	var got []int
	for ck, err := range training.Watch(ctx, root, o) {
		if err != nil || l.into.check(ck.Step) != nil {
			t.Errorf("step %d, %v, %v", ck.Step, err, l.into.check(ck.Step))
		}
		switch got = append(got, ck.Step); ck.Step {
		case 1:
			mustSave(t, c, 3)
		case 3:
			tmp := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{})
			mustSave(t, tmp, 4)
			flipData(t, tmp.Path(4))
			if err := os.Rename(tmp.Path(4), c.Path(4)); err != nil {
				t.Fatal(err)
			}
			go func() {
				for l.calls.Load() < 4 {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(50 * time.Millisecond) // in which it looks again
				if err := orbax.Save(ctx, c.Path(5), stateOf(5)); err != nil {
					t.Error(err)
				}
			}()
		case 5:
			stop()
		}
	}
	if !slices.Equal(got, []int{1, 3, 5}) || l.calls.Load() != 5 {
		t.Errorf("yielded %v with %d loads", got, l.calls.Load())
	}
}
