package training_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// A process that dies in a save to an object store leaves a claim. Once that has expired,
// whoever opens the run, or removes the directory of the claim, finishes or undoes the save.
func TestDeadWriterOfObjects(t *testing.T) {
	state := struct{ A []float32 }{[]float32{1, 2, 3}}
	for what, c := range map[string]struct {
		step  int
		after string // the part of a key with which the last request ends
		want  []int
	}{
		"a new step":                     {3, "manifest.ocdbt", []int{1, 2}},
		"a new step, before its marker":  {3, "/3/commit_success.txt", []int{1, 2, 3}},
		"a replaced step":                {2, "commit_success.txt", []int{1, 2}},
		"a replaced step that is marked": {2, "/2/commit_success.txt", []int{1, 2}},
	} {
		for _, how := range []string{"opens the run", "removes the remains"} {
			t.Run(what+", "+how, func(t *testing.T) {
				t.Parallel()
				var skew atomic.Int64
				bucket := &membucket.Bucket{Clock: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }}
				run := func(b object.Bucket) (*training.Checkpointer, error) {
					return training.New(t.Context(), "run", training.Options{Store: object.New(b, object.Options{Patience: time.Second})})
				}
				first, err := run(bucket)
				if err != nil {
					t.Fatal(err)
				}
				for step := 1; step <= 2; step++ {
					if _, err := first.Save(t.Context(), step, &state); err != nil {
						t.Fatal(err)
					}
				}
				if err := first.Close(); err != nil {
					t.Fatal(err)
				}

				var dead atomic.Bool
				dies := errors.New("this process is dead")
				dying, err := run(&failstore.Bucket{Bucket: bucket, Fail: func(op, key string) error {
					if dead.Load() {
						return dies
					}
					if (op == "Copy" || op == "Put" || op == "Complete") && strings.HasSuffix(key, c.after) {
						dead.Store(true)
						return dies
					}
					return nil
				}})
				if err != nil {
					t.Fatal(err)
				}
				_, err = dying.Save(t.Context(), c.step, &state, orbax.Overwrite())
				if err == nil {
					err = dying.Wait(t.Context())
				}
				if err == nil || !dead.Load() {
					t.Fatalf("the process has not died: %v", err)
				}
				dying.Close()

				temporary := func() (names []string) {
					for _, key := range bucket.Keys() {
						if strings.Contains(key, ".orbax-checkpoint-tmp") {
							names = append(names, strings.Join(strings.SplitN(key, "/", 3)[:2], "/"))
						}
					}
					return slices.Compact(names)
				}
				left := temporary()
				if len(left) != 1 {
					t.Fatalf("it has left %q", left)
				}
				in := orbax.In(object.New(bucket, object.Options{}))
				if err := orbax.Delete(t.Context(), left[0], in); !errors.Is(err, orbax.ErrBusy) {
					t.Errorf("the remains are removed while the claim counts: %v", err)
				}
				skew.Store(int64(time.Hour))
				if how == "removes the remains" {
					if err := orbax.Delete(t.Context(), left[0], in); err != nil {
						t.Error(err)
					}
				}
				next, err := run(bucket)
				if err != nil {
					t.Fatal(err)
				}
				if err := next.Close(); err != nil {
					t.Error(err)
				}
				if names := temporary(); len(names) > 0 || bucket.Uploads() > 0 {
					t.Errorf("%q and %d uploads are left", names, bucket.Uploads())
				}
				again, err := run(bucket)
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				var steps []int
				for _, s := range again.Checkpoints() {
					if s.Err == nil {
						steps = append(steps, s.Step)
					}
				}
				if !slices.Equal(steps, c.want) {
					t.Errorf("the steps are %v, want %v", steps, c.want)
				}
				for _, key := range bucket.Keys() {
					if strings.HasPrefix(key, "run/3/") && len(c.want) < 3 {
						t.Errorf("%s is left", key)
					}
				}
			})
		}
	}
}
