package storetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

var old = map[string]string{"d/old": "1", "file": "old"}

var replaceTests = []test{
	{"old or new", saves, func(e *env) {
		e.save("ck", old)
		s := e.begin("ck", storage.BeginOptions{Replace: e.everything})
		e.put(s, "file", "new")
		e.has("ck", old)
		e.must(s.Commit(e.Context()))
		e.has("ck", map[string]string{"file": "new"})
		e.alone(e.dir, "ck")
	}},
	{"its directory", saves, func(e *env) {
		random := "d/0123456789abcdef0123456789abcdef"
		e.save("ck", map[string]string{"file": "old", "d/old": "1", random[:len(random)-1] + "0": "1"})
		s := e.begin("ck", storage.BeginOptions{Replace: e.everything})
		want := map[string]string{"file": "new", "d/file": "2", random: "3", "e/f/file": "4"}
		for name, data := range want {
			e.put(s, name, data)
		}
		look := func(when string) {
			e.Helper()
			got, err := e.tree(s.Dir())
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				e.Errorf("%s the directory of the stage has %q, %v; want %q", when, got, err, want)
			}
			for name := range want {
				if _, err := e.store.Stat(e.Context(), path.Join(s.Dir(), name)); err != nil {
					e.Errorf("%s: %v", when, err)
				}
			}
			if _, err := e.store.Stat(e.Context(), path.Join(s.Dir(), "d/old")); !errors.Is(err, fs.ErrNotExist) {
				e.Errorf("%s: an old file: %v", when, err)
			}
		}
		look("before Commit")
		e.must(s.Commit(e.Context()))
		e.has("ck", want)
	}},
	{"old or new to a reader", renames, func(e *env) {
		e.saveWatched(storage.BeginOptions{}, "", "first")
		e.saveWatched(storage.BeginOptions{Replace: e.everything}, "first", "second")
	}},
	{"what others have put there", renames, func(e *env) {
		e.save("ck", old)
		s := e.begin("ck", storage.BeginOptions{Replace: onlyFile})
		e.put(s, "file", "new")
		e.want("Commit", s.Commit(e.Context()), fault.ErrInPlace)
		e.has("ck", map[string]string{"file": "new"})
		e.keepsOld()
	}},
	{"nothing there", saves, func(e *env) {
		s := e.begin("ck", storage.BeginOptions{Replace: e.everything})
		e.put(s, "file", "new")
		e.must(s.Commit(e.Context()))
		e.has("ck", map[string]string{"file": "new"})
	}},
	{"aborted", saves, func(e *env) {
		e.save("ck", old)
		s := e.begin("ck", storage.BeginOptions{Replace: e.everything})
		e.put(s, "file", "new")
		e.must(s.Abort())
		e.has("ck", old)
		e.alone(e.dir, "ck")
	}},
	{"what appears meanwhile", renames, func(e *env) {
		s := e.begin("ck/inner", storage.BeginOptions{})
		e.put(s, "file", "1")
		e.must(s.Commit(e.Context()))
		s = e.begin("ck", storage.BeginOptions{Replace: nothing})
		e.put(s, "file", "new")
		e.want("Commit", s.Commit(e.Context()), fault.ErrInPlace)
		e.has("ck", map[string]string{"file": "new"})
		infos, err := e.store.List(e.Context(), e.dir)
		e.must(err)
		if len(infos) != 2 {
			e.Errorf("what must stay is gone: %v", infos)
		}
	}},
	{"a file", saves, func(e *env) {
		e.save("ck", old)
		e.refuseBegin("ck/file", storage.BeginOptions{Replace: e.everything}, fault.ErrInvalidCheckpoint)
		if e.can.Rename {
			e.refuseBegin("ck/file", storage.BeginOptions{Into: entry("x")}, fault.ErrInvalidCheckpoint)
		}
	}},
}

func marks(p storage.Properties) bool { return p.Marker }

