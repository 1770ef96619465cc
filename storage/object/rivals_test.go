package object_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

// brief are the options of writers whose claims are to expire while a test waits, patient
// those of writers that take them over. Both allow for a busy machine.
var (
	brief   = object.Options{Lease: 600 * time.Millisecond, Patience: 30 * time.Second, PartSize: 64, Delay: 2 * late}
	patient = object.Options{Lease: 6 * time.Second, Patience: 30 * time.Second, PartSize: 64, Delay: 2 * late}
)

// Of many writers that race for a path, one wins, and the others find it busy or taken.
func TestRace(t *testing.T) {
	for _, replace := range []bool{false, true} {
		for _, a := range []act{succeeds, unheard, fails} {
			t.Run(fmt.Sprintf("replace %v, a third of the requests %v", replace, a), func(t *testing.T) {
				t.Parallel()
				s := newService(false)
				s.wait(-5 * time.Hour) // the clock of the service is not that of the writers
				if replace {
					must(t, save(t.Context(), object.New(s, options), ck, oldFiles, nil))
				}
				const racers = 20
				errs := make([]error, racers)
				var begun, group sync.WaitGroup
				begun.Add(racers)
				for i := range racers {
					group.Go(func() {
						c := newClient(s, func(n int, _, _ string) act {
							if (n+i)%3 == 0 {
								return a
							}
							return succeeds
						})
						o := storage.BeginOptions{Marker: marker}
						if replace {
							o.Replace = everything(s)
						}
						g, err := object.New(c, options).Begin(t.Context(), ck, o)
						begun.Done()
						if err == nil {
							begun.Wait() // all have tried
							name := fmt.Sprint("writer", i)
							err = writeAll(t.Context(), g, map[string]string{marker: name, "doc": name, name: long(name)})
							if err == nil {
								err = g.Commit(t.Context())
							}
						}
						errs[i] = err
					})
				}
				group.Wait()
				winner := -1
				for i, err := range errs {
					switch {
					case err == nil && winner < 0:
						winner = i
					case err == nil:
						t.Errorf("writers %d and %d have won", winner, i)
					case !errors.Is(err, fault.ErrBusy) && !errors.Is(err, fault.ErrExist):
						t.Errorf("writer %d: %v", i, err)
					}
				}
				name := fmt.Sprint("writer", winner)
				want := map[string]string{marker: name, "doc": name, name: long(name)}
				if got := contents(s, ck); !maps.Equal(got, want) || s.Uploads() > 0 || !slices.Equal(s.Keys(), keysOf(ck, want)) {
					t.Errorf("writer %d has won; there are %q and %d uploads", winner, s.Keys(), s.Uploads())
				}
			})
		}
	}
}

var rivalFiles = map[string]string{marker: "rival", "doc": "rival", "d/" + random: long("rival"), "added": "rival", "theirs": "rival"}

// A writer that is stopped until its claim has expired and another one has taken its place
// cannot publish anything when it goes on, and does no harm. The other one may make files of
// the same bytes, also where these have the same versions. Only the marks of two writers
// differ.
func TestPaused(t *testing.T) {
	stride := testenv.Pick(1, 4)
	eachScenario(t, func(t *testing.T, sc scenario, weak bool) {
		count := requestsOf(t, sc, weak)
		var group sync.WaitGroup
		limit := make(chan struct{}, 128)
		for n := 1; n <= count; n += stride {
			for _, a := range []act{pauses, delayed} {
				if weak && a == delayed && n == 1 {
					continue // it has no claim yet, and may work on what the rival has made
				}
				rivals := []map[string]string{rivalFiles}
				if a == delayed || !weak {
					rivals = append(rivals, with(oldFiles, marker, "rival"), with(newFiles, marker, "rival"))
				}
				for _, rival := range rivals {
					limit <- struct{}{}
					group.Go(func() {
						defer func() { <-limit }()
						paused(t, sc, weak, n, a, rival)
					})
				}
			}
		}
		group.Wait()
	})
}

