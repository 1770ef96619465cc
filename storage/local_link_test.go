package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

func TestLink(t *testing.T) {
	for _, noLink := range []bool{false, true} {
		t.Run(fmt.Sprintf("noLink=%v", noLink), func(t *testing.T) {
			top := t.TempDir()
			from := filepath.Join(top, "from")
			want := bytes.Repeat([]byte("0123456789"), 1<<20) // of several copied pieces
			must(t, os.WriteFile(from, want, 0o666))
			must(t, os.WriteFile(filepath.Join(top, "empty"), nil, 0o666))
			r := &storage.Recorder{NoLink: noLink}
			stage, err := r.Store().Begin(t.Context(), filepath.ToSlash(top)+"/ck", storage.BeginOptions{})
			must(t, err)
			must(t, stage.Link(t.Context(), from, "a/b/large", storage.LinkOptions{}))
			must(t, stage.Link(t.Context(), filepath.Join(top, "empty"), "empty", storage.LinkOptions{}))
			if os.Symlink("from", filepath.Join(top, "symbolic")) == nil {
				must(t, stage.Link(t.Context(), filepath.Join(top, "symbolic"), "through", storage.LinkOptions{}))
			}
			for _, bad := range []struct {
				from, name string
				want       error
			}{
				{from, "a/b/large", fs.ErrExist},
				{filepath.Join(top, "missing"), "x", fs.ErrNotExist},
				{top, "x", nil}, // a directory
				{from, "../x", fault.ErrReservedName},
				{from, "a/b/large/c", nil},
			} {
				if err := stage.Link(t.Context(), bad.from, bad.name, storage.LinkOptions{}); err == nil || bad.want != nil && !errors.Is(err, bad.want) {
					t.Errorf("Link(%s, %s): %v", bad.from, bad.name, err)
				}
			}
			must(t, stage.Commit(t.Context()))
			must(t, os.Remove(from)) // the other name does not depend on it
			for _, name := range []string{"a/b/large", "through"} {
				got, err := os.ReadFile(filepath.Join(top, "ck", name))
				if name == "through" && errors.Is(err, fs.ErrNotExist) {
					continue // no symbolic links here
				}
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s has %d bytes, %v", name, len(got), err)
				}
			}
			if info, err := os.Stat(filepath.Join(top, "ck", "empty")); err != nil || info.Size() != 0 {
				t.Errorf("the empty file: %v", err)
			}
		})
	}
}

// A stage that is committed into its path leaves the other entries alone, and
// the lock holds as for any other.
func TestCommitInto(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "session")
	for _, entry := range []string{"one", "two"} {
		for _, bad := range []string{"", ".", "..", "a/b", "../x"} {
			if _, err := beginInto(t, dir, bad); !errors.Is(err, fault.ErrReservedName) {
				t.Errorf("Into %q: %v", bad, err)
			}
		}
		stage, err := beginInto(t, dir, entry)
		must(t, err)
		if _, err := begin(t, dir, true); !errors.Is(err, fault.ErrBusy) {
			t.Errorf("while it is written: %v", err)
		}
		put(t, stage, "a/file", entry)
		must(t, stage.Commit(t.Context()))
		must(t, stage.Abort())
	}
	stage, err := beginInto(t, dir, "one")
	must(t, err)
	put(t, stage, "a/file", "another")
	if err := stage.Commit(t.Context()); !errors.Is(err, fault.ErrExist) {
		t.Errorf("into an entry that exists: %v", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("entries %q", got)
	}
	for _, entry := range []string{"one", "two"} {
		if got, err := os.ReadFile(filepath.Join(dir, entry, "a/file")); err != nil || string(got) != entry {
			t.Errorf("%s holds %q, %v", entry, got, err)
		}
	}
	if got := names(t, parent); !slices.Equal(got, []string{"session"}) {
		t.Errorf("left %q", got)
	}
}

// Any one operation that fails is reported, and leaves the entry complete or
// not there.
func TestCommitIntoFailures(t *testing.T) {
	for index, hit := 0, true; hit; index++ {
		dir := filepath.Join(t.TempDir(), "session")
		hit = false
		n := 0
		r := &storage.Recorder{NoSync: true, Before: func(op storage.Op) error {
			if n++; n-1 != index || op.Kind == "unlock" {
				return nil
			}
			hit = true
			return syscall.EIO
		}}
		err := func() error {
			stage, err := r.Store().Begin(t.Context(), filepath.ToSlash(dir), storage.BeginOptions{Into: called("part")})
			if err != nil {
				return err
			}
			w, err := stage.Create(t.Context(), "d/f", 4)
			if err != nil {
				return errors.Join(err, stage.Abort())
			}
			if err := errors.Join(w.WriteAt(t.Context(), []byte("data"), 0), w.Close()); err != nil {
				return errors.Join(err, stage.Abort())
			}
			return stage.Commit(t.Context())
		}()
		if hit != errors.Is(err, syscall.EIO) || !hit && err != nil {
			if ops := r.Ops(); ops[min(index, len(ops)-1)].Kind != "unlock" {
				t.Errorf("operation %d of\n%sfailed: %v", index, storage.FormatOps(ops), err)
			}
		}
		hit = hit || index < len(r.Ops())
		got, rerr := os.ReadFile(filepath.Join(dir, "part", "d", "f"))
		if rerr == nil && string(got) != "data" || rerr != nil && err == nil {
			t.Errorf("operation %d: %q, %v", index, got, rerr)
		}
	}
}

// The entry becomes visible only when all that is in it is durable, and with a
// parent that is.
func TestCommitIntoOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, os.WriteFile("from", []byte("data"), 0o666))
	r := &storage.Recorder{}
	stage, err := r.Store().Begin(t.Context(), "session", storage.BeginOptions{Into: called("part")})
	must(t, err)
	must(t, stage.Link(t.Context(), "from", "d/linked", storage.LinkOptions{}))
	must(t, stage.Commit(t.Context()))
	const tmp = "session.orbax-checkpoint-tmp-<1>"
	want := strings.Join([]string{
		"mkdir " + tmp, "lock " + tmp, "mkdir " + tmp + "/d", "link from " + tmp + "/d/linked",
		"syncdir " + tmp + "/d/linked",
		"syncdir " + tmp + "/d", "syncdir " + tmp, "mkdir session", "syncdir .",
		"rename " + tmp + " session/part", "syncdir session", "syncdir .", "unlock " + tmp, "",
	}, "\n")
	if got := storage.FormatOps(r.Ops()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
