package partial_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/tree"
)

// The helpers of all tests, by the short names that they have here.
var (
	must  = orbaxtest.Must
	names = orbaxtest.Names
)

// large returns numbers that take several pages.
func large(from int) []float32 {
	w := make([]float32, 3000)
	for i := range w {
		w[i] = float32(from + i)
	}
	return w
}

// threeParts returns parts with every kind of leaf, and the tree that they make.
func threeParts() (parts []map[string]any, whole map[string]any) {
	a, b, c := large(1), large(2), []int32{1, 2, 3}
	return []map[string]any{
			{"params": map[string]any{"a": a}, "name": "first", "list": []any{1, "two", nil}},
			{"params": map[string]any{"b": b, "name": "second"}, "empty": map[string]any{}},
			{"c": c, "step": 7, "bytes": []byte("raw"), "z": complex(1, 2), "none": nil},
		}, map[string]any{
			"params": map[string]any{"a": a, "b": b, "name": "second"}, "name": "first", "list": []any{1, "two", nil},
			"empty": map[string]any{}, "c": c, "step": 7, "bytes": []byte("raw"), "z": complex(1, 2), "none": nil,
		}
}

// wantSame fails the test unless the checkpoint at path equals one that was saved from
// whole at once.
func wantSame(t *testing.T, path string, whole any, in ...orbax.StoreOption) {
	t.Helper()
	leaves, err := tree.Flatten(whole)
	must(t, err)
	want, err := tree.Build(leaves)
	must(t, err)
	must(t, orbax.Verify(t.Context(), path, config.Convert[orbax.VerifyOption](in)...))
	got, err := orbax.Load(t.Context(), path, config.Convert[orbax.LoadOption](in)...)
	must(t, err)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "ck")
	parts, whole := threeParts()
	for i, p := range parts {
		must(t, partial.Save(ctx, path, p, orbax.CustomMetadata(map[string]any{
			"last": i, "of": map[string]any{fmt.Sprint(i): i},
		})))
		s, err := partial.Open(ctx, path+".partial_save")
		must(t, err)
		if len(s.Parts) != i+1 || s.Path != path || s.Parts[i].Bytes == 0 || s.Parts[i].Saved.IsZero() || len(s.Parts[i].Keys) == 0 {
			t.Errorf("got session %+v, want %d parts at %s, all with bytes, a time and keys", s, i+1, path)
		}
	}
	if _, err := orbax.Load(ctx, path); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("before Finalize: %v", err)
	}
	must(t, partial.Save(ctx, filepath.Join(dir, "new", "other"), map[string]any{"x": 1}))
	all, err := partial.Sessions(ctx, filepath.Join(dir, "new"))
	must(t, err)
	if len(all) != 2 || all[0].Path != path || len(all[1].Parts) != 1 {
		t.Errorf("sessions %+v", all)
	}
	must(t, partial.Abort(ctx, all[1].Path))
	must(t, partial.Finalize(ctx, path))
	if got := names(t, filepath.Join(dir, "new")); !slices.Equal(got, []string{"ck"}) {
		t.Errorf("left %q", got)
	}
	wantSame(t, path, whole)
	meta, err := orbax.Metadata(ctx, path)
	must(t, err)
	want := map[string]any{"last": 2, "of": map[string]any{"0": 0, "1": 1, "2": 2}}
	if !reflect.DeepEqual(meta.Custom, want) {
		t.Errorf("custom metadata %v", meta.Custom)
	}
	must(t, partial.Finalize(ctx, path)) // nothing is left to do
	if err := partial.Abort(ctx, path); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("Abort when it is done: %v", err)
	}
}

// The leaves of the first part are checked as those of later ones are.
func TestCollisionInFirstPart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ck")
	err := partial.Save(t.Context(), path, map[string]any{"a": nil, "a/": nil, "b": 1})
	if !errors.Is(err, orbax.ErrKeyCollision) {
		t.Errorf("got %v, want ErrKeyCollision", err)
	}
	if sessions, err := partial.Sessions(t.Context(), filepath.Dir(path)); err != nil || len(sessions) > 0 {
		t.Errorf("the sessions are %v, %v", sessions, err)
	}
	must(t, partial.Save(t.Context(), path, map[string]any{"a": nil, "b": 1}))
	must(t, partial.Finalize(t.Context(), path))
}

