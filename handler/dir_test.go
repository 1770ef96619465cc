package handler

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// written runs write for an item called "item". It returns the item's directory, and the
// path of that directory.
func written(t testing.TB, write WriteFunc) (*ReadDir, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "ckpt")
	stage, err := storage.Local().Begin(t.Context(), root, storage.BeginOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var digests layout.Digests
	dir, err := NewWriteDir(t.Context(), stage, "item", digests.Add)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(t.Context(), dir); err != nil {
		stage.Abort()
		t.Fatal(err)
	}
	if err := stage.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return NewReadDir(storage.At(storage.Local(), root), "item", &digests, nil), filepath.Join(root, "item")
}

// roundTrip saves v and loads it into target.
func roundTrip(t testing.TB, h Handler, v, target any) (any, error) {
	t.Helper()
	write, err := h.Save(t.Context(), v, SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := written(t, write)
	return h.Load(t.Context(), dir, target, LoadOptions{})
}

func someFiles(ctx context.Context, dir *WriteDir) error {
	if err := dir.WriteFile(ctx, "a/b.txt", []byte("text")); err != nil {
		return err
	}
	if err := dir.WriteFile(ctx, "empty", nil); err != nil {
		return err
	}
	w, err := dir.Create(ctx, "stream")
	if err != nil {
		return err
	}
	for range 1000 {
		if _, err := io.WriteString(w, "0123456789"); err != nil {
			return err
		}
	}
	return w.Close()
}

// TestOpen reads files from beginning to end, intact and damaged.
func TestOpen(t *testing.T) {
	dir, path := written(t, someFiles)
	read := func(name string) (string, error) {
		f, err := dir.Open(t.Context(), name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if again, aerr := f.Read(make([]byte, 1)); again != 0 || err == nil && aerr != io.EOF || err != nil && aerr != err {
			t.Errorf("%s: after the end: %d, %v", name, again, aerr)
		}
		return string(b), err
	}
	for name, want := range map[string]string{"a/b.txt": "text", "empty": "", "stream": strings.Repeat("0123456789", 1000)} {
		if got, err := read(name); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	put("stream", strings.Repeat("0123456789", 999)+"0123456780")
	put("foreign", "no digest")
	put("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
	if err := os.Remove(filepath.Join(path, "empty")); err != nil {
		t.Fatal(err)
	}
	if got, err := read("foreign"); got != "no digest" || err != nil {
		t.Errorf("a file without a digest: %q, %v", got, err)
	}
	for name, want := range map[string]error{
		"stream": fault.ErrCorrupt, "empty": fault.ErrCorrupt, "nothing": fs.ErrNotExist, "../x": fault.ErrReservedName, "pointer": fault.ErrNotFetched,
	} {
		if _, err := read(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestDirFS(t *testing.T) {
	dir, _ := written(t, someFiles)
	fsys := dir.FS(t.Context())
	if err := fstest.TestFS(fsys, "a/b.txt", "empty", "stream"); err != nil {
		t.Error(err)
	}
	b, err := fs.ReadFile(fsys, "stream")
	if err != nil || string(b) != strings.Repeat("0123456789", 1000) {
		t.Errorf("stream: %d bytes, %v", len(b), err)
	}
	for _, name := range []string{"../item/empty", "/empty", "", "a/", "none"} {
		var pe *fs.PathError
		if _, err := fsys.ReadFile(name); !errors.As(err, &pe) {
			t.Errorf("ReadFile(%q): %v", name, err)
		}
		if f, err := fsys.Open(name); !errors.As(err, &pe) || f != nil {
			t.Errorf("Open(%q): %v, %v", name, f, err)
		}
	}
}

func TestReadDir(t *testing.T) {
	ctx := t.Context()
	dir, path := written(t, someFiles)
	if b, err := dir.ReadFile(ctx, "a/b.txt"); string(b) != "text" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	infos, err := dir.List(ctx, ".")
	if err != nil || len(infos) != 3 || infos[0].Name != "a" || !infos[0].Dir || infos[2].Size != 10_000 {
		t.Errorf("got %+v, %v; want the directory a, and two more of which the last has 10000 bytes", infos, err)
	}
	for _, name := range []string{"..", "../x", "/x", "", "a/../b"} {
		if _, err := dir.ReadFile(ctx, name); !errors.Is(err, fault.ErrReservedName) {
			t.Errorf("ReadFile(%q): %v", name, err)
		}
		if _, err := dir.List(ctx, name); !errors.Is(err, fault.ErrReservedName) {
			t.Errorf("List(%q): %v", name, err)
		}
	}
	if _, err := dir.ReadFile(ctx, "none"); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("a file that never was: %v", err)
	}
	// Change one of the files, and remove another.
	if err := os.WriteFile(filepath.Join(path, "empty"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(path, "a/b.txt")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"empty", "a/b.txt"} {
		if _, err := dir.ReadFile(ctx, name); !errors.Is(err, fault.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := dir.FS(ctx).ReadFile(name); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%s through FS: %v", name, err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := dir.ReadFile(cancelled, "stream"); !errors.Is(err, context.Canceled) || errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestWriteDirRefuses(t *testing.T) {
	written(t, func(ctx context.Context, dir *WriteDir) error {
		for _, name := range []string{"", ".", "..", "../x", "/x", "a/../../x", "a//b"} {
			if err := dir.WriteFile(ctx, name, nil); err == nil {
				t.Errorf("WriteFile(%q) works", name)
			}
			if w, err := dir.Create(ctx, name); err == nil {
				t.Errorf("Create(%q) works", name)
				w.Close()
			}
		}
		if err := dir.WriteFile(ctx, "twice", nil); err != nil {
			t.Error(err)
		}
		if err := dir.WriteFile(ctx, "twice", nil); !errors.Is(err, fs.ErrExist) {
			t.Errorf("the same file again: %v", err)
		}
		w, err := dir.Create(ctx, "closed")
		if err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := w.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("closed again: %v", err)
		}
		return nil
	})
}

type config struct {
	Name string    `json:"name"`
	LR   []float64 `json:"lr"`
}

func TestJSON(t *testing.T) {
	h := JSONHandler{}
	c := config{"é<", []float64{0.1, 1e-300}}
	want := map[string]any{"name": "é<", "lr": []any{0.1, 1e-300}}
	for _, v := range []any{JSON{c}, &JSON{&c}, json.RawMessage(`{"name": "é<", "lr": [0.1, 1e-300]}`), c} {
		if got, err := roundTrip(t, h, v, nil); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%T: %v, %v", v, got, err)
		}
		var into config
		target := JSON{&into}
		if got, err := roundTrip(t, h, v, target); err != nil || !reflect.DeepEqual(into, c) || !reflect.DeepEqual(got, target) {
			t.Errorf("%T: %v, %v", v, into, err)
		}
		var raw json.RawMessage
		if _, err := roundTrip(t, h, v, &raw); err != nil || !json.Valid(raw) {
			t.Errorf("%T: %s, %v", v, raw, err)
		}
	}
	for _, v := range []any{nil, JSON{}, (*JSON)(nil)} {
		if got, err := roundTrip(t, h, v, nil); got != nil || err != nil {
			t.Errorf("%#v: %v, %v", v, got, err)
		}
	}
	for _, v := range []any{JSON{math.NaN()}, JSON{make(chan int)}, json.RawMessage("{")} {
		if _, err := h.Save(t.Context(), v, SaveOptions{}); !errors.Is(err, fault.ErrLeafType) {
			t.Errorf("%v: %v", v, err)
		}
	}
	for _, target := range []any{JSON{}, JSON{config{}}, JSON{(*config)(nil)}, JSON{new(int)}} {
		if _, err := roundTrip(t, h, JSON{c}, target); !errors.Is(err, fault.ErrStructure) {
			t.Errorf("into %#v: %v", target, err)
		}
	}
}

// Documents of other writers have another file name, and words that only Python writes.
func TestJSONOfPython(t *testing.T) {
	file := func(name, doc string) *ReadDir {
		dir, _ := written(t, func(ctx context.Context, d *WriteDir) error { return d.WriteFile(ctx, name, []byte(doc)) })
		return dir
	}
	got, err := JSONHandler{}.Load(t.Context(), file("metadata", `{"a": NaN, "b": [-Infinity, 3, 2.0]}`), nil, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := got.(map[string]any)
	if nan, _ := m["a"].(float64); !math.IsNaN(nan) || !reflect.DeepEqual(m["b"], []any{math.Inf(-1), 3, 2.0}) {
		t.Errorf("got %v", got)
	}
	if _, err := (JSONHandler{}).Load(t.Context(), file("data.json", `{"a": `), nil, LoadOptions{}); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("half a document: %v", err)
	}
	if _, err := (JSONHandler{}).Load(t.Context(), file("other", ``), nil, LoadOptions{}); !errors.Is(err, fault.ErrInvalidCheckpoint) {
		t.Errorf("no document: %v", err)
	}
}

func TestProto(t *testing.T) {
	h := ProtoHandler{}
	m, err := structpb.NewStruct(map[string]any{"name": "é\n\"", "list": []any{1.5, true, nil}})
	if err != nil {
		t.Fatal(err)
	}
	var got structpb.Struct
	if _, err := roundTrip(t, h, m, &got); err != nil || !proto.Equal(&got, m) {
		t.Errorf("%v, %v", &got, err)
	}
	if _, err := roundTrip(t, h, m, nil); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("without a target: %v", err)
	}
	if _, err := roundTrip(t, h, m, &structpb.ListValue{}); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("into another message: %v", err)
	}
	if _, err := h.Save(t.Context(), 3, SaveOptions{}); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("a number: %v", err)
	}
}

// Programs may choose the file names of documents.
func TestDocumentFiles(t *testing.T) {
	ctx := t.Context()
	write, err := JSONHandler{File: "config.json"}.Save(ctx, JSON{7}, SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir, path := written(t, write)
	if doc, err := os.ReadFile(filepath.Join(path, "config.json")); err != nil || string(doc) != "7" {
		t.Errorf("%s, %v", doc, err)
	}
	if got, err := (JSONHandler{File: "config.json"}).Load(ctx, dir, nil, LoadOptions{}); err != nil || got != 7 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := (JSONHandler{}).Load(ctx, dir, nil, LoadOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the name: %v", err)
	}
	if write, err = (JSONHandler{}).Save(ctx, JSON{8}, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	dir, _ = written(t, write)
	if got, err := (JSONHandler{File: "config.json"}).Load(ctx, dir, nil, LoadOptions{}); err != nil || got != 8 {
		t.Errorf("under Orbax's name: %v, %v", got, err)
	}
	m := structpb.NewNumberValue(1.5)
	if write, err = (ProtoHandler{File: "message.txt"}).Save(ctx, m, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	dir, _ = written(t, write)
	var got structpb.Value
	if _, err := (ProtoHandler{File: "message.txt"}).Load(ctx, dir, &got, LoadOptions{}); err != nil || !proto.Equal(&got, m) {
		t.Errorf("%v, %v", &got, err)
	}
	for _, name := range []string{"a/b", "..", ".", "/", "\x00", `a\b`, "\xff", "_METADATA", strings.Repeat("n", 256)} {
		_, jerr := JSONHandler{File: name}.Save(ctx, JSON{1}, SaveOptions{})
		_, perr := ProtoHandler{File: name}.Save(ctx, m, SaveOptions{})
		if !errors.Is(jerr, fault.ErrReservedName) || !errors.Is(perr, fault.ErrReservedName) {
			t.Errorf("%q: %v, %v", name, jerr, perr)
		}
	}
}

func TestDatasetIterator(t *testing.T) {
	write, err := DatasetIteratorOf(&position{7}, 1, 2).SaveState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir, path := written(t, write)
	if _, err := os.Stat(filepath.Join(path, "process_1-of-2.json")); err != nil {
		t.Error(err)
	}
	var p position
	it := DatasetIteratorOf(&p, 1, 2)
	if got, err := (StatefulHandler{}).Load(t.Context(), dir, it, LoadOptions{}); err != nil || got != it || p.at != 7 {
		t.Errorf("%v, %v", p, err)
	}
	if err := DatasetIterator(&p).LoadState(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of another number of processes: %v", err)
	}
	for _, target := range []any{nil, 3} {
		if _, err := (StatefulHandler{}).Load(t.Context(), dir, target, LoadOptions{}); !errors.Is(err, fault.ErrStructure) {
			t.Errorf("into %v: %v", target, err)
		}
	}
}