func paused(t *testing.T, sc scenario, weak bool, n int, a act, files map[string]string) {
	s := newService(weak)
	ctx := t.Context()
	if sc.old != nil {
		must(t, save(ctx, object.New(s, options), ck, sc.old, nil))
	}
	must(t, save(ctx, object.New(s, options), ck+"2", map[string]string{marker: "x", "neighbour": "x"}, nil))
	c := newClient(s, once(n, a))
	w := &world{t, sc, s, c, fmt.Sprintf("request %d %v", n, a), false}
	done := make(chan error, 1)
	go func() { done <- sc.run(ctx, s, object.New(newClient(s, nil), brief), object.New(c, brief)) }()
	select {
	case <-c.stopped:
	case <-done: // it made fewer requests this time
		return
	}
	time.Sleep(brief.Lease*3/2 + 1100*time.Millisecond)
	rival := object.New(newClient(s, nil), patient)
	rerr := save(ctx, rival, ck, files, everything(s))
	for errors.Is(rerr, fault.ErrBusy) { // the owner of the stage is not stopped
		c.resume()
		time.Sleep(50 * time.Millisecond)
		rerr = save(ctx, rival, ck, files, everything(s))
	}
	if rerr != nil {
		w.fail("the rival: %v", rerr)
	}
	c.resume()
	var err error
	select {
	case err = <-done:
	case <-time.After(time.Minute):
		w.fail("it does not end")
		return
	}
	w.sc.new, w.sc.old = files, files
	if state := w.atomic(true); state != "new" {
		w.fail("the rival has lost: %v", err)
	}
	w.alone("new")
	// One that was stopped before it had looked finds what the rival has made, or other files
	// than it has listed before.
	other := weak && a == delayed && errors.Is(err, fault.ErrInvalidCheckpoint)
	if err != nil && !other && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fault.ErrExist) {
		w.fail("it fails with %v, want ErrNotExist or ErrExist", err)
	}
}

// Revoke and Commit agree about who was first, wherever one of them is stopped.
func TestRevokeOrCommit(t *testing.T) {
	stride := testenv.Pick(1, 2)
	for name, old := range map[string]map[string]string{"new": nil, "replaced": oldFiles} {
		for _, stopped := range []string{"owner", "revoker"} {
			t.Run(name+", the "+stopped+" is stopped", func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n += stride {
					for _, a := range []act{pauses, delayed} {
						if !revokeOrCommit(t, old, stopped, n, a) {
							return
						}
					}
				}
			})
		}
	}
}

func revokeOrCommit(t *testing.T, old map[string]string, stopped string, n int, a act) bool {
	s := newService(false)
	ctx := t.Context()
	if old != nil {
		must(t, save(ctx, object.New(s, options), ck, old, nil))
	}
	must(t, save(ctx, object.New(s, options), ck+"2", map[string]string{marker: "x", "neighbour": "x"}, nil))
	clients := map[string]*client{"owner": newClient(s, nil), "revoker": newClient(s, nil)}
	o := storage.BeginOptions{Marker: marker}
	if old != nil {
		o.Replace = everything(s)
	}
	g, err := object.New(clients["owner"], options).Begin(ctx, ck, o)
	must(t, err)
	must(t, writeAll(ctx, g, newFiles))
	ticket := g.Ticket()
	before, _ := clients["owner"].requests()
	c := clients[stopped]
	if stopped == "revoker" {
		before = 0
	}
	c.script = once(before+n, a)
	ends := map[string]func() error{
		"owner":   func() error { return g.Commit(ctx) },
		"revoker": func() error { return object.New(clients["revoker"], options).Revoke(ctx, ticket) },
	}
	other := map[string]string{"owner": "revoker", "revoker": "owner"}[stopped]
	errs := map[string]error{}
	done := make(chan error, 1)
	go func() { done <- ends[stopped]() }()
	select {
	case <-c.stopped:
	case errs[stopped] = <-done:
		return false
	}
	second := make(chan error, 1)
	go func() { second <- ends[other]() }()
	select {
	case errs[other] = <-second:
		c.resume()
	case <-time.After(time.Second): // it waits for the one that is stopped
		c.resume()
		errs[other] = <-second
	}
	errs[stopped] = <-done
	w := &world{t, scenario{name: "Revoke and Commit", old: old, new: newFiles}, s, c, fmt.Sprintf("request %d of the %s %v", n, stopped, a), false}
	state := w.atomic(false)
	switch {
	case errs["owner"] == nil && errors.Is(errs["revoker"], fault.ErrNotExist) && state == "new":
	case errs["revoker"] == nil && errors.Is(errs["owner"], fault.ErrNotExist) && state != "new":
	default:
		w.fail("Commit: %v; Revoke: %v; %s is there", errs["owner"], errs["revoker"], state)
	}
	w.atomic(true)
	w.alone(state)
	return true
}

