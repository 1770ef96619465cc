// Package coordtest tests what a [coord.Driver] promises.
//
//	func TestDriver(t *testing.T) {
//		coordtest.Test(t, func(t *testing.T, n int) []coord.Driver { … })
//	}
package coordtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/coord"
)

// Test runs all tests. open returns the drivers of a new group of n processes, by rank; it
// closes them at the end of the test that it gets. A driver must pass each test within a
// minute.
func Test(t *testing.T, open func(t *testing.T, n int) []coord.Driver) {
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			e := &env{t, ctx, open(t, tc.size)}
			for rank, d := range e.members {
				if d.Rank() != rank || d.Size() != tc.size {
					t.Fatalf("driver %d says that it is %d of %d", rank, d.Rank(), d.Size())
				}
			}
			tc.run(e)
		})
	}
}

type env struct {
	*testing.T
	ctx     context.Context
	members []coord.Driver
}

func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// get checks what a process reads under a key; "" is no value.
func (e *env) get(rank int, key, want string) {
	e.Helper()
	value, err := e.members[rank].Get(e.ctx, key)
	switch {
	case want == "" && !errors.Is(err, fs.ErrNotExist):
		e.Errorf("process %d gets %q under %s, %v; want ErrNotExist", rank, value, key, err)
	case want != "" && (err != nil || string(value) != want):
		e.Errorf("process %d gets %q under %s, %v; want %q", rank, value, key, err, want)
	}
}

// lost checks that err says that a process is lost.
func (e *env) lost(what string, err error, rank int) {
	e.Helper()
	var l *coord.LostError
	if !errors.As(err, &l) || l.Rank != rank {
		e.Errorf("%s: %v; want that process %d is lost", what, err, rank)
	}
}

