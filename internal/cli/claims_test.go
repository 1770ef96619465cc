package cli

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// The verbs say who has claimed a path in an object store, and what ends the claim of a
// writer that has died; repair and rm end it, and say what they have done.
func TestClaims(t *testing.T) {
	ctx := t.Context()
	var skew atomic.Int64
	begun := time.Now() // no claim ends because the test is slow
	bucket := &membucket.Bucket{Clock: func() time.Time { return begun.Add(time.Duration(skew.Load())) }}
	store := object.New(bucket, object.Options{})
	state := map[string]any{"a": []float32{1, 2, 3}}
	for _, path := range []string{"run/1", "gone", "other"} {
		orbaxtest.Must(t, orbax.Save(ctx, path, state, orbax.In(store)))
	}
	// dies does something in a process that dies before a request.
	dies := func(do func(in orbax.StoreOption) error, before func(op, key string) bool) {
		t.Helper()
		var dead atomic.Bool
		errDead := errors.New("this process is dead")
		dying := object.New(&failstore.Bucket{Bucket: bucket, Fail: func(op, key string) error {
			if before(op, key) {
				dead.Store(true)
			}
			if dead.Load() {
				return errDead
			}
			return nil
		}}, object.Options{})
		if err := do(orbax.In(dying)); err == nil || !dead.Load() {
			t.Fatalf("the process has not died: %v", err)
		}
	}
	save := func(path string) func(in orbax.StoreOption) error {
		return func(in orbax.StoreOption) error { return orbax.Save(ctx, path, state, in, orbax.Overwrite()) }
	}
	dies(save("run/1"), func(op, key string) bool { return op == "Copy" && key == "run/1/commit_success.txt" })
	dies(save("new"), func(op, key string) bool { return op == "Put" && strings.HasSuffix(key, "manifest.ocdbt") })
	claimed := false
	dies(save("claim"), func(op, key string) bool {
		was := claimed
		claimed = claimed || op == "Put"
		return was
	})
	dies(func(in orbax.StoreOption) error { return orbax.Delete(ctx, "gone", in) }, func() func(op, key string) bool {
		deleted := 0
		return func(op, key string) bool {
			if op == "Delete" {
				deleted++
			}
			return deleted == 2 // the first one removes the mark
		}
	}())
	type command struct {
		args   string
		status int
		want   []string // in the output
	}
	run := func(commands ...command) {
		t.Helper()
		for _, c := range commands {
			var out bytes.Buffer
			status := Run(ctx, strings.Fields(c.args), Config{Out: &out, Err: &out, Store: store})
			if status != c.status {
				t.Errorf("orbax %s: status %d, want %d; %s", c.args, status, c.status, &out)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("orbax %s has no %q: %s", c.args, want, &out)
				}
			}
		}
	}
	alive := []string{"process ", " began at 2", "/claim counts until 2", "hint: wait and try again; if that writer has died, `orbax repair --apply "}
	refused := []string{"another save or deletion is at work on this path: process ", "try again in "}
	both := func(a []string, b ...string) []string { return append(append([]string{}, a...), b...) }
	run(
		command{"ls run/1", exitDamaged, both(alive, "no commit_success.txt", "to exchange it for a new checkpoint")},
		command{"ls run/1/state", exitDamaged, both(alive, "to exchange it for a new checkpoint")},
		command{"ls --json run/1", exitDamaged, alive},
		command{"cat run/1 a", exitDamaged, alive},
		command{"verify run/1", exitDamaged, both(alive, "UNFINISHED  run/1: process ")},
		command{"verify run", exitOK, []string{"UNFINISHED  run/1: process ", "OK  run: 0 steps"}},
		command{"ls run", exitOK, []string{"unfinished: "}},
		command{"hash run/1", exitDamaged, alive},
		command{"diff run/1 other", exitFailed, alive},
		command{"convert run/1 copy", exitDamaged, alive},
		command{"repair run/1", exitDamaged, alive},
		command{"repair --apply run/1", exitFailed, refused},
		command{"rm run/1", exitFailed, refused},
		command{"rm --missing-ok run/1", exitFailed, refused},
		command{"ls new", exitDamaged, both(alive, "to save to it")},
		command{"verify new", exitDamaged, both(alive, "UNFINISHED  new: process ")},
		command{"rm new", exitFailed, refused},
		command{"ls claim", exitFailed, both(alive, "does not exist")},
		command{"cat claim a", exitFailed, both(alive, "does not exist")},
		command{"verify claim", exitFailed, both(alive, "does not exist")},
		command{"rm claim", exitFailed, refused},
		command{"rm --missing-ok claim", exitFailed, refused},
		command{"ls gone", exitDamaged, both(alive, "to remove it")},
		command{"rm gone", exitFailed, refused},
	)
	skew.Store(int64(time.Hour))
	dead := []string{"process ", " began at 2", ", and has died (its claim ", "/claim ended at 2"}
	run(
		command{"ls run/1", exitDamaged, both(dead, "hint: `orbax repair --apply run/1` finishes that, and so does the next save to the path")},
		command{"verify run/1", exitDamaged, both(dead, "UNFINISHED  run/1: process ", "hint: `orbax repair --apply run/1`")},
		command{"repair run/1", exitDamaged, both(dead, "hint: `orbax repair --apply run/1`")},
		command{"repair --apply run/1", exitOK, []string{"FINISHED  run/1  finished what process ", ", which has died, had begun at 2", ": to exchange it for a new checkpoint"}},
		command{"verify run", exitOK, []string{"OK  run: 1 step"}},
		command{"ls new", exitDamaged, both(dead, "hint: `orbax rm new` removes it")},
		command{"rm new", exitOK, []string{"new: undid what process ", ": to save to it"}},
		command{"rm new", exitFailed, []string{"does not exist"}},
		command{"ls claim", exitFailed, both(dead, "does not exist", "hint: `orbax rm claim` removes it")},
		command{"rm claim", exitOK, []string{"claim: ended the claim that process ", ", which has died, had made at 2"}},
		command{"rm claim", exitFailed, []string{"does not exist"}},
		command{"ls gone", exitDamaged, both(dead, "hint: `orbax rm gone` removes it")},
		command{"rm gone", exitOK, []string{"gone: finished what process ", ": to remove it"}},
		command{"rm gone", exitFailed, []string{"does not exist"}},
		command{"rm other", exitOK, nil},
		command{"rm run/1", exitOK, nil},
	)
	if keys := bucket.Keys(); len(keys) > 0 || bucket.Uploads() > 0 {
		t.Errorf("%q and %d uploads are left", keys, bucket.Uploads())
	}
}
