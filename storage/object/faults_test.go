package object_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

const random = "0123456789abcdef0123456789abcdef"

var (
	oldFiles = map[string]string{marker: "old", "doc": "old", "gone": "old", "d/" + random: long("old"), "keep": "old"}
	newFiles = map[string]string{marker: "new", "doc": "new", "added": "new", "d/f" + random: long("new"), "big": long("new2"), "keep": "new"}
)

// scenario is an operation that changes the directory run/ck from old to new; nil is no
// directory.
type scenario struct {
	name     string
	old, new map[string]string
	// run performs the operation in a process with faults. owner is a process without.
	run func(ctx context.Context, s *service, owner, own storage.Store) error
	// partly says that the operation is several, and that each of them may have been done.
	partly bool
}

const ck = "run/ck"

func without(files map[string]string, names ...string) map[string]string {
	files = maps.Clone(files)
	for _, n := range names {
		delete(files, n)
	}
	return files
}

func with(files map[string]string, name, text string) map[string]string {
	files = maps.Clone(files)
	files[name] = text
	return files
}

// edit returns the run of a scenario that changes a directory.
func edit(f func(ctx context.Context, s *service, e storage.Edit) error) func(context.Context, *service, storage.Store, storage.Store) error {
	return func(ctx context.Context, s *service, _, own storage.Store) error {
		e, err := own.Edit(ctx, ck)
		if err != nil {
			return err
		}
		return errors.Join(f(ctx, s, e), e.Close())
	}
}

var scenarios = []scenario{
	{name: "a save", new: newFiles, run: func(ctx context.Context, _ *service, _, own storage.Store) error {
		return save(ctx, own, ck, newFiles, nil)
	}},
	{name: "a save that replaces", old: oldFiles, new: newFiles, run: func(ctx context.Context, s *service, _, own storage.Store) error {
		return save(ctx, own, ck, newFiles, everything(s))
	}},
	{name: "a save that is aborted", old: oldFiles, new: oldFiles, run: func(ctx context.Context, s *service, _, own storage.Store) error {
		g, err := own.Begin(ctx, ck, storage.BeginOptions{Marker: marker, Replace: everything(s)})
		if err != nil {
			return err
		}
		return errors.Join(writeAll(ctx, g, newFiles), g.Abort())
	}},
	savesCopy,
	{name: "RemoveAll", old: oldFiles, run: edit(func(ctx context.Context, s *service, e storage.Edit) error {
		return e.RemoveAll(ctx, everything(s))
	})},
	{name: "Put", old: oldFiles, new: with(oldFiles, "doc", "new"), run: edit(func(ctx context.Context, _ *service, e storage.Edit) error {
		return e.Put(ctx, "doc", []byte("new"), true)
	})},
	{name: "Put of a new file", old: oldFiles, new: with(oldFiles, "added", "new"), run: edit(func(ctx context.Context, _ *service, e storage.Edit) error {
		return e.Put(ctx, "added", []byte("new"), false)
	})},
	{name: "Remove of a file", old: oldFiles, new: without(oldFiles, "gone"), run: edit(func(ctx context.Context, _ *service, e storage.Edit) error {
		return e.Remove(ctx, "gone", nil)
	})},
	{name: "Remove of a directory", old: oldFiles, new: without(oldFiles, "d/"+random), run: edit(func(ctx context.Context, s *service, e storage.Edit) error {
		return e.Remove(ctx, "d", everything(s))
	})},
	{name: "a joined writer", new: with(newFiles, "part/x", long("joined")), run: joining(nil)},
	{name: "a joined writer of a save that replaces", old: oldFiles, new: with(newFiles, "part/x", long("joined")), run: joining(oldFiles)},
	{name: "Revoke", old: oldFiles, new: oldFiles, run: func(ctx context.Context, s *service, owner, own storage.Store) error {
		g, err := owner.Begin(ctx, ck, storage.BeginOptions{Marker: marker, Replace: everything(s)})
		if err != nil {
			return err
		}
		if err := writeAll(ctx, g, newFiles); err != nil {
			return err
		}
		rerr := own.Revoke(ctx, g.Ticket())
		if rerr == nil {
			if cerr := g.Commit(ctx); !errors.Is(cerr, fault.ErrNotExist) {
				return fmt.Errorf("Commit after Revoke: %v", cerr)
			}
		} else if aerr := g.Abort(); aerr != nil { // the revoker has died
			return aerr
		}
		return rerr
	}},
}

