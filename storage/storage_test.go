package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

func TestRead(t *testing.T) {
	ctx, store := t.Context(), storage.Local()
	dir := filepath.ToSlash(t.TempDir())
	must(t, os.WriteFile(dir+"/f", []byte("hello"), 0o666))
	must(t, os.Mkdir(dir+"/sub", 0o777))
	r, err := store.Open(ctx, dir+"/f")
	must(t, err)
	defer r.Close()
	p := make([]byte, 3)
	if err := r.ReadAt(ctx, p, 2); err != nil || string(p) != "llo" || r.Size() != 5 {
		t.Errorf("%q, size %d, %v", p, r.Size(), err)
	}
	if err := r.ReadAt(ctx, p, 3); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("past the end: %v", err)
	}
	if err := r.ReadAt(ctx, nil, 9); err != nil {
		t.Errorf("nothing, past the end: %v", err)
	}
	if _, err := store.Open(ctx, dir+"/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := store.Open(ctx, dir+"/sub"); err == nil {
		t.Error("a directory can be opened")
	}
	_ = os.Symlink("nowhere", dir+"/dangling")
	infos, err := store.List(ctx, dir)
	must(t, err)
	if len(infos) != 2 || infos[0].Name != "f" || infos[0].Size != 5 || infos[0].Dir || infos[1].Name != "sub" || !infos[1].Dir {
		t.Errorf("List: got %+v, want the file f of 5 bytes and the directory sub", infos)
	}
	if info, err := store.Stat(ctx, dir+"/sub"); err != nil || info.Name != "sub" || !info.Dir {
		t.Errorf("Stat: %+v, %v", info, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_, e1 := store.Open(ctx, dir+"/f")
	_, e2 := store.Stat(ctx, dir)
	_, e3 := store.List(ctx, dir)
	_, e4 := store.Begin(ctx, dir+"/ck", storage.BeginOptions{})
	for _, err := range []error{e1, e2, e3, e4, r.ReadAt(ctx, p, 0)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	must(t, err)
	for path, want := range map[string]string{
		"ck":       filepath.Join(wd, "ck"),
		"./a//ck/": filepath.Join(wd, "a/ck"),
		"..":       filepath.Dir(wd),
		wd + "/x/": filepath.Join(wd, "x"),
	} {
		if at, err := storage.Resolve(t.Context(), path); err != nil || at.Name != filepath.ToSlash(want) {
			t.Errorf("%q: %q, %v", path, at.Name, err)
		}
	}
	if _, err := storage.Resolve(t.Context(), ""); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("empty path: %v", err)
	}
	if _, err := storage.Resolve(t.Context(), "nosuch://bucket/x"); !errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("unknown scheme: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a scheme is registered twice")
		}
	}()
	storage.Register("registered", nil)
}

func init() { storage.Register("registered", nil) }

func Example() {
	ctx := context.Background()
	tmp, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(tmp)

	at, err := storage.Resolve(ctx, filepath.Join(tmp, "ckpt"))
	if err != nil {
		panic(err)
	}
	stage, err := at.Store.Begin(ctx, at.Name, storage.BeginOptions{})
	if err != nil {
		panic(err)
	}
	defer stage.Abort()
	w, err := stage.Create(ctx, "notes/hello.txt", 5)
	if err != nil {
		panic(err)
	}
	if err := errors.Join(w.WriteAt(ctx, []byte("hello"), 0), w.Close()); err != nil {
		panic(err)
	}
	if err := stage.Commit(ctx); err != nil {
		panic(err)
	}
	infos, err := at.Store.List(ctx, at.Join("notes").Name)
	fmt.Println(infos[0].Name, infos[0].Size, err)
	// Output: hello.txt 5 <nil>
}
