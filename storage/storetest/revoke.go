package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// revoke ends a stage, and skips the test if the store cannot do that.
func (e *env) revoke(ticket string) error {
	e.Helper()
	err := e.store.Revoke(e.Context(), ticket)
	if errors.Is(err, fault.ErrUnsupported) {
		e.Skip("the store cannot take a stage away from its owner: ", err)
	}
	return err
}

// published returns the name of what a stage at name becomes.
func published(name string, o storage.BeginOptions) string {
	if o.Into != nil {
		return path.Join(name, "part")
	}
	return name
}

// onlyLeft fails the test unless dir has no entry but ck and what the store reports as
// the remains of dead writers of ck.
func (e *env) onlyLeft(dir string) {
	e.Helper()
	known := map[string]bool{"ck": true}
	left, err := e.store.Left(e.Context(), e.at(dir+"/ck"))
	e.must(err)
	for _, l := range left {
		known[path.Base(l)] = true
	}
	infos, err := e.store.List(e.Context(), e.at(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	e.must(err)
	for _, info := range infos {
		if !known[info.Name] {
			e.Errorf("%s has %q, want only ck and %q", dir, info.Name, left)
		}
	}
}

var revokeTests = []test{
	{"a store that cannot be written", func(p storage.Properties) bool { return !p.Rename && !p.Marker }, func(e *env) {
		e.want("Revoke", e.store.Revoke(e.Context(), "x"), fault.ErrUnsupported)
	}},
	{"a live owner", nil, func(e *env) {
		for kind, o := range e.stages() {
			ck := kind + "/ck"
			var was map[string]string
			if o.Replace != nil {
				was = old
				e.save(ck, old)
			}
			s := e.begin(ck, o)
			e.put(s, "d/file", "1")
			e.put(s, "file", "1")
			e.put(s, "done", "")
			open, err := s.Create(e.Context(), "d/open", -1)
			e.must(err)
			ticket := s.Ticket()
			j := e.join(ticket)
			e.put(j, "d/joined", "1")
			e.put(j, "joined", "1")
			e.must(e.revoke(ticket))
			e.has(published(ck, o), was)
			if was == nil {
				e.alone(e.at(kind))
			} else {
				e.alone(e.at(kind), "ck")
			}

			next := e.begin(ck, o) // the owner has not noticed
			e.put(next, "next", "2")
			e.put(next, "done", "")
			_, createErr := j.Create(e.Context(), "d/late", 1)
			_, joinErr := e.store.Join(e.Context(), ticket)
			for what, err := range map[string]error{
				"Create of a Joined": createErr, "Mkdir of a Joined": j.Mkdir(e.Context(), "late"), "Close of a Joined": j.Close(e.Context()),
				"Join": joinErr, "Revoke again": e.revoke(ticket),
			} {
				e.want(kind+": "+what, err, fault.ErrNotExist)
			}
			_, err = s.Create(e.Context(), "late", 1)
			e.want(kind+": Create", err, fault.ErrNotExist)
			e.want(kind+": Mkdir", s.Mkdir(e.Context(), "d/late"), fault.ErrNotExist)
			if e.can.Rename {
				e.save(kind+"-from", map[string]string{"file": "1"})
				e.want(kind+": Link", s.Link(e.Context(), e.at(kind+"-from/file"), "late", storage.LinkOptions{}), fault.ErrNotExist)
			}
			open.Close() // so that it is not the reason for the error of Commit
			e.want(kind+": Commit", s.Commit(e.Context()), fault.ErrNotExist)
			e.must(s.Abort())
			again := o
			if o.Into == nil {
				again.Replace = e.everything
			}
			e.refuseBegin(ck, again, fault.ErrBusy)
			nextTicket := next.Ticket()
			e.must(next.Commit(e.Context()))
			for what, ticket := range map[string]string{"the first": ticket, "the next": nextTicket} {
				e.want(kind+": Revoke of "+what+" after Commit", e.revoke(ticket), fault.ErrNotExist)
			}
			e.has(published(ck, o), map[string]string{"next": "2", "done": ""})
			e.alone(e.at(kind), "ck")
		}
	}},
	{"a live owner that aborts", nil, func(e *env) {
		for kind, o := range e.stages() {
			ck := kind + "/ck"
			s := e.begin(ck, o)
			e.put(s, "done", "")
			e.must(e.revoke(s.Ticket()))
			next := e.begin(ck, o)
			e.put(next, "done", "next")
			e.must(next.Commit(e.Context()))
			e.must(s.Abort())
			e.has(published(ck, o), map[string]string{"done": "next"})
			e.alone(e.at(kind), "ck")
		}
	}},
	{"ended", nil, func(e *env) {
		for kind, o := range e.stages() {
			for _, end := range []string{"Commit", "Abort"} {
				ck := kind + end + "/ck"
				s := e.begin(ck, o)
				ticket := s.Ticket()
				e.put(s, "done", "")
				want := map[string]string{"done": ""}
				if end == "Commit" {
					e.must(s.Commit(e.Context()))
				} else {
					e.must(s.Abort())
					want = nil
				}
				e.want(kind+": Revoke after "+end, e.revoke(ticket), fault.ErrNotExist)
				e.has(published(ck, o), want)
			}
		}
	}},
	{"tickets", saves, func(e *env) {
		s := e.begin("ck", storage.BeginOptions{})
		for _, ticket := range []string{"", "x", "other-store:" + s.Ticket()} {
			e.want(fmt.Sprintf("Revoke %q", ticket), e.revoke(ticket), errReserved)
		}
		e.must(s.Commit(e.Context()))
	}},
	{"several at once", nil, func(e *env) {
		for kind, o := range e.stages() {
			s := e.begin(kind+"/ck", o)
			e.put(s, "d/file", "1")
			ticket := s.Ticket()
			errs := make([]error, 4)
			var group sync.WaitGroup
			for i := range errs {
				group.Go(func() { errs[i] = e.store.Revoke(e.Context(), ticket) })
			}
			group.Wait()
			done := 0
			for _, err := range errs {
				switch {
				case errors.Is(err, fault.ErrUnsupported):
					e.Skip(err)
				case err == nil:
					done++
				case !errors.Is(err, fault.ErrNotExist) && !errors.Is(err, fault.ErrBusy):
					e.Errorf("%s: %v", kind, err)
				}
			}
			if done != 1 {
				e.Errorf("%s: %d of the calls have ended the stage, want 1: %v", kind, done, errs)
			}
			e.alone(e.at(kind))
		}
	}},
	{"while it is written", nil, func(e *env) {
		for kind, o := range e.stages() {
			s := e.begin(kind+"/ck", o)
			ticket := s.Ticket()
			var begun, group sync.WaitGroup
			for i, to := range []storage.Files{s, s, e.join(ticket), e.join(ticket)} {
				begun.Add(1)
				group.Go(func() {
					for n := 0; ; n++ {
						dir := fmt.Sprint(i, "/", n%7, "/")
						if i%2 == 0 { // the top directory
							dir = fmt.Sprint(i, "-")
						}
						err := write(e.Context(), to, fmt.Sprint(dir, n), []byte("1"))
						if n == 0 {
							begun.Done()
						}
						if err != nil {
							return
						}
					}
				})
			}
			begun.Wait()
			err := e.store.Revoke(e.Context(), ticket)
			if err != nil {
				s.Abort()
			}
			group.Wait()
			if errors.Is(err, fault.ErrUnsupported) {
				e.Skip(err)
			}
			e.must(err)
			e.alone(e.at(kind))
			e.refused(kind+": Commit", s.Commit(e.Context()))
			e.alone(e.at(kind))
		}
	}},
	{"a race with Commit", nil, func(e *env) {
		const rounds = 40
		for kind, o := range e.stages() {
			ck := kind + "/ck"
			was := map[string]string(nil)
			wins := 0
			if o.Replace != nil {
				was = old
				e.save(ck, old)
			}
			// lead is how much earlier Revoke begins, or later if it is negative. It goes to
			// where each of the two is first in half of the rounds.
			lead := time.Duration(0)
			const step = 30 * time.Microsecond
			for i := range rounds {
				text := fmt.Sprint(i)
				s := e.begin(ck, o)
				e.put(s, "d/file", text)
				e.put(s, "done", "")
				ticket := s.Ticket()
				var group sync.WaitGroup
				var commitErr, revokeErr error
				group.Go(func() {
					time.Sleep(lead)
					commitErr = s.Commit(e.Context())
				})
				group.Go(func() {
					time.Sleep(-lead)
					revokeErr = e.store.Revoke(e.Context(), ticket)
				})
				group.Wait()
				if lead -= step; commitErr == nil {
					lead += 2 * step
				}
				if errors.Is(revokeErr, fault.ErrUnsupported) {
					e.Skip(revokeErr)
				}
				switch {
				case commitErr == nil:
					e.want(kind+": Revoke, which was late", revokeErr, fault.ErrNotExist)
					was = map[string]string{"d/file": text, "done": ""}
					wins++
				case revokeErr == nil:
					e.want(kind+": Commit, which was late", commitErr, fault.ErrNotExist)
				default:
					e.Errorf("%s: Commit: %v; Revoke: %v; want that one succeeds", kind, commitErr, revokeErr)
				}
				e.has(published(ck, o), was)
				e.onlyLeft(kind)
				if o.Replace == nil && commitErr == nil { // the path must be free for the next round
					ck, was = fmt.Sprint(kind, i, "/ck"), nil
				}
				if e.Failed() {
					return
				}
			}
			e.Logf("%s: Commit was first in %d of %d rounds", kind, wins, rounds)
		}
	}},
}
