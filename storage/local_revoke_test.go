package storage_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// paused is a store of the local disk that stops before one of its operations.
type paused struct {
	storage.Recorder
	armed   atomic.Bool
	at      int           // the number of the operation, counted since armed was set
	arrived chan struct{} // closed when it stops
	resume  chan struct{} // closed to let it go on
	done    chan error    // the result of run
}

func newPaused(at int, noExchange bool) *paused {
	p := &paused{at: at, arrived: make(chan struct{}), resume: make(chan struct{}), done: make(chan error, 1)}
	p.NoExchange, p.NoSync = noExchange, true
	p.Before = func(storage.Op) error {
		if !p.armed.Load() {
			return nil
		}
		if p.at == 0 {
			close(p.arrived)
			<-p.resume
		}
		p.at--
		return nil
	}
	return p
}

// run calls f, and returns when it has ended or has stopped.
func (p *paused) run(f func() error) (stopped bool) {
	p.armed.Store(true)
	return p.start(f)
}

// start is run for an f that sets armed itself.
func (p *paused) start(f func() error) (stopped bool) {
	ended := make(chan struct{})
	go func() {
		p.done <- f()
		close(ended)
	}()
	select {
	case <-p.arrived:
		return true
	case <-ended:
		return false
	}
}

// end lets f end, and returns its error.
func (p *paused) end() error {
	close(p.resume)
	return <-p.done
}

// contents returns the files below a directory, by name, or none if it is missing.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range filesOf(t, dir) {
		data, err := os.ReadFile(name)
		must(t, err)
		files[strings.TrimPrefix(name, filepath.ToSlash(dir)+"/")] = string(data)
	}
	return files
}

// TestRevokeInterleaved lets Revoke and Commit stop before each of their operations, while
// the other one goes on. Exactly one of them succeeds.
func TestRevokeInterleaved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the system cannot move open directories")
	}
	for kind, o := range stageKinds() {
		for _, noExchange := range []bool{false, true} {
			if noExchange && kind != "replace" {
				continue
			}
			for _, first := range []string{"owner", "revoker"} {
				t.Run(fmt.Sprintf("%s/no exchange=%v/%s", kind, noExchange, first), func(t *testing.T) {
					top := filepath.ToSlash(scratch(t))
					both, wins := 0, 0
					for n, more := 0, true; more; n++ {
						more = false
						for m, inner := 0, true; inner && !t.Failed(); m++ {
							c := interleaving{dir: fmt.Sprintf("%s/%d-%d/ck", top, n, m), o: o, noExchange: noExchange, ownerFirst: first == "owner", owner: n, revoker: m}
							var outer, committed bool
							outer, inner, committed = c.run(t)
							more = more || outer
							both++
							if committed {
								wins++
							}
						}
					}
					t.Logf("Commit was first in %d of %d cases", wins, both)
				})
			}
		}
	}
}

// interleaving is one order of the operations of Commit and Revoke: one of them goes to
// its operation, then the other one, then the first goes to its end, then the other one.
type interleaving struct {
	dir            string
	o              storage.BeginOptions
	noExchange     bool
	ownerFirst     bool
	owner, revoker int // before which operation each of them stops
}

// run reports whether the two have stopped before they ended, and whether Commit has
// succeeded.
func (c interleaving) run(t *testing.T) (owner, revoker, committed bool) {
	was, published := map[string]string{}, c.dir
	if c.o.Into != nil {
		published += "/part"
	}
	local := (&storage.Recorder{NoExchange: c.noExchange, NoSync: true}).Store()
	save := func(text string) {
		stage, err := local.Begin(t.Context(), c.dir, c.o)
		must(t, err)
		put(t, stage, "d/"+text, text)
		put(t, stage, "done", text)
		must(t, stage.Commit(t.Context()))
	}
	files := func(text string) map[string]string { return map[string]string{"d/" + text: text, "done": text} }
	if c.o.Replace != nil {
		save("old")
		was = files("old")
	}
	o, r := newPaused(c.owner, c.noExchange), newPaused(c.revoker, c.noExchange)
	stage, err := o.Store().Begin(t.Context(), c.dir, c.o)
	must(t, err)
	put(t, stage, "d/new", "new")
	put(t, stage, "done", "new")
	ticket := stage.Ticket()
	var commitErr, revokeErr error
	commit := func() error { return stage.Commit(context.Background()) }
	revoke := func() error { return r.Store().Revoke(context.Background(), ticket) }
	if c.ownerFirst {
		owner, revoker = o.run(commit), r.run(revoke)
		commitErr = o.end()
		revokeErr = r.end()
	} else {
		revoker, owner = r.run(revoke), o.run(commit)
		revokeErr = r.end()
		if revokeErr == nil { // a successor does not wait for the owner
			if got := contents(t, published); !maps.Equal(got, was) {
				t.Errorf("%+v: after Revoke there is %q, want %q", c, got, was)
			}
			if err := os.RemoveAll(published); c.o.Replace == nil {
				must(t, err)
			}
			save("next")
			was = files("next")
		}
		commitErr = o.end()
	}
	want := was
	switch {
	case commitErr == nil && errors.Is(revokeErr, fault.ErrNotExist):
		want = files("new")
	case revokeErr != nil || !errors.Is(commitErr, fault.ErrNotExist):
		t.Errorf("%+v: Commit: %v; Revoke: %v; want that one of them succeeds", c, commitErr, revokeErr)
	}
	if got := contents(t, published); !maps.Equal(got, want) {
		t.Errorf("%+v: there is %q, want %q (Commit: %v; Revoke: %v)", c, got, want, commitErr, revokeErr)
	}
	left, err := local.Left(t.Context(), c.dir)
	must(t, err)
	for _, name := range names(t, filepath.Dir(c.dir)) {
		if name != "ck" && !slices.Contains(left, filepath.ToSlash(filepath.Dir(c.dir))+"/"+name) {
			t.Errorf("%+v: %s is there, and Left does not return it", c, name)
		}
	}
	return owner, revoker, commitErr == nil
}