// joining is the run of a scenario in which the process with faults joins a stage.
func joining(old map[string]string) func(context.Context, *service, storage.Store, storage.Store) error {
	return func(ctx context.Context, s *service, owner, own storage.Store) error {
		o := storage.BeginOptions{Marker: marker}
		if old != nil {
			o.Replace = everything(s)
		}
		g, err := owner.Begin(ctx, ck, o)
		if err != nil {
			return err
		}
		j, err := own.Join(ctx, g.Ticket())
		if err == nil {
			err = errors.Join(write(ctx, j, "part/x", long("joined")), j.Close(ctx))
		}
		if err != nil {
			return errors.Join(err, g.Abort())
		}
		if err := writeAll(ctx, g, newFiles); err != nil {
			return errors.Join(err, g.Abort())
		}
		return g.Commit(ctx)
	}
}

// world is a scenario under way.
type world struct {
	*testing.T
	sc   scenario
	s    *service
	c    *client // of the process with faults
	what string
	// byLeft says that the next process does not work on the directory, but cleans what
	// dead ones have left.
	byLeft bool
}

// newWorld makes the old directory, and runs the operation with faults.
func newWorld(t *testing.T, sc scenario, weak bool, what string, script func(int, string, string) act) (*world, error) {
	s := newService(weak)
	ctx := t.Context()
	if sc.old != nil {
		must(t, save(ctx, object.New(s, options), ck, sc.old, nil))
	}
	must(t, save(ctx, object.New(s, options), ck+"2", map[string]string{marker: "x", "neighbour": "x"}, nil))
	w := &world{t, sc, s, newClient(s, script), what, false}
	clean := newClient(s, nil)
	err := sc.run(ctx, s, object.New(clean, options), object.New(w.c, options))
	return w, err
}

func (w *world) fail(format string, args ...any) {
	w.Helper()
	_, log := w.c.requests()
	w.Errorf("%s, %s: %s\nrequests:\n\t%s\nkeys:\n\t%s", w.sc.name, w.what, fmt.Sprintf(format, args...), strings.Join(log, "\n\t"), strings.Join(w.s.Keys(), "\n\t"))
}

// atomic fails the test if readers could take a mixture for a checkpoint. clean says that
// nothing but the old or the new files may be there.
func (w *world) atomic(clean bool) (state string) {
	w.Helper()
	got := contents(w.s, ck)
	_, marked := got[marker]
	is := func(want map[string]string) bool {
		have := maps.Clone(got)
		if !clean { // a file that no other names may wait for its checkpoint
			maps.DeleteFunc(have, func(name, _ string) bool {
				_, wanted := want[name]
				return !wanted && strings.Contains(name, random)
			})
		}
		return maps.Equal(have, want)
	}
	switch {
	case is(w.sc.new):
		return "new"
	case is(w.sc.old):
		return "old"
	case marked && !w.sc.partly:
		w.fail("a mixture has a marker: %q", slices.Sorted(maps.Keys(got)))
		return "mixture"
	case clean:
		w.fail("there are %q", slices.Sorted(maps.Keys(got)))
	}
	return "incomplete"
}

// alone fails the test unless nothing but the directory and its neighbour is left.
func (w *world) alone(state string) {
	w.Helper()
	want := keysOf(ck+"2", map[string]string{marker: "", "neighbour": ""})
	switch state {
	case "old":
		want = append(keysOf(ck, w.sc.old), want...)
	case "new":
		want = append(keysOf(ck, w.sc.new), want...)
	}
	slices.Sort(want)
	if keys := w.s.Keys(); !slices.Equal(keys, want) {
		w.fail("%s: other keys are left, want\n\t%s", state, strings.Join(want, "\n\t"))
	}
	if n := w.s.Uploads(); n > 0 {
		w.fail("%d uploads are left", n)
	}
}

// unnoticed fails the test unless the operation has succeeded and has left nothing else. err
// is its error.
func (w *world) unnoticed(err error) {
	w.Helper()
	if err != nil {
		w.fail("%v", err)
	}
	if state := w.atomic(true); state == "new" || maps.Equal(w.sc.old, w.sc.new) {
		w.alone(state)
	} else {
		w.fail("%s is there", state)
	}
}

