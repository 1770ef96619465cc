package training_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// A Checkpointer that finishes the exchange of a dead program in the background is not in
// its own way: a reading of the run waits for that.
func TestOwnCleanup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, bucket := t.Context(), membucket.New()
		store := object.New(bucket, object.Options{})
		for step := 1; step <= 3; step++ {
			if err := orbax.Save(ctx, fmt.Sprint("run/", step), &stepState{step}, orbax.In(store), orbax.Name("state")); err != nil {
				t.Fatal(err)
			}
		}
		die := func(step int, op, suffix string) {
			t.Helper()
			dead := false
			dying := &failstore.Bucket{Bucket: bucket, Fail: func(o, key string) error {
				if dead = dead || o == op && strings.HasSuffix(key, suffix); dead {
					return errors.New("this process is dead")
				}
				return nil
			}}
			err := orbax.Save(ctx, fmt.Sprint("run/", step), &stepState{100 + step}, orbax.In(object.New(dying, object.Options{Concurrency: 1})), orbax.Overwrite())
			if err == nil || !dead {
				t.Fatalf("the process has not died: %v", err)
			}
		}
		work := func(step int) string {
			w, err := store.Work(ctx, fmt.Sprint("run/", step))
			if err != nil || w == nil {
				t.Fatalf("step %d has no claim: %v", step, err)
			}
			return w.String()
		}
		die(1, "Put", "/manifest.ocdbt")
		time.Sleep(20 * time.Second)
		die(3, "Copy", "run/3/commit_success.txt")
		w, err := store.Work(ctx, "run/3")
		if err != nil || w == nil || !w.Publishes() {
			t.Fatalf("step 3 has %v, %v", w, err)
		}
		time.Sleep(w.Left - time.Second/2) // it ends when the Checkpointer has begun to remove what is left of step 1
		c, err := training.New(ctx, "run", training.Options{Store: store, Preempted: make(chan struct{})})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for !strings.Contains(work(3), "in the place of ") {
			time.Sleep(10 * time.Millisecond)
		}
		var got stepState
		if step, err := c.Resume(ctx, &got); err != nil || step != 3 || got.A != 103 {
			t.Errorf("resumed at step %d, %+v, %v; want the new step 3", step, got, err)
		}
	})
}