// TestRevokeForged checks that Revoke removes nothing for a ticket that was changed, or
// whose names lead to other directories by now.
func TestRevokeForged(t *testing.T) {
	for kind, o := range stageKinds() {
		t.Run(kind, func(t *testing.T) {
			top := filepath.ToSlash(t.TempDir())
			stage, err := beginWith(t, top+"/ck", o)
			must(t, err)
			put(t, stage, "d/file", "1")
			put(t, stage, "file", "1")
			good := stage.Ticket()
			scheme, query, _ := strings.Cut(good, ":")
			forged := func(values ...string) string {
				v, err := url.ParseQuery(query)
				must(t, err)
				for i := 0; i < len(values); i += 2 {
					v.Set(values[i], values[i+1])
				}
				return scheme + ":" + v.Encode()
			}
			numbers := !strings.HasPrefix(good, "local-stage:id=&") // of directories
			must(t, os.MkdirAll(top+"/secret/d", 0o777))
			must(t, os.WriteFile(top+"/secret/file", nil, 0o666))
			dead := "ck" + storage.TempMarker + "-0123456789abcdef"
			must(t, os.Mkdir(top+"/"+dead, 0o777))
			before := contents(t, top)
			for what, c := range map[string]struct {
				ticket string
				want   error
			}{
				"an ordinary name":             {forged("temp", "secret"), fault.ErrReservedName},
				"another target":               {forged("target", top+"/secret"), fault.ErrReservedName},
				"another marker":               {forged("marker", "other"), fault.ErrReservedName},
				"a name that no stage had":     {forged("temp", dead), fault.ErrReservedName},
				"another directory":            {forged("id", "1"), fault.ErrNotExist},
				"the target of another marker": {forged("in", "1"), fault.ErrNotExist},
			} {
				if !numbers && c.want == fault.ErrNotExist || what == "the target of another marker" && o.Marker == "" {
					continue
				}
				if err := storage.Local().Revoke(t.Context(), c.ticket); !errors.Is(err, c.want) {
					t.Errorf("%s: %v, want %v", what, err, c.want)
				}
			}
			if got := contents(t, top); !maps.Equal(got, before) {
				t.Errorf("there is %q, want %q", got, before)
			}
			put(t, stage, "done", "")
			must(t, stage.Commit(t.Context()))
		})
	}
}

// TestRevokeCommittedByHand checks that Revoke leaves a target that has got its marker, and
// one that is another directory than that of the stage.
func TestRevokeCommittedByHand(t *testing.T) {
	for what, change := range map[string]func(dir string) error{
		"marked":   func(dir string) error { return os.WriteFile(dir+"/done", nil, 0o666) },
		"replaced": func(dir string) error { return errors.Join(os.Rename(dir, dir+"-away"), os.Mkdir(dir, 0o777)) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.ToSlash(t.TempDir()) + "/ck"
			stage, err := beginWith(t, dir, storage.BeginOptions{Marker: "done"})
			must(t, err)
			put(t, stage, "file", "1")
			if err := change(dir); err != nil || storage.TicketID(t, dir) == "" {
				t.Skip("the system cannot distinguish the directories: ", err)
			}
			if err := storage.Local().Revoke(t.Context(), stage.Ticket()); !errors.Is(err, fault.ErrNotExist) {
				t.Errorf("Revoke: %v, want ErrNotExist", err)
			}
			if _, err := os.Stat(dir); err != nil {
				t.Error(err)
			}
			if n := len(contents(t, filepath.Dir(dir))); n != 1+strings.Count(what, "marked") {
				t.Errorf("there are %d files", n)
			}
		})
	}
}

