package view_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/mmap"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// What cannot be mapped is read.
func TestMappedFallsBack(t *testing.T) {
	state := map[string]any{"a": array.Of(numbers(1 << 19)), "b": array.Of(numbers(1 << 16))}
	path := filepath.Join(t.TempDir(), "ck")
	o := handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ChunkByteSize: 1 << 20}}
	if err := orbax.Save(t.Context(), path, state, orbax.Storage(o)); err != nil {
		t.Fatal(err)
	}
	load := func(what string, ck *orbax.Checkpoint, mapped int64) {
		t.Helper()
		var s orbax.Stats
		got, err := ck.Load(t.Context(), orbax.Mapped(), orbax.Report(&s))
		if err != nil {
			t.Fatal(what, err)
		}
		if err := differ(t, got, state); err != nil {
			t.Fatal(what, err)
		}
		if mapped >= 0 && s.Mapped != mapped {
			t.Errorf("%s: %d bytes are mapped, want %d", what, s.Mapped, mapped)
		}
		if err := ck.VerifyMapped(t.Context()); err != nil {
			t.Error(what, err)
		}
	}
	if !canStitch() {
		load("not here", open(t, path), -1)
		return
	}
	load("all", open(t, path), 9<<18)

	files := fstest.MapFS{}
	if err := copyFiles(files, path); err != nil {
		t.Fatal(err)
	}
	ck, err := orbax.Open(t.Context(), ".", orbax.In(storage.FS(files)))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	load("files in memory", ck, 0)

	// One mapping is the file's; the array in two chunks needs two more.
	for free, mapped := range []int64{0, 1 << 18, 1 << 18, 9 << 18} {
		s, err := mmap.Reserve(1, mmap.Free()-free)
		if err != nil {
			t.Fatal(err)
		}
		load(fmt.Sprint(free, " mappings"), open(t, path), mapped)
		s.Release()
	}

	// Without addresses nothing is read in silence instead.
	var taken []*mmap.Space
	for size := mmap.MaxSpace / 2; size >= mmap.PageSize(); size /= 2 {
		if s, err := mmap.Reserve(size, 0); err == nil {
			taken = append(taken, s)
		}
	}
	if _, err := open(t, path).Load(t.Context(), orbax.Mapped()); !errors.Is(err, orbax.ErrNoMemory) {
		t.Errorf("no addresses: %v", err)
	}
	for _, s := range taken {
		s.Release()
	}
	load("addresses again", open(t, path), 9<<18)
}

func copyFiles(to fstest.MapFS, dir string) error {
	return filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		to[filepath.ToSlash(rel)] = &fstest.MapFile{Data: data}
		return err
	})
}

// invented is an array whose parts say anything. They are uint8.
type invented []view.Chunk

func (a *invented) Chunks(context.Context, []int, []int) iter.Seq2[*view.Chunk, error] {
	return func(yield func(*view.Chunk, error) bool) {
		for _, p := range *a {
			if !yield(&p, nil) {
				return
			}
		}
	}
}

// treeOf returns the tree whose leaves are arrays of n elements.
func treeOf(t testing.TB, n int, arrays ...invented) *view.Tree {
	t.Helper()
	leaves := make([]*view.Leaf, len(arrays))
	for i := range arrays {
		meta := view.LeafMetadata{
			Path: tree.Path{{Name: fmt.Sprint("a", i)}}, Kind: tree.KindArray, DType: array.Uint8, Shape: []int{n},
		}
		var err error
		if leaves[i], err = view.NewArray(meta, &arrays[i]); err != nil {
			t.Fatal(err)
		}
	}
	return view.New("invented", leaves)
}

// asStored is the form of elements that are stored as they are.
type asStored struct{}

func (asStored) Decode(_ *view.Chunk, dst, enc []byte) error {
	copy(dst, enc)
	return nil
}

func (asStored) Direct(*view.Chunk, []byte) (func([]byte), func([]byte) error) {
	return func([]byte) {}, func([]byte) error { return nil }
}

func (asStored) Describe(_ *view.Chunk, err error) error { return err }

