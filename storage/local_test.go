package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// begin starts to write dir on the local disk, and aborts at the test's end.
func begin(t *testing.T, dir string, overwrite bool) (storage.Stage, error) {
	t.Helper()
	var o storage.BeginOptions
	if overwrite {
		o.Replace = storage.Everything
	}
	return beginWith(t, dir, o)
}

// beginInto starts to write an entry of dir.
func beginInto(t *testing.T, dir, entry string) (storage.Stage, error) {
	t.Helper()
	return beginWith(t, dir, storage.BeginOptions{Into: called(entry)})
}

// called returns the name of an entry.
func called(entry string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return entry, nil }
}

// share links a file of another checkpoint.
func share(t *testing.T, to storage.Files, from, name string) error {
	return to.Link(t.Context(), from, name, storage.LinkOptions{Share: true})
}

func beginWith(t *testing.T, dir string, o storage.BeginOptions) (storage.Stage, error) {
	t.Helper()
	stage, err := storage.Local().Begin(t.Context(), filepath.ToSlash(dir), o)
	if err == nil {
		t.Cleanup(func() { stage.Abort() })
	}
	return stage, err
}

func put(t *testing.T, stage storage.Files, name, data string) {
	t.Helper()
	w, err := stage.Create(t.Context(), name, int64(len(data)))
	must(t, err)
	must(t, w.WriteAt(t.Context(), []byte(data), 0))
	must(t, w.Close())
}

func TestCommit(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "new", "parents")
	dir := filepath.Join(parent, "ck")
	for version := range 3 {
		stage, err := begin(t, dir+"/", version > 0)
		must(t, err)
		put(t, stage, "a/b/c", fmt.Sprint(version))
		must(t, stage.Mkdir(t.Context(), "empty/dir"))
		must(t, stage.Commit(t.Context()))
		got, err := os.ReadFile(filepath.Join(dir, "a/b/c"))
		must(t, err)
		if string(got) != fmt.Sprint(version) {
			t.Errorf("version %s, want %d", got, version)
		}
		if got := names(t, parent); !slices.Equal(got, []string{"ck"}) {
			t.Errorf("left %q", got)
		}
		if err := stage.Abort(); err != nil {
			t.Errorf("Abort after Commit: %v", err)
		}
		if stage.Commit(t.Context()) == nil {
			t.Error("a second Commit passes")
		}
	}
	if got := names(t, dir); !slices.Equal(got, []string{"a", "empty"}) {
		t.Errorf("names %q", got)
	}
}

func TestBusy(t *testing.T) {
	top := t.TempDir()
	must(t, os.Mkdir(filepath.Join(top, "real"), 0o777))
	dir := filepath.Join(top, "real", "ck")
	first, err := begin(t, dir, false)
	must(t, err)
	busy := func(dir string) {
		t.Helper()
		if _, err := begin(t, dir, true); !errors.Is(err, fault.ErrBusy) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	busy(dir)
	busy(dir)
	if os.Symlink("real", filepath.Join(top, "link")) == nil && runtime.GOOS != "windows" {
		busy(filepath.Join(top, "link", "ck")) // only the lock shows it
	}
	for _, other := range []string{"ck2", "c"} {
		stage, err := begin(t, filepath.Join(top, "real", other), false)
		must(t, err)
		must(t, stage.Abort())
	}
	must(t, first.Abort())
	// The files of a dead writer prevent no save.
	must(t, os.MkdirAll(dir+storage.TempMarker+"-0123456789abcdef/state", 0o777))
	for range 2 {
		stage, err := begin(t, dir, true)
		must(t, err)
		must(t, stage.Commit(t.Context()))
	}
}

// Of writers that begin together exactly one gets through.
func TestBusyTogether(t *testing.T) {
	for range 20 {
		dir := filepath.Join(t.TempDir(), "ck")
		var won atomic.Int32
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				_, err := begin(t, dir, false)
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, fault.ErrBusy) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Errorf("%d writers won", won.Load())
		}
	}
}