// The traces of Revoke.
func TestTraceRevoke(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the traces are those of Linux")
	}
	for kind, o := range stageKinds() {
		t.Run(kind, func(t *testing.T) {
			t.Chdir(t.TempDir())
			must(t, os.Mkdir("run", 0o777))
			stage, err := beginWith(t, "run/step", o)
			must(t, err)
			put(t, stage, "d/file", "1")
			put(t, stage, "done", "1")
			r := &storage.Recorder{}
			must(t, r.Store().Revoke(t.Context(), stage.Ticket()))
			name := "revoke.trace"
			if kind == "marker" {
				name = "revoke-marker.trace"
			}
			compareGolden(t, name, storage.FormatOps(r.Ops()))
		})
	}
}

// TestRevokeReplaced checks that Revoke does not touch the old directory that has got the
// temporary name of the stage that has replaced it.
func TestRevokeReplaced(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir()) + "/ck"
	stage, err := begin(t, dir, false)
	must(t, err)
	put(t, stage, "old", "1")
	must(t, stage.Commit(t.Context()))
	stays := func(context.Context, string) ([]storage.Item, error) { return nil, errors.New("it stays") }
	stage, err = beginWith(t, dir, storage.BeginOptions{Replace: stays})
	must(t, err)
	put(t, stage, "new", "1")
	ticket := stage.Ticket()
	if err := stage.Commit(t.Context()); !errors.Is(err, fault.ErrInPlace) {
		t.Fatal(err)
	}
	before := contents(t, filepath.Dir(dir))
	r := &storage.Recorder{}
	if err := r.Store().Revoke(t.Context(), ticket); !errors.Is(err, fault.ErrNotExist) {
		t.Errorf("Revoke: %v, want ErrNotExist", err)
	}
	if ops := r.Ops(); len(ops) > 0 {
		t.Errorf("it has changed something:\n%s", storage.FormatOps(ops))
	}
	if got := contents(t, filepath.Dir(dir)); !maps.Equal(got, before) || len(got) != 2 {
		t.Errorf("there is %q, want %q", got, before)
	}
}

// TestRevokedMovesNothing checks that the owner of a stage that was revoked does not move
// the directory at its path, where directories cannot be exchanged.
func TestRevokedMovesNothing(t *testing.T) {
	r := &storage.Recorder{NoExchange: true}
	dir := filepath.ToSlash(t.TempDir()) + "/ck"
	stage, err := begin(t, dir, false)
	must(t, err)
	must(t, stage.Commit(t.Context()))
	stage, err = r.Store().Begin(t.Context(), dir, storage.BeginOptions{Replace: storage.Everything})
	must(t, err)
	ticket := stage.Ticket()
	r.Before = func(op storage.Op) error {
		if op.Kind == "exchange" { // the stage is revoked at the last moment
			must(t, storage.Local().Revoke(t.Context(), ticket))
		}
		if op.Kind == "rename" && op.Name == dir {
			t.Errorf("%s is renamed to %s", dir, op.To)
		}
		return nil
	}
	if err := stage.Commit(t.Context()); !errors.Is(err, fault.ErrNotExist) {
		t.Errorf("Commit: %v, want ErrNotExist", err)
	}
}

// TestRevokeCannotRestore checks that Revoke reports where the old directory is, if it
// cannot give it back the name that the owner has taken away.
func TestRevokeCannotRestore(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir()) + "/ck"
	stage, err := begin(t, dir, false)
	must(t, err)
	put(t, stage, "old", "1")
	must(t, stage.Commit(t.Context()))
	owner := &storage.Recorder{NoExchange: true}
	stage, err = owner.Store().Begin(t.Context(), dir, storage.BeginOptions{Replace: storage.Everything})
	must(t, err)
	put(t, stage, "new", "1")
	ticket, old := stage.Ticket(), ""
	broken := errors.New("broken")
	r := &storage.Recorder{Before: func(op storage.Op) error {
		if op.Name == old {
			return broken
		}
		return nil
	}}
	var revokeErr error
	owner.Before = func(op storage.Op) error {
		switch {
		case op.Kind != "rename":
		case op.Name == dir:
			old = op.To
		case op.To == dir && old != "" && op.Name != old:
			revokeErr = r.Store().Revoke(t.Context(), ticket)
		}
		return nil
	}
	commitErr := stage.Commit(t.Context())
	if !errors.Is(revokeErr, broken) || !strings.Contains(revokeErr.Error(), old) || !errors.Is(commitErr, fault.ErrNotExist) {
		t.Errorf("Revoke: %v; Commit: %v", revokeErr, commitErr)
	}
	if got, want := contents(t, filepath.Dir(dir)), map[string]string{"ck/old": "1"}; !maps.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
}
