//go:build unix

package storage_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// write writes a file and the directories above it.
func write(t *testing.T, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func TestConfine(t *testing.T) {
	top := t.TempDir()
	at := func(name string) string { return filepath.Join(top, name) }
	write(t, at("ck/a/b/c"))
	write(t, at("ck/file"))
	write(t, at("ckx/file")) // a neighbour whose name begins alike
	write(t, at("secret/file"))
	link(t, "file", at("ck/inside"))
	link(t, "../file", at("ck/a/up"))
	link(t, at("ck/file"), at("ck/absolute"))
	link(t, "a", at("ck/dir"))
	link(t, "../secret/file", at("ck/out"))
	link(t, at("secret/file"), at("ck/a/b/out"))
	link(t, "../ckx/file", at("ck/alike"))
	link(t, "../secret", at("ck/outdir"))
	link(t, "inside", at("ck/chain"))
	link(t, "out", at("ck/outchain"))
	link(t, "nowhere", at("ck/dangling"))
	link(t, "self", at("ck/self"))
	link(t, "ck", at("alias"))
	for _, root := range []string{"ck", "alias"} {
		s := storage.Confine(storage.Local(), at(root), false)
		for name, want := range map[string]error{
			"file": nil, "a/b/c": nil, "inside": nil, "a/up": nil, "absolute": nil, "dir/b/c": nil, "chain": nil,
			"out": fault.ErrLink, "a/b/out": fault.ErrLink, "alike": fault.ErrLink, "outdir/file": fault.ErrLink,
			"outchain": fault.ErrLink, "dir/b/out": fault.ErrLink,
			"dangling": fs.ErrNotExist, "a/none": fs.ErrNotExist, "none/none": fs.ErrNotExist, "outdir/none": fs.ErrNotExist,
			"self": unix.ELOOP,
		} {
			for range 2 { // the known directories do not change the result
				r, err := s.Open(t.Context(), at(root+"/"+name))
				if err == nil {
					r.Close()
				}
				if !errors.Is(err, want) || (err == nil) != (want == nil) {
					t.Errorf("%s/%s: %v, want %v", root, name, err, want)
				}
			}
		}
		if _, err := s.List(t.Context(), at(root+"/outdir")); !errors.Is(err, fault.ErrLink) {
			t.Errorf("list of a directory outside: %v", err)
		}
		if l, err := s.List(t.Context(), at(root+"/dir")); err != nil || len(l) != 2 {
			t.Errorf("list of a linked directory: %v, %v", l, err)
		}
		// A confined store does not check names that are not below its root.
		if r, err := s.Open(t.Context(), at("secret/file")); err != nil {
			t.Error(err)
		} else {
			r.Close()
		}
	}
	r, err := storage.Local().Open(t.Context(), at("ck/out"))
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}

// The cache of a model hub keeps all files of a model in one directory, to which those
// of each revision are links.
func TestConfineHub(t *testing.T) {
	top := t.TempDir()
	at := func(name string) string { return filepath.Join(top, name) }
	const hub = "models--org--name"
	write(t, at(hub+"/blobs/sha"))
	write(t, at("models--org--other/blobs/sha"))
	write(t, at(hub+"/refs/main"))
	write(t, at(hub+"/blobs/deeper/sha"))
	link(t, "../../blobs/sha", at(hub+"/snapshots/rev/file"))
	link(t, "../../../blobs/sha", at(hub+"/snapshots/rev/sub/file"))
	link(t, "../../../models--org--other/blobs/sha", at(hub+"/snapshots/rev/other"))
	link(t, "../../refs/main", at(hub+"/snapshots/rev/ref"))
	link(t, "../../blobs/deeper/sha", at(hub+"/snapshots/rev/deeper"))
	write(t, at("plain/blobs/sha"))
	link(t, "../../blobs/sha", at("plain/snapshots/rev/file"))
	for _, c := range []struct {
		root, name string
		ok         bool
	}{
		{hub + "/snapshots/rev", "file", true},
		{hub + "/snapshots/rev", "sub/file", true},
		{hub + "/snapshots/rev/sub", "file", true},
		{hub + "/snapshots/rev", "other", false},
		{hub + "/snapshots/rev", "ref", false},
		{hub + "/snapshots/rev", "deeper", false},
		{"plain/snapshots/rev", "file", false},
	} {
		r, err := storage.Confine(storage.Local(), at(c.root), false).Open(t.Context(), at(c.root+"/"+c.name))
		if err == nil {
			r.Close()
		}
		if (err == nil) != c.ok || err != nil && !errors.Is(err, fault.ErrLink) {
			t.Errorf("%s: %s: %v", c.root, c.name, err)
		}
	}
}

// Links make no tree endless.
func TestConfineLoops(t *testing.T) {
	var walk func(s storage.Store, dir string) (int, error)
	walk = func(s storage.Store, dir string) (n int, err error) {
		infos, err := s.List(t.Context(), dir)
		for _, info := range infos {
			if n++; info.Dir && err == nil {
				var more int
				more, err = walk(s, dir+"/"+info.Name)
				n += more
			}
		}
		return n, err
	}
	loops := t.TempDir()
	write(t, loops+"/a/file")
	link(t, ".", loops+"/x")
	link(t, ".", loops+"/y")
	link(t, "..", loops+"/a/up")
	link(t, loops+"/a", loops+"/a/self")
	for _, outside := range []bool{false, true} {
		n, err := walk(storage.Confine(storage.Local(), loops, outside), loops)
		if err != nil || n != 6 {
			t.Errorf("%d entries, %v", n, err)
		}
	}
	// No directory is in itself, and the paths are 2^30.
	doubling := t.TempDir()
	write(t, doubling+"/d30/file")
	for i := range 30 {
		link(t, fmt.Sprintf("../d%d", i+1), fmt.Sprintf("%s/d%d/x", doubling, i))
		link(t, fmt.Sprintf("../d%d", i+1), fmt.Sprintf("%s/d%d/y", doubling, i))
	}
	start := time.Now()
	// Linux refuses 40 links in one path, and counts those of a walk that it begins anew
	// twice: under load it may be the first to refuse.
	_, err := walk(storage.Confine(storage.Local(), doubling, false), doubling)
	if !errors.Is(err, fault.ErrUnsupported) && !errors.Is(err, unix.ELOOP) {
		t.Errorf("got %v, want ErrUnsupported or ELOOP", err)
	}
	t.Log(time.Since(start))
}

// A file that is not regular is refused, and no call waits for its other end.
func TestOpenSpecial(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/fifo", 0o666); err != nil {
		t.Skip(err)
	}
	link(t, "fifo", dir+"/link")
	link(t, "/dev/zero", dir+"/zero")
	for _, s := range []storage.Store{storage.Local(), storage.Confine(storage.Local(), dir, false)} {
		for _, name := range []string{"fifo", "link", "zero"} {
			done := make(chan error, 1)
			go func() {
				_, err := s.Open(t.Context(), dir+"/"+name)
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil {
					t.Errorf("%s was opened", name)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: Open waits", name)
			}
		}
	}
}
