package object_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

// At whatever request a writer dies, Work says whether the next writer finishes or undoes
// what it had begun.
func TestWorkOfDeadWriters(t *testing.T) {
	many := map[string]string{marker: "old"} // so many that the steps have an object of their own
	for i := range 120 {
		many[fmt.Sprint("d/", i)] = "old"
	}
	for what, c := range map[string]struct {
		old, new map[string]string
		task     storage.Task // once it is decided
	}{
		"save":         {nil, newFiles, storage.TaskSave},
		"replace":      {oldFiles, newFiles, storage.TaskReplace},
		"replace many": {many, newFiles, storage.TaskReplace},
		"heal":         {map[string]string{"doc": "old"}, newFiles, storage.TaskReplace},
		"remove":       {oldFiles, nil, storage.TaskRemove},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			seen := map[string]int{}
			for n, more := 1, true; more && !t.Failed(); n++ {
				synctest.Test(t, func(t *testing.T) {
					s := newService(false)
					if c.old != nil {
						for name, text := range c.old {
							put(t, s, ck+"/"+name, text)
						}
					}
					client := newClient(s, once(n, dies))
					err := change(t, s, object.New(client, options), c.new)
					if more = client.dead; !more {
						must(t, err)
						return
					}
					store := object.New(s, options)
					work, err := store.Work(t.Context(), ck)
					must(t, err)
					before := contents(s, ck)
					if work == nil {
						if err := errOfEdit(t, store); !maps.Equal(contents(s, ck), before) {
							t.Errorf("death before request %d: nobody has a claim, and an Edit changes the files: %v", n, err)
						}
						return
					}
					seen[fmt.Sprint(work.Task, " ", work.Decided)]++
					if of, err := store.Work(t.Context(), object.ClaimDir(ck)); err != nil || of == nil || of.Claim != work.Claim {
						t.Errorf("death before request %d: the directory of the claim has the work %+v, %v", n, of, err)
					}
					text := work.String()
					if !work.Alive() || work.Claim != object.ClaimKey(ck) || work.Since.IsZero() || !strings.Contains(text, work.Claim+" counts until 2") {
						t.Errorf("death before request %d: %+v: %s", n, work, text)
					}
					if err := errOfEdit(t, store); !errors.Is(err, fault.ErrBusy) || !strings.Contains(fmt.Sprint(err), text+"; try again in ") {
						t.Errorf("death before request %d: an Edit while the claim counts: %v", n, err)
					}
					s.wait(time.Minute)
					if work, err = store.Work(t.Context(), ck); err != nil || work.Alive() || !strings.Contains(work.String(), "has died") {
						t.Errorf("death before request %d: %+v, %v", n, work, err)
					}
					if work.Decided && work.Task != c.task || work.Publishes() != (work.Decided && c.new != nil) {
						t.Errorf("death before request %d: %+v", n, work)
					}
					want := c.old
					verb := "undid what process "
					switch {
					case work.Decided:
						want, verb = c.new, "finished what process "
					case work.Task == storage.TaskUnknown: // nothing was begun, or all is done
						want, verb = before, "ended the claim that process "
					}
					e, err := store.Edit(t.Context(), ck)
					must(t, err)
					if got := e.Recovered(); got == nil || got.Task != work.Task || got.Decided != work.Decided {
						t.Errorf("death before request %d: recovered %+v, want %+v", n, got, work)
					}
					if !strings.HasPrefix(e.Recovered().Recovered(), verb) {
						t.Errorf("death before request %d: %s", n, e.Recovered().Recovered())
					}
					must(t, e.Close())
					if got := contents(s, ck); !maps.Equal(got, want) || len(s.Keys()) != len(want) {
						t.Errorf("death before request %d, %s: there are %q", n, text, slices.Sorted(slices.Values(s.Keys())))
					}
				})
			}
			t.Log(seen)
			if seen[fmt.Sprint(c.task, " true")] < 2 || seen[" false"] == 0 {
				t.Errorf("there were %v", seen)
			}
		})
	}
}

// change saves a directory, or removes it if files is nil.
func change(t *testing.T, s *service, store storage.Store, files map[string]string) error {
	if files != nil {
		return save(t.Context(), store, ck, files, everything(s))
	}
	e, err := store.Edit(t.Context(), ck)
	if err != nil {
		return err
	}
	return errors.Join(e.RemoveAll(t.Context(), everything(s)), e.Close())
}

// errOfEdit returns the error of an Edit that does nothing.
func errOfEdit(t *testing.T, store storage.Store) error {
	e, err := store.Edit(t.Context(), ck)
	if err != nil {
		return err
	}
	return e.Close()
}
