package object_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
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

// Several processes work on some directories in turn, with faults of all kinds. What is
// there is always what a model allows, and in the end nothing else is left.
func TestRandom(t *testing.T) {
	for seed := range uint64(testenv.Pick(400, 20)) {
		synctest.Test(t, func(t *testing.T) { // the waits between the tries take no time
			r := &history{T: t, rnd: rand.New(rand.NewPCG(seed, 1)), s: newService(seed%2 == 1), possible: map[string][]map[string]string{}, seed: seed}
			r.run(testenv.Pick(40, 30))
		})
	}
}

// history is a sequence of operations.
type history struct {
	*testing.T
	seed uint64
	rnd  *rand.Rand
	s    *service
	// possible are the contents that each directory may have; nil is no directory.
	possible  map[string][]map[string]string
	unsettled map[string]bool // a process has died or failed there
	log       []string
	failed    bool
}

func (r *history) fail(format string, args ...any) {
	r.failed = true
	r.Errorf("seed %d: %s\n\t%s\nkeys: %q", r.seed, fmt.Sprintf(format, args...), strings.Join(r.log, "\n\t"), r.s.Keys())
}

// process returns the store of a process with faults, and whether these are such that all
// operations succeed.
func (r *history) process() (c *client, gentle bool) {
	kind := r.rnd.IntN(4)
	at := 1 + r.rnd.IntN(60)
	rnd := rand.New(rand.NewPCG(r.rnd.Uint64(), 2))
	var mu sync.Mutex
	c = newClient(r.s, func(n int, _, _ string) act {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case kind == 1 && n == at:
			return []act{dies, diesAfter}[rnd.IntN(2)]
		case kind == 2 && n == at:
			return refused
		case rnd.IntN(8) == 0:
			return []act{unheard, fails}[rnd.IntN(2)]
		}
		return succeeds
	})
	return c, kind == 0 || kind == 3
}

// some returns files with random names.
func (r *history) some() map[string]string {
	files := map[string]string{}
	for range r.rnd.IntN(6) {
		name := []string{"a", "b", "d/c", "d/" + random, random, "keep", "e/f/g"}[r.rnd.IntN(7)]
		files[name] = strings.Repeat(fmt.Sprint(r.rnd.IntN(1000), "."), 1+r.rnd.IntN(60))
	}
	files[marker] = fmt.Sprint("m", r.rnd.IntN(3)) // sometimes that of the old directory
	return files
}

func (r *history) run(steps int) {
	r.unsettled = map[string]bool{}
	dirs := []string{"run/1", "run/12", "x"}
	for range steps {
		dir := dirs[r.rnd.IntN(len(dirs))]
		if _, known := r.possible[dir]; !known {
			r.possible[dir] = []map[string]string{nil}
		}
		c, gentle := r.process()
		r.step(dir, c, gentle)
		r.settle(dir, false)
		if r.rnd.IntN(3) == 0 {
			r.s.wait(time.Hour)
			r.log = append(r.log, "an hour passes")
		}
		if r.failed {
			return
		}
	}
	r.s.wait(time.Hour)
	for _, dir := range dirs {
		r.heal(dir)
	}
	var want []string
	for _, dir := range dirs {
		if state := r.settle(dir, true); state != nil {
			want = append(want, keysOf(dir, state)...)
		}
	}
	slices.Sort(want)
	if keys := r.s.Keys(); !slices.Equal(keys, want) || r.s.Uploads() > 0 {
		r.fail("in the end there are also other keys than %q, and %d uploads", want, r.s.Uploads())
	}
}

// heal lets a process without faults finish what others have left, in one of the ways.
func (r *history) heal(dir string) {
	ctx, store := context.Background(), object.New(newClient(r.s, nil), options)
	names := []string{dir}
	if r.rnd.IntN(2) == 0 {
		left, err := store.Left(ctx, dir)
		if err != nil {
			r.fail("Left: %v", err)
		}
		names = left
	}
	r.log = append(r.log, fmt.Sprintf("heal %q", names))
	for _, name := range names {
		e, err := store.Edit(ctx, name)
		if err == nil {
			err = e.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.fail("heal %s: %v", name, err)
		}
	}
	r.unsettled[dir] = false
}