var markerTests = []test{
	{"refused", func(p storage.Properties) bool { return !p.Marker }, func(e *env) {
		e.refuseBegin("ck", storage.BeginOptions{Marker: "done"}, fault.ErrUnsupported)
	}},
	{"in its place", marks, func(e *env) {
		s := e.begin("a/ck", storage.BeginOptions{Marker: "done"})
		if _, err := e.store.Begin(e.Context(), e.at("a/ck"), storage.BeginOptions{Marker: mark}); !errors.Is(err, fault.ErrExist) {
			e.want("the second Begin", err, fault.ErrBusy)
		}
		e.put(s, "d/file", "1")
		e.put(s, "doc", "2")
		w, err := s.Create(e.Context(), "open", -1)
		e.must(err)
		e.must(w.WriteAt(e.Context(), []byte("3"), 0))
		e.put(s, "done", "")
		got, err := e.tree(e.at("a/ck"))
		if want := map[string]string{"d/file": "1", "doc": "2"}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			e.Errorf("before the commit it has %q, %v; want %q", got, err, want)
		}
		if dir := s.Dir(); dir != e.at("a/ck") {
			e.Errorf("Dir is %q, want %q", dir, e.at("a/ck"))
		}
		e.must(w.Close())
		_, err = s.Create(e.Context(), "doc", 1)
		e.want("a file that exists", closed(err, s, e), fs.ErrExist)
		e.must(s.Abort())
		e.alone(e.at("a"))

		s = e.begin("a/ck", storage.BeginOptions{Marker: "done"})
		e.put(s, "done", "")
		e.put(s, "doc", "2")
		e.must(s.Commit(e.Context()))
		e.has("a/ck", map[string]string{"doc": "2", "done": ""})
		e.alone(e.at("a"), "ck")
	}},
	{"without its marker", marks, func(e *env) {
		s := e.begin("ck", storage.BeginOptions{Marker: "done"})
		e.put(s, "doc", "1")
		e.refused("Commit", s.Commit(e.Context()))
		e.alone(e.dir)
	}},
	{"replacing", marks, func(e *env) {
		e.save("ck", old)
		e.refuseBegin("ck", storage.BeginOptions{Marker: "done"}, fault.ErrExist)
		e.refuseBegin("ck", storage.BeginOptions{Marker: "done", Replace: nothing}, errNo)
		e.has("ck", old)
		e.alone(e.dir, "ck")
		s := e.begin("ck", storage.BeginOptions{Marker: "done", Replace: e.everything})
		if e.can.Rename {
			e.has("ck", map[string]string{})
		} else {
			e.has("ck", old)
		}
		e.put(s, "done", "")
		e.must(s.Commit(e.Context()))
		e.has("ck", map[string]string{"done": ""})
	}},
	{"what others have put there", marks, func(e *env) {
		e.save("ck", old)
		e.refuseBegin("ck", storage.BeginOptions{Marker: "done", Replace: onlyFile}, fault.ErrInvalidCheckpoint)
		e.keepsOld()
	}},
}

// closed returns err, or the error of a second file doc. With a marker, a file may fail
// to get its name only when its Writer is closed.
func closed(err error, s storage.Files, e *env) error {
	if err != nil {
		return err
	}
	return write(e.Context(), s, "doc", nil)
}

