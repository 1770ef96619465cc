package storetest

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/go-orbax/orbax/storage"
)

var readTests = []test{
	{"what is missing", nil, func(e *env) {
		_, openErr := e.store.Open(e.Context(), e.at("none"))
		_, statErr := e.store.Stat(e.Context(), e.at("none"))
		_, listErr := e.store.List(e.Context(), e.at("none"))
		_, entriesErr := storage.Entries(e.Context(), e.store, e.at("none"))
		for what, err := range map[string]error{"Open": openErr, "Stat": statErr, "List": listErr, "Entries": entriesErr} {
			e.want(what, err, fs.ErrNotExist)
		}
	}},
	{"bytes", saves, func(e *env) {
		data := pattern(300_000)
		e.save("ck", map[string]string{"d/file": string(data), "empty": ""})
		r, err := e.store.Open(e.Context(), e.at("ck/d/file"))
		e.must(err)
		defer r.Close()
		if r.Size() != int64(len(data)) {
			e.Errorf("Size is %d, want %d", r.Size(), len(data))
		}
		var group sync.WaitGroup
		for _, off := range []int{0, 1, 4096, 65_537, 299_999, 300_000} {
			group.Go(func() {
				p := make([]byte, min(100_001, len(data)-off))
				if err := r.ReadAt(e.Context(), p, int64(off)); err != nil || !bytes.Equal(p, data[off:off+len(p)]) {
					e.Errorf("%d bytes at %d: %v, or they are others", len(p), off, err)
				}
				first, second := make([]byte, len(p)/2), make([]byte, len(p)-len(p)/2)
				if err := storage.ReadBuffers(e.Context(), r, int64(off), first, second); err != nil || !bytes.Equal(append(first, second...), p) {
					e.Errorf("two buffers at %d: %v, or they are others", off, err)
				}
			})
		}
		group.Wait()
		for _, off := range []int64{299_999, 300_000, 400_000} {
			e.want("reading past the end", r.ReadAt(e.Context(), make([]byte, 2), off), io.ErrUnexpectedEOF)
		}
		if got, err := e.read(e.at("ck/empty")); err != nil || len(got) != 0 {
			e.Errorf("an empty file: %q, %v", got, err)
		}
		_, err = e.store.Open(e.Context(), e.at("ck/d"))
		e.refused("opening a directory", err)
	}},
	{"descriptions", saves, func(e *env) {
		e.save("ck", map[string]string{"b": "12", "a/x": "1", "c": "", "B": "1"})
		infos, err := e.store.List(e.Context(), e.at("ck"))
		e.must(err)
		entries, err := storage.Entries(e.Context(), e.store, e.at("ck"))
		e.must(err)
		if !e.can.Rename {
			infos = slices.DeleteFunc(infos, func(i storage.Info) bool { return i.Name == mark })
			entries = slices.DeleteFunc(entries, func(i storage.Entry) bool { return i.Name == mark })
		}
		want := []storage.Info{{Name: "B", Size: 1}, {Name: "a", Dir: true}, {Name: "b", Size: 2}, {Name: "c"}}
		if len(infos) != len(want) || len(entries) != len(want) {
			e.Fatalf("List has %v, Entries %v; want %v", infos, entries, want)
		}
		for i, w := range want {
			got, err := e.store.Stat(e.Context(), e.at("ck/"+w.Name))
			e.must(err)
			for what, info := range map[string]storage.Info{"List": infos[i], "Stat": got} {
				if info.Name != w.Name || info.Dir != w.Dir || !w.Dir && info.Size != w.Size {
					e.Errorf("%s says %+v, want %+v", what, info, w)
				}
			}
			if entries[i].Name != w.Name || entries[i].Type.IsDir() != w.Dir {
				e.Errorf("Entries says %+v, want %+v", entries[i], w)
			}
			if !w.Dir && infos[i].Version != got.Version {
				e.Errorf("%s has the version %q in List and %q in Stat", w.Name, infos[i].Version, got.Version)
			}
		}
	}},
	{"versions", saves, func(e *env) {
		version := func() string {
			e.Helper()
			info, err := e.store.Stat(e.Context(), e.at("ck/file"))
			e.must(err)
			return info.Version
		}
		e.save("ck", map[string]string{"file": "12"})
		first := version()
		if first == "" {
			e.Skip("the store does not know versions")
		}
		if again := version(); again != first {
			e.Errorf("the version of one file is %q and then %q", first, again)
		}
		linked := e.begin("other", storage.BeginOptions{})
		e.must(linked.Link(e.Context(), e.at("ck/file"), "linked", storage.LinkOptions{}))
		e.must(linked.Commit(e.Context()))
		if again := version(); again != first {
			e.Errorf("the version of a file that is linked elsewhere becomes %q, want %q", again, first)
		}
		for _, data := range []string{"12", "34"} {
			before := version()
			s := e.begin("ck", storage.BeginOptions{Replace: e.everything})
			e.put(s, "file", data)
			e.must(s.Commit(e.Context()))
			if again := version(); again == before && (data != "12" || !e.ofBytes) {
				e.Errorf("the version of another file of that name and size, with %q, is %q again", data, before)
			}
		}
	}},
	{"cancelled", saves, func(e *env) {
		e.save("ck", map[string]string{"file": "12"})
		r, err := e.store.Open(e.Context(), e.at("ck/file"))
		e.must(err)
		defer r.Close()
		s := e.begin("stage", storage.BeginOptions{})
		w, err := s.Create(e.Context(), "open", -1)
		e.must(err)
		ctx, cancel := context.WithCancel(e.Context())
		cancel()
		_, openErr := e.store.Open(ctx, e.at("ck/file"))
		_, statErr := e.store.Stat(ctx, e.at("ck"))
		_, listErr := e.store.List(ctx, e.at("ck"))
		_, beginErr := e.store.Begin(ctx, e.at("other"), e.marked(storage.BeginOptions{}))
		_, createErr := s.Create(ctx, "file", -1)
		for what, err := range map[string]error{
			"Open": openErr, "Stat": statErr, "List": listErr, "Begin": beginErr, "Create": createErr,
			"ReadAt": r.ReadAt(ctx, make([]byte, 1), 0), "WriteAt": w.WriteAt(ctx, []byte("x"), 0), "Mkdir": s.Mkdir(ctx, "d"),
			"Link": s.Link(ctx, e.at("ck/file"), "linked", storage.LinkOptions{}),
		} {
			e.want(what, err, context.Canceled)
		}
		e.must(w.Close())
		e.want("Commit", s.Commit(ctx), context.Canceled)
		e.alone(e.dir, "ck")
	}},
}