// settle fails the test if a directory has what it cannot have, and notes what it has.
func (r *history) settle(dir string, clean bool) map[string]string {
	got := contents(r.s, dir)
	_, marked := got[marker]
	for _, p := range r.possible[dir] {
		have := maps.Clone(got)
		if !clean && r.unsettled[dir] {
			maps.DeleteFunc(have, func(name, _ string) bool {
				_, wanted := p[name]
				return !wanted && strings.Contains(name, random)
			})
		}
		if maps.Equal(have, p) || len(have) == 0 && p == nil {
			if clean || !r.unsettled[dir] {
				r.possible[dir] = []map[string]string{p}
			}
			return p
		}
	}
	if marked || clean || !r.unsettled[dir] {
		r.fail("%s has %.300q (clean %v), which is none of %.600q", dir, got, clean, r.possible[dir])
	}
	return nil
}

// step performs one operation and notes what may be there now.
func (r *history) step(dir string, c *client, gentle bool) {
	ctx, store := context.Background(), object.New(c, options)
	was := r.possible[dir]
	var result map[string]string // if it succeeds
	var err error
	op := []string{"save", "replace", "replace", "abort", "remove", "put", "join", "revoke", "drop"}[r.rnd.IntN(9)]
	files := r.some()
	look := everything(r.s)
	switch op {
	case "save":
		err = save(ctx, store, dir, files, nil)
		result = files
	case "replace":
		err = save(ctx, store, dir, files, look)
		result = files
	case "abort", "join", "revoke", "drop":
		var g storage.Stage
		if g, err = store.Begin(ctx, dir, storage.BeginOptions{Marker: marker, Replace: look}); err != nil {
			break
		}
		if op == "drop" { // the process ends in the middle
			_ = writeAll(ctx, g, files)
			c.lock.Lock()
			c.dead = true
			c.lock.Unlock()
			g.Abort()
			err, gentle = errors.New("dropped"), false
			break
		}
		if op == "join" {
			var j storage.Joined
			other := newClient(r.s, nil)
			if j, err = object.New(other, options).Join(ctx, g.Ticket()); err == nil {
				err = errors.Join(write(ctx, j, "joined", long("j")), j.Close(ctx))
			}
			files["joined"] = long("j")
			if err == nil {
				err = writeAll(ctx, g, without(files, "joined"))
			}
			if err != nil {
				err = errors.Join(err, g.Abort())
				break
			}
			err, result = g.Commit(ctx), files
			break
		}
		err = writeAll(ctx, g, files)
		if op == "revoke" && err == nil {
			if err = object.New(newClient(r.s, nil), options).Revoke(ctx, g.Ticket()); err == nil {
				if cerr := g.Commit(ctx); !errors.Is(cerr, fs.ErrNotExist) && (gentle || cerr == nil) {
					r.fail("Commit after Revoke: %v", cerr)
				}
			} else {
				g.Abort()
			}
		} else {
			err = errors.Join(err, g.Abort())
		}
		if err == nil && len(was) == 1 {
			result = was[0]
		}
	case "remove", "put":
		var e storage.Edit
		if e, err = store.Edit(ctx, dir); err != nil {
			break
		}
		if op == "remove" {
			err = e.RemoveAll(ctx, look)
		} else {
			err = e.Put(ctx, "put", []byte("put"), true)
		}
		err = errors.Join(err, e.Close())
		if op == "put" && len(was) == 1 && was[0] != nil {
			result = with(was[0], "put", "put")
		}
	}
	r.log = append(r.log, fmt.Sprintf("%s of %s: %v", op, dir, err))
	expected := errors.Is(err, fault.ErrBusy) || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist)
	switch {
	case err == nil && (len(was) == 1 || op != "put" && op != "abort" && op != "revoke"):
		r.possible[dir], r.unsettled[dir] = []map[string]string{result}, !gentle
	case err == nil:
		// It depends on what was there, which is one of the states.
		for _, p := range was {
			if op == "put" && p != nil {
				r.possible[dir] = append(r.possible[dir], with(p, "put", "put"))
			}
		}
	case gentle && !expected:
		r.fail("%s of %s: %v", op, dir, err)
	case gentle: // it has done nothing
	default:
		r.unsettled[dir] = true
		if result != nil || op == "remove" {
			r.possible[dir] = append(r.possible[dir], result)
		}
		if op == "put" {
			for _, p := range was {
				if p != nil {
					r.possible[dir] = append(r.possible[dir], with(p, "put", "put"))
				}
			}
		}
	}
}
