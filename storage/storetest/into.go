package storetest

import (
	"context"
	"io/fs"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// entry returns a function for BeginOptions.Into that returns name.
func entry(name string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return name, nil }
}

var intoTests = []test{
	{"entries", renames, func(e *env) {
		for _, name := range []string{"one", "two"} {
			s := e.begin("a/dir", storage.BeginOptions{Into: entry(name)})
			e.refuseBegin("a/dir", storage.BeginOptions{Into: entry("three")}, fault.ErrBusy)
			e.put(s, "d/file", name)
			e.must(s.Commit(e.Context()))
		}
		e.has("a/dir", map[string]string{"one/d/file": "one", "two/d/file": "two"})
		s := e.begin("a/dir", storage.BeginOptions{Into: entry("one")})
		e.put(s, "d/file", "again")
		e.want("an entry that exists", s.Commit(e.Context()), fs.ErrExist)
		e.has("a/dir", map[string]string{"one/d/file": "one", "two/d/file": "two"})
		e.alone(e.at("a"), "dir")
	}},
	{"asked when claimed", renames, func(e *env) {
		e.refuseBegin("dir", storage.BeginOptions{Into: func(ctx context.Context) (string, error) {
			e.refuseBegin("dir", storage.BeginOptions{}, fault.ErrBusy)
			return "", errNo
		}}, errNo)
		e.alone(e.dir)
	}},
	{"names", renames, func(e *env) {
		for _, name := range append([]string{".", "a/b"}, badNames...) {
			e.refuseBegin("dir", storage.BeginOptions{Into: entry(name)}, errReserved)
		}
		for what, o := range map[string]storage.BeginOptions{"Replace": {Replace: e.everything}, "Marker": {Marker: "done"}} {
			o.Into = entry("x")
			_, err := e.store.Begin(e.Context(), e.at("dir"), o)
			e.want("Into and "+what, err, fault.ErrUnsupported)
		}
		e.alone(e.dir)
	}},
}

// intoMarkedTests are the rules of an entry in a store that cannot rename: it is written in
// its place, and complete with its marker.
var intoMarkedTests = []test{
	{"entries", storage.Properties.NeedsMarker, func(e *env) {
		into := func(name string) storage.BeginOptions {
			return storage.BeginOptions{Into: entry(name), Marker: "done"}
		}
		for _, name := range []string{"one", "two"} {
			s := e.begin("a/dir", into(name))
			e.refuseBegin("a/dir", into("three"), fault.ErrBusy)
			if dir := s.Dir(); dir != e.at("a/dir/"+name) {
				e.Errorf("Dir is %q, want %q", dir, e.at("a/dir/"+name))
			}
			e.put(s, "d/file", name)
			e.put(s, "done", "")
			e.has("a/dir/"+name, map[string]string{"d/file": name})
			if e.can.Edit {
				_, err := e.store.Edit(e.Context(), e.at("a/dir"))
				e.want("Edit of the directory", err, fault.ErrBusy)
			}
			e.must(s.Commit(e.Context()))
			e.has("a/dir/"+name, map[string]string{"d/file": name, "done": ""})
		}
		e.alone(e.at("a/dir"), "one", "two")
		s, err := e.store.Begin(e.Context(), e.at("a/dir"), into("one"))
		if err == nil {
			e.put(s, "d/again", "again")
			e.put(s, "done", "")
			err = s.Commit(e.Context())
		}
		e.want("an entry that exists", err, fs.ErrExist)
		e.has("a/dir/one", map[string]string{"d/file": "one", "done": ""})
		s = e.begin("a/dir", into("three"))
		e.put(s, "d/file", "three")
		e.put(s, "done", "")
		e.must(s.Abort())
		s = e.begin("a/dir", into("three"))
		e.put(s, "d/file", "three")
		e.refused("Commit without the marker", s.Commit(e.Context()))
		e.alone(e.at("a/dir"), "one", "two")
		e.alone(e.at("a"), "dir")
	}},
	{"asked when claimed", storage.Properties.NeedsMarker, func(e *env) {
		o := storage.BeginOptions{Marker: "done", Into: func(ctx context.Context) (string, error) {
			e.refuseBegin("dir", storage.BeginOptions{Marker: "done", Into: entry("other")}, fault.ErrBusy)
			return "", errNo
		}}
		e.refuseBegin("dir", o, errNo)
		e.alone(e.dir)
	}},
	{"names", storage.Properties.NeedsMarker, func(e *env) {
		for _, name := range append([]string{".", "a/b"}, badNames...) {
			e.refuseBegin("dir", storage.BeginOptions{Marker: "done", Into: entry(name)}, errReserved)
		}
		for what, o := range map[string]storage.BeginOptions{"Replace": {Replace: e.everything, Marker: "done"}, "no marker": {}} {
			o.Into = entry("x")
			_, err := e.store.Begin(e.Context(), e.at("dir"), o)
			e.want("Into and "+what, err, fault.ErrUnsupported)
		}
		e.alone(e.dir)
	}},
}
