package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

var stageTests = []test{
	{"a store that cannot be written", func(p storage.Properties) bool { return !p.Rename && !p.Marker }, func(e *env) {
		e.refuseBegin("ck", storage.BeginOptions{}, fault.ErrUnsupported)
	}},
	{"appears at once", saves, func(e *env) {
		s := e.begin("a/b/ck", storage.BeginOptions{})
		e.must(s.Mkdir(e.Context(), "empty/dir"))
		e.must(s.Mkdir(e.Context(), "empty"))
		e.put(s, "file", "1")
		e.put(s, "d/e/file", "2")
		if e.can.Rename {
			e.has("a/b/ck", nil)
		}
		got, err := e.tree(s.Dir())
		if err != nil || got["d/e/file"] != "2" {
			e.Errorf("Dir has %q, %v", got, err)
		}
		e.must(s.Commit(e.Context()))
		e.has("a/b/ck", map[string]string{"file": "1", "d/e/file": "2"})
		if info, err := e.store.Stat(e.Context(), e.at("a/b/ck/empty/dir")); err != nil || !info.Dir {
			e.Errorf("an empty directory is %+v, %v", info, err)
		}
		e.alone(e.at("a/b"), "ck")
		e.refused("the second Commit", s.Commit(e.Context()))
		e.must(s.Abort())
		e.has("a/b/ck", map[string]string{"file": "1", "d/e/file": "2"})
	}},
	{"writes in any order", func(p storage.Properties) bool { return saves(p) && !p.Sequential }, func(e *env) {
		data := pattern(3*storage.PageSize + 100)
		s := e.begin("ck", storage.BeginOptions{})
		w, err := s.Create(e.Context(), "file", int64(len(data)))
		e.must(err)
		var group sync.WaitGroup
		for _, r := range [][2]int{{2 * storage.PageSize, len(data)}, {0, 1}, {1, storage.PageSize}} {
			group.Go(func() {
				if err := w.WriteAt(e.Context(), data[r[0]:r[1]], int64(r[0])); err != nil {
					e.Error(err)
				}
			})
		}
		group.Wait()
		e.must(storage.WriteBuffers(e.Context(), w, storage.PageSize, data[storage.PageSize:storage.PageSize+7], data[storage.PageSize+7:2*storage.PageSize]))
		e.must(w.Close())
		if n := storage.Alignment(w); n < 1 || n > storage.PageSize {
			e.Errorf("the alignment is %d, want 1 to %d", n, storage.PageSize)
		}
		e.must(s.Commit(e.Context()))
		e.has("ck", map[string]string{"file": string(data)})
	}},
	{"another size than announced", saves, func(e *env) {
		s := e.begin("ck", storage.BeginOptions{})
		want := map[string]string{}
		for _, c := range []struct{ announced, written int }{{-1, 10}, {0, 10}, {5 << 20, 10}, {10, 3 << 20}, {100, 0}} {
			name := fmt.Sprint(c.announced, "-", c.written)
			w, err := s.Create(e.Context(), name, int64(c.announced))
			e.must(err)
			data := pattern(c.written)
			e.must(w.WriteAt(e.Context(), data, 0))
			e.must(w.Close())
			want[name] = string(data)
		}
		e.must(s.Commit(e.Context()))
		got, err := e.tree(e.at("ck"))
		e.must(err)
		for name, data := range want {
			if got[name] != data {
				e.Errorf("%s has %d bytes, want %d, or others", name, len(got[name]), len(data))
			}
		}
	}},
	{"aborted", saves, func(e *env) {
		s := e.begin("a/ck", storage.BeginOptions{})
		e.put(s, "d/file", "1")
		if _, err := s.Create(e.Context(), "d/open", 5<<20); err != nil {
			e.Fatal(err)
		}
		e.must(s.Abort())
		e.must(s.Abort())
		e.alone(e.at("a"))
		_, err := s.Create(e.Context(), "late", 1)
		for what, err := range map[string]error{"Create": err, "Mkdir": s.Mkdir(e.Context(), "late"), "Commit": s.Commit(e.Context())} {
			e.refused(what+" after Abort", err)
		}
	}},
	{"an open writer", saves, func(e *env) {
		s := e.begin("ck", storage.BeginOptions{})
		if _, err := s.Create(e.Context(), "open", 1); err != nil {
			e.Fatal(err)
		}
		e.refused("Commit", s.Commit(e.Context()))
		e.has("ck", nil)
		e.alone(e.dir)
	}},
	{"names", saves, func(e *env) {
		s := e.begin("ck", storage.BeginOptions{})
		e.put(s, "file", "1")
		for _, name := range badNames {
			_, err := s.Create(e.Context(), name, 1)
			e.want(fmt.Sprintf("Create %q", name), err, errReserved)
			e.want(fmt.Sprintf("Mkdir %q", name), s.Mkdir(e.Context(), name), errReserved)
			e.want(fmt.Sprintf("Link %q", name), s.Link(e.Context(), e.at("ck"), name, storage.LinkOptions{}), errReserved)
		}
		w, err := s.Create(e.Context(), "file", 1)
		if !e.can.Rename && err == nil {
			err = w.Close()
		}
		e.want("a file that exists", err, fs.ErrExist)
		_, err = s.Create(e.Context(), "file/below", 1)
		e.refused("a file below a file", err)
		e.refused("a directory in the place of a file", s.Mkdir(e.Context(), "file"))
	}},
	{"what exists", saves, func(e *env) {
		e.save("ck", map[string]string{"file": "1"})
		e.refuseBegin("ck", storage.BeginOptions{}, fault.ErrExist)
		e.refuseBegin("ck/file", storage.BeginOptions{}, fault.ErrExist)
		if e.can.Rename { // where directories are but prefixes, a file may have one's name
			_, err := e.store.Begin(e.Context(), e.at("ck/file/below"), storage.BeginOptions{})
			e.refused("Begin below a file", err)
		}
		e.has("ck", map[string]string{"file": "1"})
	}},
	{"one writer", saves, func(e *env) {
		s := e.begin("ck", storage.BeginOptions{})
		e.refuseBegin("ck", storage.BeginOptions{}, fault.ErrBusy)
		e.refuseBegin("ck/", storage.BeginOptions{Replace: e.everything}, fault.ErrBusy)
		e.begin("another", storage.BeginOptions{})
		e.must(s.Abort())
		e.must(e.begin("ck", storage.BeginOptions{}).Abort())
	}},
	{"a race for one path", saves, func(e *env) {
		const racers = 16
		var winners atomic.Int64
		var begun, committed sync.WaitGroup
		begun.Add(racers)
		for i := range racers {
			committed.Go(func() {
				s, err := e.store.Begin(e.Context(), e.at("ck"), e.marked(storage.BeginOptions{}))
				begun.Done()
				begun.Wait()
				if err != nil {
					e.want("a loser", err, fault.ErrBusy)
					return
				}
				winners.Add(1)
				if err := errors.Join(write(e.Context(), s, "file", []byte(fmt.Sprint(i))), e.commit(s)); err != nil {
					e.Error(err)
				}
			})
		}
		committed.Wait()
		if n := winners.Load(); n > 1 {
			e.Errorf("%d writers of one path, want at most 1", n)
		}
	}},
	{"many at once", saves, func(e *env) {
		s := e.begin("ck", storage.BeginOptions{})
		want := map[string]string{}
		var group sync.WaitGroup
		for i := range 64 {
			name, data := fmt.Sprintf("d%d/e/%d", i%5, i), string(pattern(i*100))
			want[name] = data
			group.Go(func() {
				if err := write(e.Context(), s, name, []byte(data)); err != nil {
					e.Error(err)
				}
				if _, err := e.store.List(e.Context(), e.dir); err != nil {
					e.Error(err)
				}
			})
		}
		group.Wait()
		e.must(s.Commit(e.Context()))
		e.has("ck", want)
	}},
	{"left and locks", saves, func(e *env) {
		s := e.begin("ck", storage.BeginOptions{})
		left, err := e.store.Left(e.Context(), e.at("ck"))
		if err != nil || len(left) > 0 {
			e.Errorf("a live writer has left %q, %v", left, err)
		}
		if w, err := e.store.Work(e.Context(), e.at("ck")); err != nil || w != nil && !w.Alive() {
			e.Errorf("a live writer does %v, %v", w, err)
		}
		if w, err := e.store.Work(e.Context(), e.at("other")); err != nil || w != nil {
			e.Errorf("the work of nobody is %v, %v", w, err)
		}
		if e.can.Edit {
			if _, err := e.store.Edit(e.Context(), s.Dir()); e.store.Locks(e.Context(), e.dir) {
				e.want("Edit of a live writer's directory", err, fault.ErrBusy)
			}
		}
		if _, err := e.store.Room(e.Context(), e.at("none/ck")); err != nil {
			e.want("Room", err, errors.ErrUnsupported)
		}
	}},
}
