package cloud_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/training"
)

// A run whose only step was being exchanged when its program died never looks new. The next
// program finishes the exchange as soon as the claim has ended.
func TestDeadInExchange(t *testing.T) {
	onEach(t, func(t *testing.T, b object.Bucket, store *object.Store) {
		ctx := t.Context()
		in := orbax.In(store)
		must(t, orbax.Save(ctx, "run/1", stateOf(1), in))
		var dead atomic.Bool
		dying := object.New(&failstore.Bucket{Bucket: b, Fail: func(op, key string) error {
			if dead.Load() || op == "Copy" && key == "run/1/"+object.Marker {
				dead.Store(true)
				return errors.New("this process is dead")
			}
			return nil
		}}, shortLease)
		if err := orbax.Save(ctx, "run/1", stateOf(2), orbax.In(dying), orbax.Overwrite()); err == nil || !dead.Load() {
			t.Fatalf("the process has not died: %v", err)
		}
		_, err := orbax.Load(ctx, "run/1", in)
		if !errors.Is(err, orbax.ErrIncomplete) || !strings.Contains(err.Error(), "to exchange it for a new checkpoint") {
			t.Errorf("Load: %v", err)
		}
		if _, err := training.Latest(ctx, "run", training.ReadOptions{Store: store}); !errors.Is(err, orbax.ErrIncomplete) || errors.Is(err, orbax.ErrNotExist) {
			t.Errorf("Latest: %v", err)
		}
		var c *training.Checkpointer
		for err = orbax.ErrBusy; errors.Is(err, orbax.ErrBusy); time.Sleep(100 * time.Millisecond) {
			c, err = training.New(ctx, "run", training.Options{Store: store})
			if err != nil && !strings.Contains(err.Error(), "/claim counts until 2") {
				t.Errorf("New: %v", err)
			}
		}
		must(t, err)
		var state map[string]any
		step, err := c.Resume(ctx, &state)
		must(t, err)
		if seed, err := seedOf(state); step != 1 || seed != 2 || err != nil {
			t.Errorf("resumed at step %d with seed %d, %v; want the new step 1", step, seed, err)
		}
		must(t, c.Close())
		wantKeys(t, b, "run/1")
	})
}