// Anything except a directory is never replaced: neither when it is there at the
// beginning, nor when it appears later.
func TestNotReplaced(t *testing.T) {
	for name, make := range map[string]func(target string) error{
		"file":          func(target string) error { return os.WriteFile(target, []byte("x"), 0o666) },
		"link":          func(target string) error { return os.Symlink(filepath.Dir(target), target) },
		"dangling link": func(target string) error { return os.Symlink("nowhere", target) },
		"directory":     func(target string) error { return os.Mkdir(target, 0o777) },
	} {
		for _, overwrite := range []bool{false, true} {
			if name == "directory" && overwrite {
				continue
			}
			want := fault.ErrExist
			if overwrite {
				want = fault.ErrInvalidCheckpoint
			}
			t.Run(fmt.Sprintf("%s/%v", name, overwrite), func(t *testing.T) {
				parent := t.TempDir()
				dir := filepath.Join(parent, "ck")
				stage, err := begin(t, dir, overwrite)
				must(t, err)
				put(t, stage, "f", "data")
				if err := make(dir); err != nil {
					t.Skip(err)
				}
				before, err := os.Lstat(dir)
				must(t, err)
				if err := stage.Commit(t.Context()); !errors.Is(err, want) {
					t.Errorf("Commit: %v, want %v", err, want)
				}
				if _, err := begin(t, dir, overwrite); !errors.Is(err, want) {
					t.Errorf("Begin: %v, want %v", err, want)
				}
				if after, err := os.Lstat(dir); err != nil || !os.SameFile(before, after) {
					t.Errorf("%v was replaced: %v", before.Mode(), err)
				}
				if got := names(t, parent); len(got) != 1 {
					t.Errorf("left %q", got)
				}
			})
		}
	}
}

// A file that is not closed, or whose sync failed, is not committed.
func TestNotClosed(t *testing.T) {
	parent := t.TempDir()
	stage, err := begin(t, filepath.Join(parent, "ck"), false)
	must(t, err)
	put(t, stage, "closed", "")
	_, err = stage.Create(t.Context(), "forgotten", -1)
	must(t, err)
	if err := stage.Commit(t.Context()); err == nil || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("Commit: %v", err)
	}

	r := &storage.Recorder{Before: func(op storage.Op) error {
		if op.Kind == "sync" {
			return syscall.EIO
		}
		return nil
	}}
	stage, err = r.Store().Begin(t.Context(), filepath.ToSlash(parent)+"/ck", storage.BeginOptions{})
	must(t, err)
	w, err := stage.Create(t.Context(), "lost", -1)
	must(t, err)
	if err := w.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close: %v", err)
	}
	if stage.Commit(t.Context()) == nil {
		t.Error("a file that is not durable is committed")
	}
	if got := names(t, parent); len(got) != 0 {
		t.Errorf("left %q", got)
	}
}

func TestStageNames(t *testing.T) {
	stage, err := begin(t, filepath.Join(t.TempDir(), "ck"), false)
	must(t, err)
	bad := []string{"", "..", "../x", "/x", "a/../../b", "a//b", "a/", "./a"}
	if runtime.GOOS == "windows" {
		bad = append(bad, `..\x`, `C:x`, "NUL")
	}
	for _, name := range bad {
		if _, err := stage.Create(t.Context(), name, 0); !errors.Is(err, fault.ErrReservedName) {
			t.Errorf("Create(%q): %v", name, err)
		}
		if err := stage.Mkdir(t.Context(), name); !errors.Is(err, fault.ErrReservedName) {
			t.Errorf("Mkdir(%q): %v", name, err)
		}
	}
	put(t, stage, "f", "")
	if _, err := stage.Create(t.Context(), "f", 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create of the same file again: %v", err)
	}
	if _, err := stage.Create(t.Context(), "f/g", 0); err == nil {
		t.Error("a file below a file")
	}
	if _, err := stage.Create(t.Context(), ".", 0); err == nil {
		t.Error("a file that is the directory")
	}
	must(t, stage.Mkdir(t.Context(), "."))
	must(t, stage.Commit(t.Context()))
}

