package orbax_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
)

// stepState is a state in which every value tells the step.
func stepState(step int) map[string]any {
	big := make([]int64, 4096)
	for i := range big {
		big[i] = int64(step)
	}
	return map[string]any{"a": big, "b": append([]int64{}, big...), "step": step}
}

func values[T array.Element](v any) []T {
	s, _ := array.Values[T](v.(*array.Array))
	return s
}

func stepOf(v any) (int, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return 0, fmt.Errorf("loaded a %T", v)
	}
	step := m["step"].(int)
	for _, name := range []string{"a", "b"} {
		for _, x := range values[int64](m[name]) {
			if x != int64(step) {
				return 0, fmt.Errorf("step %d has values of step %d", step, x)
			}
		}
	}
	return step, nil
}

// A load while the checkpoint is overwritten gives one step or the other, never
// a mixture, and does not take the change for damage.
func TestLoadWhileOverwriting(t *testing.T) {
	for name, storage := range map[string]handler.StorageOptions{"ocdbt": {}, "files": {PlainFiles: true}} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			path := filepath.Join(t.TempDir(), "latest")
			write := func(step int) error {
				return orbax.SaveCheckpointables(ctx, path,
					map[string]any{"model": stepState(step), "opt": stepState(step)}, orbax.Overwrite(), orbax.Storage(storage))
			}
			if err := write(0); err != nil {
				t.Fatal(err)
			}
			var done atomic.Bool
			saved := make(chan error)
			go func() {
				var err error
				for step := 1; step <= testenv.Pick(50, 12) && err == nil; step++ {
					err = write(step)
				}
				done.Store(true)
				saved <- err
			}()
			loads := 0
			for ; !done.Load(); loads++ {
				parts, err := orbax.LoadCheckpointables(ctx, path, nil)
				if errors.Is(err, orbax.ErrBusy) {
					continue // overwritten several times meanwhile
				}
				if err != nil {
					t.Errorf("load: %v", err)
					break
				}
				model, err1 := stepOf(parts["model"])
				opt, err2 := stepOf(parts["opt"])
				if err1 != nil || err2 != nil || model != opt {
					t.Errorf("loaded model of step %d (%v) and opt of step %d (%v)", model, err1, opt, err2)
					break
				}
			}
			if err := <-saved; err != nil {
				t.Error(err)
			}
			t.Logf("%d loads", loads)
		})
	}
}

// A handle belongs to the checkpoint that was opened.
func TestHandleOfAReplacedCheckpoint(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	if err := orbax.Save(ctx, path, stepState(1)); err != nil {
		t.Fatal(err)
	}
	ck, err := orbax.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	tree, err := ck.Tree(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := orbax.Save(ctx, path, stepState(2), orbax.Overwrite()); err != nil {
		t.Fatal(err)
	}
	if _, err := ck.Load(ctx); !errors.Is(err, orbax.ErrBusy) {
		t.Errorf("Load: %v", err)
	}
	if _, err := ck.Metadata(ctx); !errors.Is(err, orbax.ErrBusy) {
		t.Errorf("Metadata: %v", err)
	}
	if err := ck.Verify(ctx); !errors.Is(err, orbax.ErrBusy) {
		t.Errorf("Verify: %v", err)
	}
	if _, err := tree.Load(ctx); err == nil {
		t.Error("a tree of the old checkpoint loads from the new one")
	}
}
