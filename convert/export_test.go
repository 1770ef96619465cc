package convert_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// onOpen is a store that calls a function before it opens a file.
type onOpen struct {
	storage.Store
	f func()
}

func (s onOpen) Open(ctx context.Context, name string) (storage.Reader, error) {
	s.f()
	return s.Store.Open(ctx, name)
}

func (onOpen) Confined(string, bool) storage.Store { return nil }

func (onOpen) Snapshot(context.Context, string) (storage.Store, error) { return nil, nil }

// TestFileErrors checks that the errors of making a safetensors file begin with its path
// as it was given, match the errors of package orbax, and leave nothing behind.
func TestFileErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	m := mem.New()
	orbaxtest.Must(t, orbax.Save(t.Context(), "ck", map[string]any{"a": make([]float32, 1<<20)}, orbax.In(m)))
	orbaxtest.Must(t, os.Mkdir("out", 0o777))
	orbaxtest.Must(t, os.WriteFile("file", nil, 0o666))
	for _, c := range []struct {
		dst    string
		during func()
		is     error
	}{
		{"out/appears.safetensors", func() {
			if hidden, err := filepath.Glob("out/.appears*"); err == nil && len(hidden) == 1 {
				orbaxtest.Must(t, os.WriteFile("out/appears.safetensors", []byte("mine"), 0o666))
			}
		}, orbax.ErrExist},
		{"out/dir-appears.safetensors", func() {
			if hidden, err := filepath.Glob("out/.dir*"); err == nil && len(hidden) == 1 {
				orbaxtest.Must(t, os.MkdirAll("out/dir-appears.safetensors", 0o777))
			}
		}, orbax.ErrExist},
		{"file/x.safetensors", func() {}, nil},
		{"file/y/x.safetensors", func() {}, nil},
	} {
		_, err := convert.ToSafetensors(t.Context(), "ck", c.dst, convert.Options{From: onOpen{m, c.during}})
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.HasPrefix(err.Error(), c.dst+": ") || strings.Contains(err.Error(), "tmp-") {
			t.Errorf("%s: %v", c.dst, err)
		}
	}
	if mine, err := os.ReadFile("out/appears.safetensors"); err != nil || string(mine) != "mine" {
		t.Errorf("the file that appeared: %q, %v", mine, err)
	}
	if entries, err := os.ReadDir("out"); err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestSlashAtTheEnd makes a file at a path that ends with a slash.
func TestSlashAtTheEnd(t *testing.T) {
	t.Chdir(t.TempDir())
	m := mem.New()
	orbaxtest.Must(t, orbax.Save(t.Context(), "ck", map[string]any{"a": 1}, orbax.In(m)))
	dst := "new" + string(filepath.Separator) + "out.safetensors" + string(filepath.Separator)
	_, err := convert.ToSafetensors(t.Context(), "ck", dst, convert.Options{From: m})
	orbaxtest.Must(t, err)
	if _, err := convert.ToSafetensors(t.Context(), "ck", dst, convert.Options{From: m}); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("again: %v, want ErrExist", err)
	}
	_, err = convert.ToSafetensors(t.Context(), "ck", dst, convert.Options{From: m, Overwrite: true})
	orbaxtest.Must(t, err)
	if info, err := os.Stat("new/out.safetensors"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v, %v", info, err)
	}
}

// TestPerLeaf takes the way that the error of an unknown type names: a copy that converts
// single arrays.
func TestPerLeaf(t *testing.T) {
	m, file := mem.New(), filepath.Join(t.TempDir(), "x.safetensors")
	small, err := array.Of([]int8{1, -2}, 2).Cast(array.Int4)
	orbaxtest.Must(t, err)
	orbaxtest.Must(t, orbax.Save(t.Context(), "ck", map[string]any{"q": small, "n": []int64{1 << 40}}, orbax.In(m)))
	_, err = convert.ToSafetensors(t.Context(), "ck", file, convert.Options{From: m})
	if !errors.Is(err, orbax.ErrDType) || !strings.HasSuffix(err.Error(), "a Copy with Storage.PerLeaf converts single arrays of integers or floats") {
		t.Fatal(err)
	}
	o := convert.Options{From: m, To: m}
	o.Storage.PerLeaf = func(leaf string, a array.ShapeDtypeStruct, o handler.ArrayOptions) handler.ArrayOptions {
		if a.DType == array.Int4 {
			o.DType = array.Int8
		}
		return o
	}
	_, err = convert.Copy(t.Context(), "ck", "copy", o)
	orbaxtest.Must(t, err)
	_, err = convert.ToSafetensors(t.Context(), "copy", file, convert.Options{From: m})
	orbaxtest.Must(t, err)
	got, err := orbax.Load(t.Context(), file)
	orbaxtest.Must(t, err)
	state := got.(map[string]any)
	if q, n := state["q"].(*array.Array), state["n"].(*array.Array); q.DType() != array.Int8 || n.DType() != array.Int64 {
		t.Errorf("q is %v, n is %v", q.DType(), n.DType())
	}
}