var linkTests = []test{
	{"bytes", saves, func(e *env) {
		e.save("ck", map[string]string{"d/file": "data", "empty": ""})
		s := e.begin("other", storage.BeginOptions{})
		e.must(s.Link(e.Context(), e.at("ck/d/file"), "x/linked", storage.LinkOptions{}))
		e.must(s.Link(e.Context(), e.at("ck/empty"), "empty", storage.LinkOptions{}))
		for what, o := range map[string]storage.LinkOptions{"Link": {}, "Share": {Share: true}} {
			if o.Share && e.can.Links == storage.LinkNone {
				continue
			}
			e.want(what+" of nothing", s.Link(e.Context(), e.at("ck/none"), "none", o), fs.ErrNotExist)
			e.want(what+" to a name that is taken", s.Link(e.Context(), e.at("ck/empty"), "empty", o), fs.ErrExist)
			e.refused(what+" of a directory", s.Link(e.Context(), e.at("ck/d"), "dir", o))
		}
		err := s.Link(e.Context(), e.at("ck/d/file"), "shared", storage.LinkOptions{Share: true})
		want := map[string]string{"x/linked": "data", "empty": ""}
		if e.can.Links != storage.LinkNone {
			want["shared"] = "data"
			e.must(err)
		} else {
			e.want("Share", err, errors.ErrUnsupported)
		}
		e.must(s.Commit(e.Context()))
		e.refused("Link after Commit", s.Link(e.Context(), e.at("ck/empty"), "late", storage.LinkOptions{}))
		if e.can.Edit {
			edit, err := e.store.Edit(e.Context(), e.at("ck"))
			e.must(err)
			e.must(edit.RemoveAll(e.Context(), e.everything))
			e.must(edit.Close())
		}
		e.has("other", want)
	}},
	{"another source", saves, func(e *env) {
		e.save("ck", map[string]string{"file": "12"})
		seen, err := e.store.Stat(e.Context(), e.at("ck/file"))
		e.must(err)
		if seen.Version == "" {
			e.Skip("the files have no versions")
		}
		s := e.begin("ck", storage.BeginOptions{Replace: e.everything})
		e.put(s, "file", "345")
		e.must(s.Commit(e.Context()))
		now, err := e.store.Stat(e.Context(), e.at("ck/file"))
		e.must(err)
		s = e.begin("other", storage.BeginOptions{})
		want := map[string]string{}
		for name, share := range map[string]bool{"d/linked": false, "d/shared": true} {
			if share && e.can.Links == storage.LinkNone {
				continue
			}
			e.want("Link of a file that was replaced", s.Link(e.Context(), e.at("ck/file"), name, storage.LinkOptions{Share: share, Source: seen}), fault.ErrBusy)
			e.must(s.Link(e.Context(), e.at("ck/file"), name, storage.LinkOptions{Share: share, Source: now}))
			want[name] = "345"
		}
		e.must(s.Commit(e.Context()))
		e.has("other", want)
	}},
}

func edits(p storage.Properties) bool { return p.Edit && saves(p) }

// edit claims a directory.
func (e *env) edit(name string) storage.Edit {
	e.Helper()
	edit, err := e.store.Edit(e.Context(), e.at(name))
	e.must(err)
	e.Cleanup(func() { edit.Close() })
	return edit
}

// destroy removes a directory and gives up the claim.
func (e *env) destroy(name string) {
	e.Helper()
	edit := e.edit(name)
	e.must(edit.RemoveAll(e.Context(), e.everything))
	e.must(edit.Close())
}

