package storetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// publish makes a directory of files, by name and contents, in place of the one that may
// be there.
func (e *env) publish(name string, files map[string]string) {
	e.Helper()
	s := e.begin(name, storage.BeginOptions{Replace: e.everything})
	for file, data := range files {
		e.put(s, file, data)
	}
	e.must(s.Commit(e.Context()))
}

// snapshot returns the snapshot of a directory. It skips the test if the store makes none.
func (e *env) snapshot(name string) storage.Store {
	e.Helper()
	s, err := e.store.Snapshot(e.Context(), e.at(name))
	e.must(err)
	if s == nil {
		e.Skip("the store makes no snapshots")
	}
	return s
}

// in returns an environment for another store.
func (e *env) in(store storage.Store) *env {
	in := *e
	in.store = store
	return &in
}

func saves(p storage.Properties) bool { return p.Rename || p.Marker }

var snapshotTests = []test{
	{"answers", saves, func(e *env) {
		files := map[string]string{"b": "12", "a/x/y": "1", "c": "", "B": "1", "a.b": "2"}
		e.publish("ck", files)
		e.publish("other", map[string]string{"f": "1"})
		s := e.snapshot("ck")
		if s.Properties() != e.can {
			e.Errorf("the snapshot has the properties %+v, want %+v", s.Properties(), e.can)
		}
		look := func(store storage.Store) (text string) {
			for _, name := range []string{".", "b", "a", "a/x", "a/x/y", "c", "B", "a.b", "none", "a/none", "b/none"} {
				info, err := store.Stat(e.Context(), e.at("ck/"+name))
				infos, lerr := store.List(e.Context(), e.at("ck/"+name))
				entries, eerr := storage.Entries(e.Context(), store, e.at("ck/"+name))
				data, oerr := e.in(store).read(e.at("ck/" + name))
				text += fmt.Sprintf("%s: Stat %v %d %q %v, Open %q %v\n", info.Name, info.Dir, size(info), version(info), kind(err), data, kind(oerr))
				for _, i := range infos {
					text += fmt.Sprintf("List %s %v %d %q %v\n", i.Name, i.Dir, size(i), version(i), i.ModTime)
				}
				text += fmt.Sprintf("List %v, Entries %v %v\n", lerr != nil, entries, eerr != nil)
			}
			return text
		}
		want := look(e.store)
		if got := look(s); got != want {
			e.Errorf("the snapshot answers\n%s\nthe store\n%s", got, want)
		}
		got, err := e.in(s).read(e.at("other/f"))
		if err != nil || string(got) != "1" {
			e.Errorf("a file elsewhere: %q, %v", got, err)
		}
		canceled, cancel := context.WithCancel(e.Context())
		cancel()
		_, serr := s.Stat(canceled, e.at("ck/b"))
		_, lerr := s.List(canceled, e.at("ck"))
		_, oerr := s.Open(canceled, e.at("ck/b"))
		_, again := e.store.Snapshot(canceled, e.at("ck"))
		for what, err := range map[string]error{"Stat": serr, "List": lerr, "Open": oerr, "Snapshot": again} {
			e.want(what+" after the end of its context", err, context.Canceled)
		}
	}},
	{"of other names", saves, func(e *env) {
		e.publish("ck", map[string]string{"d/f": "1"})
		inner := e.snapshot("ck/d")
		if got, err := e.in(inner).read(e.at("ck/d/f")); err != nil || string(got) != "1" {
			e.Errorf("a file of a directory below: %q, %v", got, err)
		}
		for _, name := range []string{"ck/d/f", "none", "c"} { // a file, and what is missing
			s, err := e.store.Snapshot(e.Context(), e.at(name))
			if s == nil {
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					e.Errorf("%s: %v", name, err)
				}
				continue
			}
			_, want := e.store.Stat(e.Context(), e.at(name))
			if _, got := s.Stat(e.Context(), e.at(name)); kind(got) != kind(want) {
				e.Errorf("%s: the snapshot says %v, the store %v", name, got, want)
			}
		}
	}},
	{"stays as it was", saves, func(e *env) {
		if !e.can.Edit {
			e.Skip("the store cannot change what has been saved")
		}
		e.publish("ck", map[string]string{"same": "1", "changed": "22", "gone": "3", "d/gone": "4"})
		s := e.snapshot("ck")
		opened, err := s.Open(e.Context(), e.at("ck/changed"))
		e.must(err)
		defer opened.Close()
		edit, err := e.store.Edit(e.Context(), e.at("ck"))
		e.must(err)
		e.must(edit.Put(e.Context(), "changed", []byte("23"), true))
		e.must(edit.Put(e.Context(), "new", []byte("x"), false))
		e.must(edit.Close())
		if got, err := e.in(s).read(e.at("ck/same")); err != nil || string(got) != "1" {
			e.Errorf("a file that is the same: %q, %v", got, err)
		}
		_, err = s.Stat(e.Context(), e.at("ck/new"))
		e.want("Stat of a new file", err, fs.ErrNotExist)
		_, err = s.Open(e.Context(), e.at("ck/new"))
		e.want("Open of a new file", err, fs.ErrNotExist)
		got, err := e.in(s).read(e.at("ck/changed"))
		if err == nil || !errors.Is(err, fault.ErrBusy) {
			e.Errorf("a changed file: %q, %v; want ErrBusy", got, err)
		}
		p := make([]byte, 2) // a store may keep the old bytes for a file that is open
		if err := opened.ReadAt(e.Context(), p, 0); err == nil && string(p) != "22" || err != nil && !errors.Is(err, fault.ErrBusy) {
			e.Errorf("a changed file that was open: %q, %v; want the old bytes or ErrBusy", p, err)
		}

		e.publish("ck", map[string]string{"same": "1"})
		infos, err := s.List(e.Context(), e.at("ck"))
		e.must(err)
		names := []string{}
		for _, i := range infos {
			if i.Name != mark {
				names = append(names, i.Name)
			}
		}
		if !slices.Equal(names, []string{"changed", "d", "gone", "same"}) {
			e.Errorf("the snapshot has %q", names)
		}
		for _, name := range []string{"gone", "d/gone"} {
			if _, err := s.Stat(e.Context(), e.at("ck/"+name)); err != nil {
				e.Errorf("Stat of %s: %v", name, err)
			}
			_, err := e.in(s).read(e.at("ck/" + name))
			if !errors.Is(err, fault.ErrBusy) || errors.Is(err, fs.ErrNotExist) {
				e.Errorf("%s, which is gone: got %v, want ErrBusy", name, err)
			}
		}
	}},
}

// size and version are those of a file.
func size(i storage.Info) int64 {
	if i.Dir {
		return 0
	}
	return i.Size
}

func version(i storage.Info) string {
	if i.Dir {
		return ""
	}
	return i.Version
}

// kind is what matters about an error of a look.
func kind(err error) string {
	switch {
	case err == nil:
		return "there"
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	}
	return "failed"
}