func TestCollisions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ck")
	must(t, partial.Save(ctx, path, map[string]any{
		"a": map[string]any{"b": 1, "text": "t"}, "l": []any{1}, "s": "string", "x/y": "deep", "e": map[string]any{},
	}))
	for _, c := range []struct {
		state any
		bad   []string
	}{
		{map[string]any{"a": map[string]any{"b": 1}}, []string{"a.b"}},
		{map[string]any{"a": map[string]any{"text": 1, "b": "s", "new": 1}}, []string{"a.b", "a.text"}},
		{map[string]any{"a": 1}, []string{"a"}},
		{map[string]any{"a": map[string]any{}}, []string{"a"}},
		{map[string]any{"s": map[string]any{"below": 1}, "e": map[string]any{"below": 1}}, []string{"e.below", "s.below"}},
		{map[string]any{"l": []any{1, 2}}, []string{"l.0"}},
		{map[string]any{"l": map[string]any{"x": 2}}, []string{"l.x"}},
		{map[string]any{"a.b": 1}, []string{"a.b"}},
		{map[string]any{"x": "string"}, []string{"x"}},
		{map[string]any{"x/y/z": "string"}, []string{"x/y/z"}},
		{[]float32{1}, []string{""}},
	} {
		err := partial.Save(ctx, path, c.state)
		var e *orbax.Error
		if !errors.Is(err, orbax.ErrKeyCollision) || !errors.As(err, &e) {
			t.Errorf("%v: %v", c.state, err)
			continue
		}
		var bad []string
		for _, l := range e.Leaves() {
			bad = append(bad, l.Path)
		}
		if !slices.Equal(bad, c.bad) && !(len(c.bad) == 1 && slices.Contains(bad, c.bad[0])) {
			t.Errorf("%v: refused %q, want %q: %v", c.state, bad, c.bad, err)
		}
	}
	must(t, partial.Save(ctx, path, map[string]any{"a": map[string]any{"new": 1}, "x": 1}))
	must(t, partial.Finalize(ctx, path))
	must(t, orbax.Verify(ctx, path))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	state := map[string]any{"x": 1}
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"overwrite":       {partial.Save(ctx, path, state, orbax.Overwrite()), orbax.ErrUsage},
		"list of custom":  {partial.Save(ctx, path, state, orbax.CustomMetadata([]int{1})), orbax.ErrUsage},
		"json":            {partial.Save(ctx, path, handler.JSON{Value: 1}), orbax.ErrLeafType},
		"empty":           {partial.Save(ctx, path, map[string]any{}), orbax.ErrStructure},
		"leaf":            {partial.Save(ctx, path, map[string]any{"x": make(chan int)}), orbax.ErrLeafType},
		"no name":         {partial.Save(ctx, dir+"/.partial_save", state), orbax.ErrReservedName},
		"no session":      {partial.Finalize(ctx, path), orbax.ErrNotExist},
		"nothing to drop": {partial.Abort(ctx, path), orbax.ErrNotExist},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	if _, err := partial.Open(ctx, path); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("left %q", got)
	}
	must(t, partial.Save(ctx, path, state))
	must(t, orbax.Save(ctx, path, map[string]any{"y": 2}))
	for name, err := range map[string]error{
		"save over a checkpoint":     partial.Save(ctx, path, map[string]any{"z": 1}),
		"finalize over a checkpoint": partial.Finalize(ctx, path),
	} {
		if !errors.Is(err, orbax.ErrExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s, err := partial.Open(ctx, path); err != nil || len(s.Parts) != 1 {
		t.Errorf("the session has %+v, %v", s, err)
	}
	must(t, os.RemoveAll(path))
	must(t, os.WriteFile(path, nil, 0o666))
	if err := partial.Finalize(ctx, path); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	must(t, os.RemoveAll(path))
	must(t, os.WriteFile(filepath.Join(path+".partial_save", "notes.txt"), nil, 0o666))
	if err := partial.Finalize(ctx, path); !errors.Is(err, orbax.ErrUnsupported) || !strings.Contains(err.Error(), "notes.txt") {
		t.Errorf("with a file of somebody else: %v", err)
	}
	before := names(t, path+".partial_save")
	if err := partial.Abort(ctx, path); !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.Contains(err.Error(), "notes.txt") {
		t.Errorf("abort with a file of somebody else: %v", err)
	}
	if got := names(t, path+".partial_save"); !slices.Equal(got, before) {
		t.Errorf("left %q of %q", got, before)
	}
	must(t, os.Remove(filepath.Join(path+".partial_save", "notes.txt")))
	must(t, partial.Abort(ctx, path))
	if got := names(t, dir); len(got) > 0 {
		t.Errorf("left %q", got)
	}
	must(t, os.Mkdir(path+".partial_save", 0o777)) // a first save that dies may leave this
	if err := partial.Finalize(ctx, path); !errors.Is(err, orbax.ErrStructure) {
		t.Errorf("a session without parts: %v", err)
	}
	must(t, partial.Save(ctx, path, state))
	must(t, partial.Finalize(ctx, path))
	wantSame(t, path, state)
}

// Finalize refuses a part with damaged documents, and nothing is lost.
func TestDamagedPart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, file := range []string{"state/_METADATA", "state/_strings.json", "state/_sharding", "_CHECKPOINT_METADATA", "state/ocdbt.process_0/manifest.ocdbt"} {
		path := filepath.Join(t.TempDir(), "ck")
		must(t, partial.Save(ctx, path, map[string]any{"x": 1, "s": "string"}))
		name := filepath.Join(path+".partial_save", names(t, path+".partial_save")[0], file)
		b, err := os.ReadFile(name)
		must(t, err)
		b[len(b)/2] ^= 1
		must(t, os.WriteFile(name, b, 0o666))
		if err := partial.Finalize(ctx, path); !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("%s: %v", file, err)
		}
		b[len(b)/2] ^= 1
		must(t, os.WriteFile(name, b, 0o666))
		must(t, partial.Finalize(ctx, path))
	}
}