// heal lets another process work on the directory, once all claims of dead ones have
// expired.
func (w *world) heal() string {
	w.Helper()
	w.s.wait(time.Hour)
	fresh := object.New(newClient(w.s, nil), options)
	names := []string{ck}
	if w.byLeft {
		left, err := fresh.Left(w.Context(), ck)
		if err != nil {
			w.fail("Left: %v", err)
		}
		names = left
	}
	var err error
	for _, name := range names {
		var e storage.Edit
		if e, err = fresh.Edit(w.Context(), name); err == nil {
			if w.byLeft {
				err = e.RemoveAll(w.Context(), everything(w.s))
			}
			err = errors.Join(err, e.Close())
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.fail("the next writer: %v", err)
	}
	state := w.atomic(true)
	w.alone(state)
	return state
}

// requestsOf returns how many requests an operation makes without faults.
func requestsOf(t *testing.T, sc scenario, weak bool) int {
	w, err := newWorld(t, sc, weak, "without faults", nil)
	w.unnoticed(err)
	n, _ := w.c.requests()
	return n
}

// forEach calls f for each request of each scenario, several at the same time.
func forEach(t *testing.T, acts []act, f func(t *testing.T, sc scenario, weak bool, n int, a act)) {
	eachScenario(t, func(t *testing.T, sc scenario, weak bool) {
		count := requestsOf(t, sc, weak)
		var group sync.WaitGroup
		limit := make(chan struct{}, 16)
		for n := 1; n <= count+2; n++ {
			for _, a := range acts {
				limit <- struct{}{}
				group.Go(func() {
					defer func() { <-limit }()
					f(t, sc, weak, n, a)
				})
			}
		}
		group.Wait()
		t.Logf("%d requests", count)
	})
}

// eachScenario runs f for each scenario, with a service that checks all conditions, and with
// one that checks few. The waits of f take no time.
func eachScenario(t *testing.T, f func(t *testing.T, sc scenario, weak bool)) {
	for _, sc := range scenarios {
		for _, weak := range []bool{false, true} {
			if weak {
				sc.name += ", weak"
			}
			synctest.Test(t, func(t *testing.T) { f(t, sc, weak) })
		}
	}
}

// A process that dies at any request leaves the old directory, the new one, or what is no
// checkpoint, and the next writer brings the path in order.
func TestDies(t *testing.T) {
	forEach(t, []act{dies, diesAfter}, func(t *testing.T, sc scenario, weak bool, n int, a act) {
		w, err := newWorld(t, sc, weak, fmt.Sprintf("request %d %v", n, a), once(n, a))
		state := w.atomic(false)
		if err == nil && state != "new" && !maps.Equal(sc.old, sc.new) {
			w.fail("it has succeeded, and %s is there", state)
		}
		w.byLeft = n%2 == 0
		w.heal()
	})
}

// An answer that is lost is not noticed.
func TestUnheard(t *testing.T) {
	forEach(t, []act{unheard, fails}, func(t *testing.T, sc scenario, weak bool, n int, a act) {
		w, err := newWorld(t, sc, weak, fmt.Sprintf("request %d %v", n, a), once(n, a))
		w.unnoticed(err)
	})
}

// However many answers are lost, and however often a request fails before it succeeds,
// nobody notices.
func TestOftenUnheard(t *testing.T) {
	eachScenario(t, func(t *testing.T, sc scenario, weak bool) {
		var group sync.WaitGroup
		for _, a := range []act{unheard, fails} {
			for _, first := range testenv.Pick([]int{1, 2}, []int{1}) {
				group.Go(func() {
					attempts := map[string]int{}
					w, err := newWorld(t, sc, weak, fmt.Sprintf("the first %d attempts: %v", first, a), func(_ int, op, key string) act {
						if attempts[op+key]++; attempts[op+key]%(first+1) > 0 {
							return a
						}
						return succeeds
					})
					w.unnoticed(err)
				})
			}
		}
		group.Wait()
	})
}

// A request that gets no answer is given up and made again.
func TestStalls(t *testing.T) {
	defer func(o object.Options) { options = o }(options)
	options.Lease, options.Patience = 2*time.Minute, 2*time.Minute
	eachScenario(t, func(t *testing.T, sc scenario, weak bool) {
		var group sync.WaitGroup
		for n := 1; n <= requestsOf(t, sc, weak); n++ {
			group.Go(func() {
				w, err := newWorld(t, sc, weak, fmt.Sprintf("request %d %v", n, stalls), once(n, stalls))
				w.unnoticed(err)
			})
		}
		group.Wait()
	})
}

// An operation whose request is refused for good has no effect, or has succeeded.
func TestRefused(t *testing.T) {
	forEach(t, []act{refused}, func(t *testing.T, sc scenario, weak bool, n int, a act) {
		w, err := newWorld(t, sc, weak, fmt.Sprintf("request %d %v", n, a), once(n, a))
		state := w.atomic(false)
		if err == nil && state != "new" && !maps.Equal(sc.old, sc.new) {
			w.fail("it has succeeded, and %s is there", state)
		}
		w.heal()
	})
}