var tests = []struct {
	name string
	size int
	run  func(e *env)
}{
	{"values", 2, func(e *env) {
		a, b := e.members[0], e.members[1]
		e.get(1, "k", "")
		e.must(a.Set(e.ctx, "k", []byte("1")))
		e.get(1, "k", "1")
		e.must(b.Set(e.ctx, "k", []byte("2")))
		e.get(0, "k", "2")
		big := bytes.Repeat([]byte("x"), 1<<20)
		e.must(a.Set(e.ctx, "big", big))
		e.get(1, "big", string(big))
		e.must(a.Set(e.ctx, "empty", nil))
		if value, err := b.Get(e.ctx, "empty"); err != nil || len(value) != 0 {
			e.Errorf("an empty value is %q, %v", value, err)
		}
	}},
	{"list and delete", 2, func(e *env) {
		a, b := e.members[0], e.members[1]
		for _, key := range []string{"a/10", "a/1", "a/2/x", "ab", "b"} {
			e.must(a.Set(e.ctx, key, []byte("of "+key)))
		}
		list := func(prefix string) string {
			e.Helper()
			entries, err := b.List(e.ctx, prefix)
			e.must(err)
			var keys []string
			for _, entry := range entries {
				keys = append(keys, entry.Key)
				if string(entry.Value) != "of "+entry.Key {
					e.Errorf("%s has the value %q", entry.Key, entry.Value)
				}
			}
			return strings.Join(keys, " ")
		}
		for prefix, want := range map[string]string{"": "a/1 a/10 a/2/x ab b", "a/": "a/1 a/10 a/2/x", "a/1": "a/1 a/10", "c": ""} {
			if got := list(prefix); got != want {
				e.Errorf("List(%q) is %s; want %s", prefix, got, want)
			}
		}
		e.must(b.Delete(e.ctx, "a/1"))
		e.must(b.Delete(e.ctx, "nothing"))
		if got := list(""); got != "a/2/x ab b" {
			e.Errorf("after a deletion there are %s", got)
		}
	}},
	{"wait", 3, func(e *env) {
		a, b := e.members[0], e.members[1]
		e.must(a.Set(e.ctx, "before", []byte("1")))
		if value, err := b.Wait(e.ctx, "before", 0); err != nil || string(value) != "1" {
			e.Errorf("Wait for a value that is there: %q, %v", value, err)
		}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				key := fmt.Sprint("later/", i%5)
				if value, err := e.members[1+i%2].Wait(e.ctx, key, 0); err != nil || string(value) != key {
					e.Errorf("Wait(%s): %q, %v", key, value, err)
				}
			})
		}
		for i := range 5 {
			key := fmt.Sprint("later/", i)
			e.must(a.Set(e.ctx, key+"0", []byte("another key")))
			e.must(a.Set(e.ctx, key, []byte(key)))
		}
		wg.Wait()
		// A value that was deleted is awaited anew.
		e.must(a.Delete(e.ctx, "before"))
		done := make(chan error, 1)
		go func() {
			value, err := b.Wait(e.ctx, "before", 0)
			if string(value) != "2" {
				err = errors.Join(err, fmt.Errorf("the value is %q", value))
			}
			done <- err
		}()
		e.must(a.Set(e.ctx, "before", []byte("2")))
		e.must(<-done)
	}},
	{"lost while awaited", 3, func(e *env) {
		done := make(chan error, 2)
		for rank := range 2 {
			go func() {
				_, err := e.members[rank].Wait(e.ctx, "never", 2)
				done <- err
			}()
		}
		time.Sleep(50 * time.Millisecond) // so that they wait already, mostly
		e.must(e.members[2].Close())
		for range 2 {
			e.lost("Wait", <-done, 2)
		}
		_, err := e.members[0].Wait(e.ctx, "never", 2)
		e.lost("a later Wait", err, 2)
		lost, err := e.members[1].Lost(e.ctx)
		if err != nil || !slices.Equal(lost, []int{2}) {
			e.Errorf("the lost are %v, %v; want 2", lost, err)
		}
		// The others can go on.
		e.must(e.members[0].Set(e.ctx, "k", []byte("1")))
		if _, err := e.members[1].Wait(e.ctx, "k", 0); err != nil {
			e.Error(err)
		}
	}},
	{"all alive", 3, func(e *env) {
		for _, d := range e.members {
			if lost, err := d.Lost(e.ctx); err != nil || len(lost) > 0 {
				e.Errorf("the lost are %v, %v", lost, err)
			}
		}
	}},
	{"fenced", 2, func(e *env) {
		d := e.members[1]
		e.must(d.Close())
		e.must(d.Close())
		_, get := d.Get(e.ctx, "k")
		_, wait := d.Wait(e.ctx, "k", 0)
		_, list := d.List(e.ctx, "")
		_, lost := d.Lost(e.ctx)
		for what, err := range map[string]error{
			"Set": d.Set(e.ctx, "k", nil), "Get": get, "Wait": wait, "List": list, "Lost": lost, "Delete": d.Delete(e.ctx, ""),
		} {
			e.lost(what, err, 1)
		}
	}},
	{"contexts", 2, func(e *env) {
		d := e.members[0]
		e.must(d.Set(e.ctx, "k", []byte("1")))
		ended, cancel := context.WithCancel(e.ctx)
		done := make(chan error, 1)
		go func() {
			_, err := d.Wait(ended, "never", 1)
			done <- err
		}()
		time.Sleep(20 * time.Millisecond)
		cancel()
		_, get := d.Get(ended, "k")
		_, wait := d.Wait(ended, "k", 0)
		_, list := d.List(ended, "")
		_, lost := d.Lost(ended)
		for what, err := range map[string]error{
			"a running Wait": <-done, "Set": d.Set(ended, "k", []byte("2")), "Get": get, "Wait": wait, "List": list, "Lost": lost, "Delete": d.Delete(ended, ""),
		} {
			if !errors.Is(err, context.Canceled) {
				e.Errorf("%s: %v; want Canceled", what, err)
			}
		}
		e.get(1, "k", "1")
		late, cancel := context.WithTimeout(e.ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := d.Wait(late, "never", 1); !errors.Is(err, context.DeadlineExceeded) {
			e.Errorf("Wait past its deadline: %v", err)
		}
	}},
	{"phases", 5, func(e *env) {
		var wg sync.WaitGroup
		for _, d := range e.members {
			wg.Go(func() {
				g := coord.NewGroup(d)
				for i := range 3 {
					if err := g.Barrier(e.ctx, fmt.Sprint(i)); err != nil {
						e.Errorf("process %d: %v", d.Rank(), err)
					}
				}
			})
		}
		wg.Wait()
		if entries, err := e.members[0].List(e.ctx, ""); err != nil || len(entries) > 0 {
			e.Errorf("the barriers leave %v, %v", entries, err)
		}
	}},
}