// Parts that are stored in different ways become one tree without a copy. A save refuses
// a part that Orbax could not load beside the others, and the session does not change.
func TestForms(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	files, zarr2 := handler.StorageOptions{PlainFiles: true}, handler.StorageOptions{Zarr2: true}
	both := handler.StorageOptions{PlainFiles: true, Zarr2: true}
	for i, c := range []struct {
		forms   []handler.StorageOptions
		refused int // index of the refused part
	}{
		{[]handler.StorageOptions{files, files}, -1},
		{[]handler.StorageOptions{{}, files, {}}, -1},
		{[]handler.StorageOptions{zarr2, zarr2}, -1},
		{[]handler.StorageOptions{zarr2, both}, -1},
		{[]handler.StorageOptions{zarr2, {}, both}, 1},
		{[]handler.StorageOptions{{}, zarr2}, 1},
		{[]handler.StorageOptions{files, {}, both}, 2},
	} {
		path := filepath.Join(t.TempDir(), "ck")
		// A part without arrays may be beside any format.
		must(t, partial.Save(ctx, path, map[string]any{"none": nil, "name": "n"}, orbax.Storage(handler.StorageOptions{Zarr2: i%2 == 0})))
		whole := map[string]any{"none": nil, "name": "n"}
		for j, form := range c.forms {
			key := fmt.Sprint("w", j)
			err := partial.Save(ctx, path, map[string]any{key: large(j)}, orbax.Storage(form))
			if j == c.refused {
				if !errors.Is(err, orbax.ErrUnsupported) || !strings.Contains(err.Error(), "part ck.partial_save.pending_") {
					t.Errorf("%d: part %d: %v", i, j, err)
				}
				continue
			}
			must(t, err)
			whole[key] = large(j)
		}
		must(t, partial.Save(ctx, path, map[string]any{"text": "t"}, orbax.Storage(zarr2)))
		whole["text"] = "t"
		must(t, partial.Finalize(ctx, path))
		wantSame(t, path, whole)
	}
}

// Two parts that are saved at the same time are also compared with each other.
func TestFormsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	first, err := partial.SaveAsync(t.Context(), path, map[string]any{"a": 1})
	must(t, err)
	second, err := partial.SaveAsync(t.Context(), path, map[string]any{"b": 2}, orbax.Storage(handler.StorageOptions{Zarr2: true}))
	if err == nil {
		err = second.Result(t.Context())
	}
	if !errors.Is(err, orbax.ErrUnsupported) {
		t.Errorf("the second part: %v", err)
	}
	err = first.Result(t.Context())
	must(t, err)
	must(t, partial.Finalize(t.Context(), path))
}

// For a session with parts in two formats, as saves by Orbax leave it, the error names
// the parts. The session can be finalized once the parts of one format are gone.
func TestFormsInSession(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "ck"), filepath.Join(dir, "other", "ck")
	must(t, partial.Save(t.Context(), path, map[string]any{"a": 1}))
	must(t, partial.Save(t.Context(), other, map[string]any{"b": 2}, orbax.Storage(handler.StorageOptions{Zarr2: true})))
	stray := names(t, other+".partial_save")[0]
	must(t, os.CopyFS(filepath.Join(path+".partial_save", stray), os.DirFS(filepath.Join(other+".partial_save", stray))))
	err := partial.Finalize(t.Context(), path)
	if !errors.Is(err, orbax.ErrUnsupported) || !strings.Contains(err.Error(), "format 2 in "+stray) {
		t.Errorf("Finalize: %v", err)
	}
	must(t, os.RemoveAll(filepath.Join(path+".partial_save", stray)))
	must(t, partial.Finalize(t.Context(), path))
	wantSame(t, path, map[string]any{"a": 1})
}

// The data of the parts is in the checkpoint without having been copied.
func TestNoCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	must(t, partial.Save(t.Context(), path, map[string]any{"w": large(1)}))
	var before []os.FileInfo
	err := filepath.WalkDir(path+".partial_save", func(name string, d fs.DirEntry, err error) error {
		if info, ierr := d.Info(); err == nil && ierr == nil && info.Size() > 8000 {
			before = append(before, info)
		}
		return err
	})
	must(t, err)
	must(t, partial.Finalize(t.Context(), path))
	same := 0
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if info, ierr := d.Info(); ierr == nil && slices.ContainsFunc(before, func(b os.FileInfo) bool { return os.SameFile(b, info) }) {
			same++
		}
		return err
	})
	must(t, err)
	if len(before) == 0 || same != len(before) {
		t.Errorf("%d of %d large files are the same", same, len(before))
	}
}

func TestContextEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	must(t, partial.Save(t.Context(), path, map[string]any{"x": 1}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"save":     partial.Save(ctx, path, map[string]any{"y": 1}),
		"finalize": partial.Finalize(ctx, path),
		"abort":    partial.Abort(ctx, path),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, partial.Finalize(t.Context(), path))
}
