package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// dieAt returns the store of a process that dies before its n-th request, and whether it
// has died.
func dieAt(bucket object.Bucket, n int) (*object.Store, *atomic.Bool) {
	var requests atomic.Int64
	dead := new(atomic.Bool)
	errDead := errors.New("this process is dead")
	return object.New(&failstore.Bucket{Bucket: bucket, Fail: func(string, string) error {
		if requests.Add(1) == int64(n) {
			dead.Store(true)
		}
		if dead.Load() {
			return errDead
		}
		return nil
	}}, object.Options{Patience: time.Second}), dead
}

// A process that dies in a save, an overwrite or a deletion in an object store, before any
// of its requests, leaves a path of which every function says what is to be done. Delete
// and Repair do it.
func TestDeadWriterAtPath(t *testing.T) {
	t.Parallel()
	for what, do := range map[string]func(ctx context.Context, in orbax.StoreOption) error{
		"save": func(ctx context.Context, in orbax.StoreOption) error {
			return orbax.Save(ctx, "run/ck", &fields{2}, in)
		},
		"overwrite": func(ctx context.Context, in orbax.StoreOption) error {
			return orbax.Save(ctx, "run/ck", &fields{2}, in, orbax.Overwrite())
		},
		"delete": func(ctx context.Context, in orbax.StoreOption) error { return orbax.Delete(ctx, "run/ck", in) },
	} {
		for _, then := range []string{"Delete", "Repair"} {
			t.Run(what+", "+then, func(t *testing.T) {
				t.Parallel()
				seen := map[string]int{}
				for n, more := 1, true; more && !t.Failed(); n++ {
					synctest.Test(t, func(t *testing.T) {
						bucket := membucket.New()
						in := orbax.In(object.New(bucket, object.Options{}))
						if what != "save" {
							must(t, orbax.Save(t.Context(), "run/ck", &fields{1}, in))
						}
						store, dead := dieAt(bucket, n)
						do(t.Context(), orbax.In(store))
						more = dead.Load()
						dead.Store(true)
						seen[afterDeath(t, bucket, what, then, n)]++
					})
				}
				t.Log(seen)
				want := map[string][]string{"save": {"claim", "unfinished", "decided", "free"}, "overwrite": {"intact", "decided"}, "delete": {"intact", "decided", "free"}}[what]
				for _, kind := range want {
					if seen[kind] == 0 {
						t.Errorf("no death leaves the path %s", kind)
					}
				}
			})
		}
	}
}

type fields struct{ A int }

// afterDeath looks at a path at which a process has died, and returns what is there.
func afterDeath(t *testing.T, bucket *membucket.Bucket, what, then string, n int) string {
	t.Helper()
	ctx := t.Context()
	store := object.New(bucket, object.Options{})
	in := orbax.In(store)
	work, err := store.Work(ctx, "run/ck")
	must(t, err)
	errorf := func(format string, args ...any) {
		t.Helper()
		t.Errorf("death in a %s before request %d: %s", what, n, fmt.Sprintf(format, args...))
	}
	const path = "run/ck"
	reads := map[string]func() error{
		"Load":           func() error { _, err := orbax.Load(ctx, path, in); return err },
		"LoadInto":       func() error { return orbax.LoadInto(ctx, path, &fields{}, in) },
		"item":           func() error { _, err := orbax.Load(ctx, path+"/state", in); return err },
		"Metadata":       func() error { _, err := orbax.Metadata(ctx, path, in); return err },
		"Verify":         func() error { return orbax.Verify(ctx, path, in) },
		"Hash":           func() error { _, err := orbax.Hash(ctx, path, in); return err },
		"Repair":         func() error { _, err := orbax.Repair(ctx, path, in); return err },
		"delete an item": func() error { return orbax.Delete(ctx, path, in, orbax.Name("state")) },
	}
	has := func(prefix string) bool {
		return slices.ContainsFunc(bucket.Keys(), func(k string) bool { return strings.HasPrefix(k, prefix) })
	}
	kind := "free"
	switch marked := has(path + "/commit_success.txt"); {
	case marked:
		kind = "intact"
	case work == nil: // and nothing has been written without a claim
	case work.Decided:
		kind = "decided"
	case has(path + "/"):
		kind = "unfinished"
	default:
		kind = "claim"
	}
	look := func(alive bool) {
		t.Helper()
		if kind == "intact" {
			delete(reads, "delete an item")
			delete(reads, "item")
		}
		for name, read := range reads {
			err := read()
			var class error
			switch kind {
			case "intact":
				if err != nil {
					errorf("%s: %v", name, err)
				}
				continue
			case "free", "claim":
				class = orbax.ErrNotExist
			default:
				class = orbax.ErrIncomplete
				if what == "delete" && !has(path+"/") {
					class = orbax.ErrNotExist
				}
			}
			if name == "item" && !has(path+"/state/") { // nothing shows that it was one
				continue
			}
			if name == "item" && kind == "unfinished" && errors.Is(err, orbax.ErrInvalidCheckpoint) { // its first file may show nothing
				continue
			}
			if !errors.Is(err, class) {
				errorf("%s: %v, want %v", name, err, class)
				continue
			}
			if kind == "free" {
				continue
			}
			if busy := errors.Is(err, orbax.ErrBusy); busy != (alive && work.Publishes()) {
				errorf("%s: ErrBusy is %v: %v", name, busy, err)
			}
			texts := []string{"process ", " began at 2", work.Claim, "has died", "/claim ended at 2"}
			if alive {
				texts = []string{"process ", " began at 2", work.Claim + " counts until 2", "wait"}
			}
			if work.Publishes() {
				texts = append(texts, "Repair with WriteRepairs")
			} else {
				texts = append(texts, "Delete")
			}
			for _, text := range texts {
				if !strings.Contains(err.Error(), text) {
					errorf("%s has no %q: %v", name, text, err)
				}
			}
		}
	}
	end := func() error {
		if then == "Repair" {
			_, err := orbax.Repair(ctx, path, in, orbax.WriteRepairs())
			return err
		}
		return orbax.Delete(ctx, path, in)
	}
	look(true)
	if work != nil {
		if err := end(); !errors.Is(err, orbax.ErrBusy) || !strings.Contains(err.Error(), "try again in ") {
			errorf("%s while the claim counts: %v", then, err)
		}
		if err := orbax.Delete(ctx, path, in, orbax.MissingOK()); !errors.Is(err, orbax.ErrBusy) {
			errorf("a deletion while the claim counts: %v", err)
		}
	}
	time.Sleep(time.Minute)
	look(false)
	err = end()
	gone := kind == "free" || kind == "claim" || kind == "unfinished" || what == "delete" && kind != "intact" || what == "delete" && work != nil && work.Decided
	switch {
	case then == "Delete":
		if want := kind == "free"; want != errors.Is(err, orbax.ErrNotExist) || !want && err != nil {
			errorf("Delete: %v", err)
		}
		gone = true
	case gone != errors.Is(err, orbax.ErrNotExist) || !gone && err != nil:
		errorf("Repair: %v", err)
	}
	if gone && len(bucket.Keys()) > 0 || has(path+".") || bucket.Uploads() > 0 {
		errorf("%s leaves %q and %d uploads", then, bucket.Keys(), bucket.Uploads())
	}
	if !gone {
		got, want := fields{}, 1
		if err := orbax.LoadInto(ctx, path, &got, in); err != nil {
			errorf("Load: %v", err)
		}
		if work != nil && work.Decided || what == "save" {
			want = 2
		}
		if got.A != want && work != nil {
			errorf("there is %+v, want %d", got, want)
		}
	}
	return kind
}
