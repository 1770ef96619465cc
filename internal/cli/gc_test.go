package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// dying returns the store of a process that dies before a request of this kind to a key
// with this ending.
func dying(b object.Bucket, op, ending string) storage.Store {
	var dead atomic.Bool
	return object.New(&failstore.Bucket{Bucket: b, Fail: func(o, key string) error {
		if o == op && strings.HasSuffix(key, ending) {
			dead.Store(true)
		}
		if dead.Load() {
			return errors.New("this process is dead")
		}
		return nil
	}}, object.Options{Patience: time.Second})
}

// On a disk gc removes neither what a live process writes nor a file in its way.
func TestGCOnDisk(t *testing.T) {
	ctx, dir := t.Context(), filepath.ToSlash(t.TempDir())
	live, err := storage.Local().Begin(ctx, dir+"/ck", storage.BeginOptions{})
	orbaxtest.Must(t, err)
	defer live.Abort()
	w, err := live.Create(ctx, "file", -1)
	orbaxtest.Must(t, err)
	orbaxtest.Must(t, errors.Join(w.WriteAt(ctx, []byte("x"), 0), w.Close()))
	if !storage.Local().Locks(ctx, dir) {
		t.Skip("the file system has no locks")
	}
	for _, args := range [][]string{{"gc", dir}, {"gc", "--apply", dir}} {
		var out bytes.Buffer
		if status := Run(ctx, args, Config{Out: &out, Err: &out}); status != exitOK || !regexp.MustCompile(`(?m)^live +\d.*s +1 B +.*/ck\.orbax`).MatchString(out.String()) {
			t.Errorf("orbax %q: status %d, %s", args, status, &out)
		}
	}
	orbaxtest.Must(t, live.Commit(ctx))
}

