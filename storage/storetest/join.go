package storetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// stages returns the options of each way to publish a directory, by the name that it
// gets.
func (e *env) stages() map[string]storage.BeginOptions {
	all := map[string]storage.BeginOptions{}
	if e.can.Rename {
		all["rename"] = storage.BeginOptions{}
		all["replace"] = storage.BeginOptions{Replace: e.everything}
		all["into"] = storage.BeginOptions{Into: entry("part")}
	}
	if e.can.NeedsMarker() {
		all["into"] = storage.BeginOptions{Into: entry("part"), Marker: "done"}
	}
	if e.can.Marker {
		all["marker"] = storage.BeginOptions{Marker: mark}
	}
	if e.can.Marker && !e.can.Rename {
		all["replace"] = storage.BeginOptions{Marker: mark, Replace: e.everything}
	}
	return all
}

func (e *env) join(ticket string) storage.Joined {
	e.Helper()
	j, err := e.store.Join(e.Context(), ticket)
	e.must(err)
	return j
}

var joinTests = []test{
	{"written by several", nil, func(e *env) {
		for name, o := range e.stages() {
			s := e.begin(name, o)
			e.put(s, "d/owner", "0")
			var group sync.WaitGroup
			for i := range 4 {
				group.Go(func() {
					j, err := e.store.Join(e.Context(), s.Ticket())
					if err != nil {
						e.Error(err)
						return
					}
					err = errors.Join(j.Mkdir(e.Context(), "d/e"), write(e.Context(), j, fmt.Sprint("d/e/", i), pattern(i)),
						write(e.Context(), j, fmt.Sprint(i), pattern(i)), j.Close(e.Context()))
					if err != nil {
						e.Errorf("%s: %v", name, err)
					}
				})
			}
			group.Wait()
			e.put(s, "done", "")
			e.must(s.Commit(e.Context()))
			want := map[string]string{"d/owner": "0", "done": ""}
			for i := range 4 {
				want[fmt.Sprint("d/e/", i)], want[fmt.Sprint(i)] = string(pattern(i)), string(pattern(i))
			}
			if o.Into != nil {
				name += "/part"
			}
			e.has(name, want)
		}
	}},
	{"ended", nil, func(e *env) {
		for name, o := range e.stages() {
			for _, end := range []string{"Commit", "Abort"} {
				s := e.begin(name+end, o)
				ticket := s.Ticket()
				j := e.join(ticket)
				e.put(j, "d/file", "1")
				e.put(s, "done", "")
				if end == "Commit" {
					e.must(s.Commit(e.Context()))
				} else {
					e.must(s.Abort())
					e.has(name+end, nil)
				}
				_, err := j.Create(e.Context(), "late", 1)
				_, again := e.store.Join(e.Context(), ticket)
				for what, err := range map[string]error{"Create": err, "Mkdir": j.Mkdir(e.Context(), "late"), "Close": j.Close(e.Context()), "Join": again} {
					e.want(name+": "+what+" after "+end, err, fs.ErrNotExist)
				}
			}
		}
	}},
	{"tickets", saves, func(e *env) {
		for _, ticket := range []string{"", "x", "other-store:" + e.begin("ck", storage.BeginOptions{}).Ticket()} {
			_, err := e.store.Join(e.Context(), ticket)
			e.want(fmt.Sprintf("Join %q", ticket), err, errReserved)
		}
	}},
	{"refused", saves, func(e *env) {
		s := e.begin("ck", storage.BeginOptions{})
		j := e.join(s.Ticket())
		for _, name := range badNames {
			_, err := j.Create(e.Context(), name, 1)
			e.want(fmt.Sprintf("Create %q", name), err, errReserved)
		}
		e.put(s, "file", "1")
		w, err := j.Create(e.Context(), "file", 1)
		created := err == nil
		if !e.can.Rename && created { // the file appears when it is closed
			err = w.Close()
		}
		e.want("a file of another", err, fs.ErrExist)
		if !e.can.Rename && created {
			e.refused("Close after a file that was refused", j.Close(e.Context()))
			j = e.join(s.Ticket())
		}
		if _, err := j.Create(e.Context(), "open", 1); err != nil {
			e.Fatal(err)
		}
		e.refused("Close with an open writer", j.Close(e.Context()))
		e.refused("Mkdir after Close", j.Mkdir(e.Context(), "late"))
		ctx, cancel := context.WithCancel(e.Context())
		j = e.join(s.Ticket())
		cancel()
		e.want("Close", j.Close(ctx), context.Canceled)
	}},
}

// A wrapper that makes each operation fail once shows that the store can undo a save
// after each of its steps.
var failureTests = []test{
	{"each operation", saves, func(e *env) {
		for at := int64(1); ; at++ {
			var n atomic.Int64
			store := failstore.New(e.store, func(op, name string) error {
				if n.Add(1) == at {
					return syscall.EIO
				}
				return nil
			})
			if store.Properties() != e.can {
				e.Fatalf("the wrapped store has the properties %+v, want %+v", store.Properties(), e.can)
			}
			name := fmt.Sprint("ck", at)
			err := func() error {
				s, err := store.Begin(e.Context(), e.at(name), e.marked(storage.BeginOptions{}))
				if err != nil {
					return err
				}
				err = errors.Join(s.Mkdir(e.Context(), "d"), write(e.Context(), s, "d/file", []byte("1")))
				j, jerr := store.Join(e.Context(), s.Ticket())
				if err = errors.Join(err, jerr); jerr == nil {
					err = errors.Join(err, write(e.Context(), j, "d/joined", []byte("2")), j.Close(e.Context()))
				}
				if err != nil {
					return errors.Join(err, s.Abort())
				}
				return e.commit(s)
			}()
			if n.Load() < at {
				e.must(err)
				e.has(name, map[string]string{"d/file": "1", "d/joined": "2"})
				e.alone(e.dir, name)
				return
			}
			e.want(fmt.Sprint("operation ", at, " fails"), err, syscall.EIO)
			e.has(name, nil)
			e.alone(e.dir)
		}
	}},
	{"a reader", nil, func(e *env) {
		store := failstore.NewReads(e.store, func(op, name string) error { return fault.ErrBusy })
		_, openErr := store.Open(e.Context(), e.dir)
		_, statErr := store.Stat(e.Context(), e.dir)
		_, listErr := store.List(e.Context(), e.dir)
		_, entriesErr := storage.Entries(e.Context(), storage.Confine(store, e.dir, false), e.dir)
		for what, err := range map[string]error{"Open": openErr, "Stat": statErr, "List": listErr, "Entries": entriesErr} {
			e.want(what, err, fault.ErrBusy)
		}
	}},
}
