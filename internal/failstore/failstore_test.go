package failstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
)

// A write of several buffers is one operation. The other abilities of a store are kept.
func TestOptionalInterfaces(t *testing.T) {
	boom := errors.New("boom")
	var ops []string
	store := failstore.New(storage.Local(), func(op, name string) error {
		ops = append(ops, op)
		if name == "bad" && op == "write" {
			return boom
		}
		return nil
	})
	dir := filepath.ToSlash(t.TempDir())
	want, werr := storage.Local().Room(t.Context(), dir+"/ck")
	got, err := store.Room(t.Context(), dir+"/ck")
	if (err == nil) != (werr == nil) || (got > 0) != (want > 0) {
		t.Errorf("room %d, %v; want %d, %v", got, err, want, werr)
	}
	s, err := store.Begin(t.Context(), dir+"/ck", storage.BeginOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort()
	for _, name := range []string{"good", "bad"} {
		w, err := s.Create(t.Context(), name, -1)
		if err != nil {
			t.Fatal(err)
		}
		if storage.Alignment(w) > storage.PageSize {
			t.Error("the alignment is lost")
		}
		err = storage.WriteBuffers(t.Context(), w, 0, []byte("a"), []byte("b"))
		if (name == "bad") != errors.Is(err, boom) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	file := dir + "/file"
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, s := range []storage.Store{storage.Local(), store} {
		r, err := s.Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, ok := r.(storage.BuffersReader); ok != (runtime.GOOS == "linux") {
			t.Errorf("%T fills several buffers at once: %v", r, ok)
		}
	}
	if err := s.Link(t.Context(), file, "shared", storage.LinkOptions{Share: true}); err != nil {
		t.Error(err)
	}
	if want := []string{"begin", "create", "write", "close", "create", "write", "close", "share"}; !slices.Equal(ops, want) {
		t.Errorf("operations %v, want %v", ops, want)
	}
}