var editTests = []test{
	{"refused", func(p storage.Properties) bool { return !p.Edit }, func(e *env) {
		_, err := e.store.Edit(e.Context(), e.dir)
		e.want("Edit", err, fault.ErrUnsupported)
	}},
	{"claims", edits, func(e *env) {
		e.save("ck", old)
		edit := e.edit("ck")
		_, err := e.store.Edit(e.Context(), e.at("ck"))
		e.want("the second Edit", err, fault.ErrBusy)
		e.refuseBegin("ck", storage.BeginOptions{Replace: e.everything}, fault.ErrBusy)
		e.must(edit.Close())
		e.alone(e.dir, "ck")
		s := e.begin("ck", storage.BeginOptions{Replace: e.everything})
		_, err = e.store.Edit(e.Context(), e.at("ck"))
		e.want("Edit of what is written", err, fault.ErrBusy)
		e.must(s.Abort())
		_, err = e.store.Edit(e.Context(), e.at("none"))
		e.want("Edit of nothing", err, fs.ErrNotExist)
		_, err = e.store.Edit(e.Context(), e.at("ck/file"))
		e.want("Edit of a file", err, fault.ErrInvalidCheckpoint)
	}},
	{"files", edits, func(e *env) {
		e.save("ck", old)
		edit := e.edit("ck")
		e.must(edit.Put(e.Context(), "new", []byte("2"), false))
		e.want("Put of what exists", edit.Put(e.Context(), "file", []byte("3"), false), fs.ErrExist)
		e.must(edit.Put(e.Context(), "d/old", []byte("4"), true))
		e.want("Put without a directory", edit.Put(e.Context(), "none/file", []byte("5"), true), fs.ErrNotExist)
		e.has("ck", map[string]string{"d/old": "4", "file": "old", "new": "2"})
		e.must(edit.Remove(e.Context(), "file", nil))
		e.must(edit.Remove(e.Context(), "file", nil))
		e.want("Remove of what must stay", edit.Remove(e.Context(), "d", nothing), errNo)
		e.refused("Remove of a directory without a look", edit.Remove(e.Context(), "d", nil))
		e.must(edit.Remove(e.Context(), "d", e.everything))
		for _, name := range append([]string{"."}, badNames...) {
			e.want(fmt.Sprintf("Remove %q", name), edit.Remove(e.Context(), name, e.everything), errReserved)
		}
		e.must(edit.Close())
		e.has("ck", map[string]string{"new": "2"})
		e.alone(e.dir, "ck")
	}},
	{"all", edits, func(e *env) {
		e.save("ck", old)
		edit := e.edit("ck")
		e.want("RemoveAll of what must stay", edit.RemoveAll(e.Context(), nothing), errNo)
		e.has("ck", old)
		looks := 0
		second := func(ctx context.Context, dir string) ([]storage.Item, error) {
			if looks++; looks > 1 {
				return nil, errNo
			}
			return e.everything(ctx, dir)
		}
		if e.can.Rename {
			e.want("RemoveAll that is refused by the second look", edit.RemoveAll(e.Context(), second), errNo)
			e.has("ck", old)
		}
		e.must(edit.RemoveAll(e.Context(), e.everything, "file"))
		e.must(edit.Close())
		e.has("ck", nil)
		e.alone(e.dir)
	}},
	{"a place that is taken", renames, func(e *env) {
		e.save("ck", old)
		looks, inner := 0, ""
		refuse := func(ctx context.Context, dir string) ([]storage.Item, error) {
			if looks++; looks == 1 {
				return e.everything(ctx, dir)
			}
			e.begin("ck/inner", storage.BeginOptions{})
			inner = dir
			return nil, errNo
		}
		edit := e.edit("ck")
		err := edit.RemoveAll(e.Context(), refuse)
		e.want("RemoveAll", err, errNo)
		e.must(edit.Close())
		if !strings.Contains(fmt.Sprint(err), inner) || e.find("old") != 1 {
			e.Errorf("%d of the file that must stay is there; the error does not say that it is in %s: %v", e.find("old"), inner, err)
		}
	}},
	{"a parent that goes", edits, func(e *env) {
		for name, o := range e.stages() {
			for _, end := range []string{"Commit", "Abort", "Commit into another"} {
				s := e.begin(name+"/ck", o)
				e.put(s, "d/file", "1")
				e.put(s, "done", "")
				e.destroy(name)
				switch end {
				case "Abort":
					s.Abort()
				case "Commit into another":
					e.save(name, nil)
					fallthrough
				default:
					e.refused(name+": "+end, s.Commit(e.Context()))
				}
				if n := e.find("file"); n > 0 {
					e.Errorf("%s: %s leaves %d files", name, end, n)
				}
				if end == "Commit into another" {
					e.destroy(name)
				}
				e.alone(e.dir)
			}
		}
	}},
	{"what others have put there", edits, func(e *env) {
		e.save("ck", old)
		edit := e.edit("ck")
		e.want("RemoveAll of a part", edit.RemoveAll(e.Context(), onlyFile), fault.ErrInvalidCheckpoint)
		e.must(edit.Close())
		e.keepsOld()
	}},
}

// onlyFile is a look that has seen no entry but file.
func onlyFile(context.Context, string) ([]storage.Item, error) {
	return []storage.Item{{Name: "file"}}, nil
}

// keepsOld fails the test unless the file old, which onlyFile does not list, is left.
func (e *env) keepsOld() {
	e.Helper()
	if got := e.find("old"); got != 1 {
		e.Errorf("found %d of the file that the look does not list, want 1", got)
	}
}

// find returns the number of files with a name anywhere below the directory of the test.
func (e *env) find(name string) (n int) {
	e.Helper()
	files, err := e.tree(e.dir)
	if !errors.Is(err, fs.ErrNotExist) {
		e.must(err)
	}
	for file := range files {
		if path.Base(file) == name {
			n++
		}
	}
	return n
}