// Chunks that lie about where they are do no harm: what cannot be mapped is read,
// and fails as it does without.
func TestMappedHostile(t *testing.T) {
	view.MapAll(t)
	dir := &view.Dir{At: storage.At(storage.Local(), filepath.ToSlash(t.TempDir()))}
	page := mmap.PageSize()
	data := make([]byte, 5*page)
	for i := range data {
		data[i] = byte(i * 7 / 3)
	}
	for _, name := range []string{"file", "../" + filepath.Base(dir.At.Name) + "-outside"} {
		if err := os.WriteFile(filepath.Join(dir.At.Name, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	part := func(off, n int, file string, at, length int64) view.Chunk {
		return view.Chunk{
			Offset: []int{off}, Size: []int{n}, Form: asStored{},
			Dir: dir, File: file, At: at, Length: length,
		}
	}
	n, p64 := 4*page, int64(page)
	for what, parts := range map[string]invented{
		"one":               {part(0, n, "file", 0, int64(n))},
		"anywhere":          {part(0, n, "file", 1, int64(n))},
		"with a rest":       {part(0, n, "file", 3, int64(n)+5)},
		"stitched":          {part(0, n/2, "file", 2*p64, 2*p64), part(n/2, n/2, "file", 0, 2*p64+7)},
		"in another order":  {part(n/2, n/2, "file", 0, 2*p64), part(0, n/2, "file", 2*p64, 2*p64)},
		"the same twice":    {part(0, n/2, "file", p64, 2*p64), part(n/2, n/2, "file", p64, 2*p64)},
		"not on pages":      {part(0, n/2, "file", 8, 2*p64), part(n/2, n/2, "file", 3*p64, 2*p64)},
		"before the file":   {part(0, n, "file", -8, int64(n))},
		"behind the file":   {part(0, n, "file", 5*p64, int64(n))},
		"past its end":      {part(0, n, "file", 2*p64, int64(n))},
		"far behind":        {part(0, n, "file", 1<<62, int64(n))},
		"overflowing":       {part(0, n, "file", math.MaxInt64-5, int64(n))},
		"a huge rest":       {part(0, n, "file", 0, 1<<62)},
		"of a missing file": {part(0, n, "missing", 0, int64(n))},
		"of a directory":    {part(0, n, ".", 0, int64(n))},
		"outside":           {part(0, n, "../"+filepath.Base(dir.At.Name)+"-outside", 0, int64(n))},
		"too short":         {part(0, n, "file", 0, int64(n)-1)},
		"negative":          {part(0, n, "file", 0, -1)},
	} {
		t.Run(what, func(t *testing.T) {
			whole := treeOf(t, n, parts)
			want, werr := whole.Load(t.Context())
			for _, verify := range []bool{false, true} {
				var m view.Mappings
				got, err := whole.Mapped(&m, verify).Load(t.Context())
				if (err == nil) != (werr == nil) || err != nil && err.Error() != werr.Error() {
					t.Errorf("%v; read: %v", err, werr)
				} else if err == nil {
					if err := differ(t, got, want); err != nil {
						t.Error(err)
					}
				}
				if err := m.Verify(t.Context()); err != nil {
					t.Error(err)
				}
				if err := m.Close(); err != nil {
					t.Error(err)
				}
				if _, err := whole.Mapped(&m, verify).Load(t.Context()); !errors.Is(err, fs.ErrClosed) {
					t.Errorf("after Close: %v", err)
				}
			}
		})
	}
}

// whenVerified is asStored that calls a function when the elements are verified.
type whenVerified struct {
	asStored
	then func()
}

func (v whenVerified) Direct(*view.Chunk, []byte) (func([]byte), func([]byte) error) {
	return func([]byte) { v.then() }, func([]byte) error { return nil }
}

// A load that is given up when it has mapped its files leaves nothing behind. What
// a file lacks that another leaf wants does not keep the rest from being mapped.
func TestMappedCanceled(t *testing.T) {
	view.MapAll(t)
	if !canMap() {
		t.Skip("the system cannot map files")
	}
	n := 3 << 20
	dir := &view.Dir{At: storage.At(storage.Local(), filepath.ToSlash(t.TempDir()))}
	for _, name := range []string{"good", "short"} {
		if err := os.WriteFile(filepath.Join(dir.At.Name, name), make([]byte, n), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	free := mmap.Free()
	for _, rest := range []int64{-1, 0, 1 << 61} {
		ctx, cancel := context.WithCancel(t.Context())
		least := free
		form := whenVerified{then: func() {
			least = mmap.Free()
			cancel()
		}}
		part := view.Chunk{Offset: []int{0}, Size: []int{n}, Form: form, Dir: dir, File: "good", Length: int64(n)}
		arrays := []invented{{part}}
		if rest >= 0 {
			part.Form, part.File, part.Length = asStored{}, "short", int64(n)+rest
			arrays = append(arrays, invented{part})
		}
		var m view.Mappings
		got, err := treeOf(t, n, arrays...).Mapped(&m, true).Load(ctx)
		cancel()
		if got != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%d: got %v, %v", rest, got, err)
		}
		if now := mmap.Free(); now != free || least == free {
			t.Errorf("%d: %d mappings are left of %d", rest, free-now, free-least)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