// TestGC cleans a bucket in which processes have died at several moments. It touches neither
// what a live one writes nor what has no claim.
func TestGC(t *testing.T) {
	ctx := t.Context()
	var skew atomic.Int64
	bucket := &membucket.Bucket{Clock: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }}
	store := object.New(bucket, object.Options{})
	in := orbax.In(store)
	state, changed := map[string]any{"a": []float32{1, 2, 3}}, map[string]any{"a": []float32{4, 5}}
	for _, path := range []string{"run/1", "run/2", "deep/er/goes", "python"} {
		orbaxtest.Must(t, orbax.Save(ctx, path, state, in))
	}
	orbaxtest.Must(t, bucket.Delete(ctx, []object.Ref{{Key: "python/commit_success.txt"}}))
	dies := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Fatalf("%s has not died", what)
		}
	}
	dies("a save", orbax.Save(ctx, "run/3", state, orbax.In(dying(bucket, "Put", "manifest.ocdbt"))))
	dies("an upload", orbax.Save(ctx, "single", map[string]any{"w": make([]float32, 6<<20)}, orbax.In(dying(bucket, "Complete", ""))))
	dies("an overwriting save", orbax.Save(ctx, "run/2", changed, orbax.Overwrite(), orbax.In(dying(bucket, "Copy", "run/2/commit_success.txt"))))
	dies("a removal", orbax.Delete(ctx, "deep/er/goes", orbax.In(dying(bucket, "Delete", ""))))
	skew.Store(int64(time.Hour))
	live, err := store.Begin(ctx, "run/4", storage.BeginOptions{Marker: object.Marker})
	orbaxtest.Must(t, err)

	run := func(status int, args ...string) (r inspect.Remains, states map[string]string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := Run(ctx, append([]string{"gc", "--json"}, args...), Config{Out: &out, Err: &errs, Store: store}); got != status {
			t.Errorf("gc %q: status %d, want %d; %s", args, got, status, &errs)
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err, out.String())
		}
		states = map[string]string{}
		for _, m := range r.Remains {
			state, _, _ := strings.Cut(m.State+": "+m.What, ";")
			if m.Removed {
				state = "removed " + state
			}
			if m.State == inspect.RemainDead && m.Writer == nil || m.Files == 0 || m.Modified == nil {
				t.Errorf("%+v", m)
			}
			states[m.Of] = state
		}
		return r, states
	}
	same := func(what string, got, want map[string]string) {
		t.Helper()
		if d := orbaxtest.Difference(got, want); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	const unfinished = "unfinished: an unfinished checkpoint, of a save that is running or has died"
	const writing, decided = "dead: an unfinished save: its files are removed", "dead: a save or a removal that is decided: it is finished"
	const alive = "live: an unfinished save: its files are removed"
	before := bucket.Keys()
	_, states := run(exitOK, ".")
	same("a dry run", states, map[string]string{"python": unfinished, "run/3": writing, "single": writing, "run/2": decided, "deep/er/goes": decided, "run/4": alive})
	if !slices.Equal(bucket.Keys(), before) || bucket.Uploads() != 1 {
		t.Errorf("a dry run changes the bucket: %q, %d uploads", bucket.Keys(), bucket.Uploads())
	}
	_, states = run(exitOK, "single")
	same("beside a path", states, map[string]string{"single": writing})
	_, states = run(exitOK, "--apply", "run")
	same("applied to a run", states, map[string]string{"run/3": "removed " + writing, "run/2": "removed " + decided, "run/4": alive})
	_, states = run(exitOK, "--apply", ".")
	same("applied to the bucket", states, map[string]string{"python": unfinished, "single": "removed " + writing, "deep/er/goes": "removed " + decided, "run/4": alive})
	_, states = run(exitOK, ".")
	same("after that", states, map[string]string{"python": unfinished, "run/4": alive})
	if n := bucket.Uploads(); n > 0 {
		t.Errorf("%d uploads are left", n)
	}
	for _, key := range bucket.Keys() {
		if top, _, _ := strings.Cut(key, "/"); top == "single" || top == "deep" || strings.HasPrefix(key, "run/3") || strings.HasPrefix(key, "run/2.") {
			t.Errorf("%s is left", key)
		}
	}
	got, err := orbax.Load(ctx, "run/2", in)
	if a, ok := got.(map[string]any)["a"].(*array.Array); err != nil || !ok || !a.Equal(array.Of([]float32{4, 5}, 2)) {
		t.Errorf("the decided save is not finished: %v, %v", got, err)
	}
	// The live writer goes on.
	w, err := live.Create(ctx, object.Marker, -1)
	orbaxtest.Must(t, err)
	orbaxtest.Must(t, w.WriteAt(ctx, []byte("x"), 0))
	orbaxtest.Must(t, w.Close())
	orbaxtest.Must(t, live.Commit(ctx))
}

// A claim that is damaged belongs to a writer of which nothing is known.
func TestGCOfDamagedClaim(t *testing.T) {
	ctx := t.Context()
	var skew atomic.Int64
	bucket := &membucket.Bucket{Clock: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }}
	store := object.New(bucket, object.Options{})
	stage, err := store.Begin(ctx, "ck", storage.BeginOptions{Marker: object.Marker})
	orbaxtest.Must(t, err)
	defer stage.Abort()
	keys := bucket.Keys()
	if len(keys) != 1 {
		t.Fatalf("the keys are %q, want a claim", keys)
	}
	for _, c := range []struct{ text, what string }{
		{"", "an unfinished save: its files are removed"},
		{"{", "a claim that cannot be read"},
	} {
		skew.Store(0)
		if c.text != "" {
			_, err := bucket.Put(ctx, keys[0], [][]byte{[]byte(c.text)}, object.PutOptions{})
			orbaxtest.Must(t, err)
		}
		for after, state := range map[time.Duration]string{0: inspect.RemainLive, time.Hour: inspect.RemainDead} {
			skew.Store(int64(after))
			var out bytes.Buffer
			status := Run(ctx, []string{"gc", "--json", "."}, Config{Out: &out, Err: io.Discard, Store: store})
			var r inspect.Remains
			if err := json.Unmarshal(out.Bytes(), &r); status != exitOK || err != nil || len(r.Remains) != 1 {
				t.Fatalf("%q: status %d, %v, %s", c.text, status, err, &out)
			}
			if m := r.Remains[0]; m.What != c.what || m.State != state || (m.Writer == nil) != (c.text != "") {
				t.Errorf("%q after %v: %+v", c.text, after, m)
			}
		}
	}
}