func TestLongNames(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("limits differ")
	}
	parent := t.TempDir()
	for n, ok := range map[int]bool{100: true, 180: true, 217: true, 218: true, 255: true, 256: false, 300: false} {
		target := filepath.Join(parent, strings.Repeat("é", n/2)+strings.Repeat("n", n%2))
		stage, err := begin(t, target, false)
		if (err == nil) != ok || !ok && !errors.Is(err, syscall.ENAMETOOLONG) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if err != nil {
			continue
		}
		if _, err := begin(t, target, false); !errors.Is(err, fault.ErrBusy) {
			t.Errorf("%d bytes, again: %v", n, err)
		}
		dead := filepath.Join(parent, temporary(t, parent)[0])
		must(t, stage.Abort())
		// The files of a dead writer can be removed.
		must(t, os.Mkdir(dead, 0o777))
		e, err := edit(t, dead)
		must(t, err)
		must(t, e.RemoveAll(t.Context(), storage.Everything))
	}
	if got := names(t, parent); len(got) != 0 {
		t.Errorf("left %q", got)
	}
}

func TestParents(t *testing.T) {
	top := t.TempDir()
	must(t, os.WriteFile(filepath.Join(top, "file"), nil, 0o666))
	for _, dir := range []string{"file/ck", "file/more/ck"} {
		if _, err := begin(t, filepath.Join(top, dir), false); err == nil {
			t.Errorf("%s can be begun", dir)
		}
	}
	if os.Symlink("nowhere", filepath.Join(top, "dangling")) == nil {
		if _, err := begin(t, filepath.Join(top, "dangling", "ck"), false); err == nil {
			t.Error("a directory below a dangling link")
		}
	}
	// Several that create the same parents do not disturb each other.
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			stage, err := begin(t, filepath.Join(top, "a/b/c", fmt.Sprint(i)), false)
			if err == nil {
				err = stage.Commit(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestConcurrentCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ck")
	stage, err := begin(t, dir, false)
	must(t, err)
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			name := fmt.Sprintf("a/%d/c/%d", i%3, i)
			w, err := stage.Create(t.Context(), name, 2)
			if err == nil {
				err = errors.Join(w.WriteAt(t.Context(), []byte("x"), 1), w.WriteAt(t.Context(), []byte("y"), 0), w.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	must(t, stage.Commit(t.Context()))
	for i := range 64 {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("a/%d/c/%d", i%3, i)))
		if string(got) != "yx" {
			t.Errorf("file %d has %q, %v", i, got, err)
		}
	}
}

// Writes that bypass the page cache and writes that do not make one file.
func TestWriteAt(t *testing.T) {
	const page, pages = storage.PageSize, 64
	// Allocations of this size start on a page.
	want := make([]byte, pages*page)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	for _, size := range []int64{-1, int64(len(want)), 4 << 20} {
		dir := filepath.Join(t.TempDir(), "ck")
		stage, err := begin(t, dir, false)
		must(t, err)
		w, err := stage.Create(t.Context(), "f", size)
		must(t, err)
		var group sync.WaitGroup
		for at := 0; at < len(want); {
			n := min(len(want)-at, page*(1+rng.IntN(4)))
			piece, off := want[at:at+n], at
			group.Go(func() {
				if off%(2*page) == 0 {
					piece = bytes.Clone(piece) // of any alignment
				}
				if err := w.WriteAt(t.Context(), piece, int64(off)); err != nil {
					t.Error(err)
				}
			})
			at += n
		}
		group.Wait()
		must(t, w.WriteAt(t.Context(), []byte("tail"), int64(len(want))))
		must(t, w.Close())
		must(t, stage.Commit(t.Context()))
		got, err := os.ReadFile(filepath.Join(dir, "f"))
		must(t, err)
		if !bytes.Equal(got, append(bytes.Clone(want), "tail"...)) {
			t.Errorf("size %d: the file differs", size)
		}
	}
}