// A writer that loses its claim when it has published everything has succeeded: the process
// that has the claim now removes what is left.
func TestRevokedAfterPublishing(t *testing.T) {
	s := newService(false)
	ctx := t.Context()
	must(t, save(ctx, object.New(s, options), ck, oldFiles, nil))
	published, late, stopped := false, false, false
	c := newClient(s, func(_ int, op, key string) act {
		switch {
		case op == "copy" && strings.HasSuffix(key, marker):
			published = true
		case published && op == "list" && !late: // of what is to be removed
			late = true
			time.Sleep(brief.Lease / 10) // so that the writer asks for its claim before it removes
		case late && op == "stat" && !stopped:
			stopped = true
			return pauses
		}
		return succeeds
	})
	g, err := object.New(c, brief).Begin(ctx, ck, storage.BeginOptions{Marker: marker, Replace: everything(s)})
	must(t, err)
	must(t, writeAll(ctx, g, newFiles))
	done := make(chan error, 1)
	go func() { done <- g.Commit(ctx) }()
	select {
	case err := <-done:
		t.Fatalf("Commit was not stopped: %v", err)
	case <-c.stopped:
	}
	if err := object.New(newClient(s, nil), options).Revoke(ctx, g.Ticket()); !errors.Is(err, fault.ErrNotExist) {
		t.Errorf("Revoke: %v", err)
	}
	time.Sleep(brief.Lease)
	c.resume()
	if err := <-done; err != nil {
		t.Errorf("Commit: %v", err)
	}
	if got := contents(s, ck); !maps.Equal(got, newFiles) || !slices.Equal(s.Keys(), keysOf(ck, newFiles)) {
		t.Errorf("there are %q", s.Keys())
	}
}

// A writer that has lost its claim leaves what it has made to the next one, where it could
// remove files of the same bytes that the next one has made.
func TestLeavesToTheNext(t *testing.T) {
	s := newService(true)
	ctx := t.Context()
	var ends, looks atomic.Bool
	owner := newClient(s, func(_ int, op, key string) act {
		if op == "delete" && strings.HasPrefix(key, ck+"/") && ends.CompareAndSwap(true, false) {
			return pauses
		}
		return succeeds
	})
	next := newClient(s, func(_ int, op, _ string) act {
		if op == "list" && looks.CompareAndSwap(false, true) {
			return pauses
		}
		return succeeds
	})
	g, err := object.New(owner, options).Begin(ctx, ck, storage.BeginOptions{Marker: marker})
	must(t, err)
	must(t, writeAll(ctx, g, newFiles))
	store := object.New(next, options)
	revoked, aborted := make(chan error, 1), make(chan error, 1)
	go func() { revoked <- store.Revoke(ctx, g.Ticket()) }()
	<-next.stopped // it has the claim, and has not looked at the directory
	ends.Store(true)
	go func() { aborted <- g.Abort() }()
	over := false
	select {
	case <-owner.stopped: // between the look at its own file and the removal
	case err := <-aborted:
		must(t, err)
		over = true
	}
	next.resume()
	must(t, <-revoked)
	files := with(newFiles, marker, "rival")
	must(t, save(ctx, store, ck, files, nil))
	owner.resume()
	if !over {
		must(t, <-aborted)
	}
	if got := contents(s, ck); !maps.Equal(got, files) || !slices.Equal(s.Keys(), keysOf(ck, files)) {
		t.Errorf("there are %q", s.Keys())
	}
}
