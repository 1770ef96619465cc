package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/transform"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// model is a value of a type that is no pytree by itself.
type model struct{ w, b []float32 }

// modelHandler wraps the handler of pytrees: it stores a model as a pytree, and shows the
// leaf that is stored as "w" under the name "weight". It notes what was called.
type modelHandler struct {
	handler.PyTreeHandler
	calls map[string]int
}

func (modelHandler) Type() string            { return "test.model" }
func (modelHandler) CanSave(v any) bool      { _, ok := v.(*model); return ok }
func (modelHandler) CanLoad(target any) bool { _, ok := target.(*model); return ok }

func (h modelHandler) Save(ctx context.Context, v any, opts handler.SaveOptions) (handler.WriteFunc, error) {
	h.calls["Save"]++
	m := v.(*model)
	state := map[string]any{}
	for name, x := range map[string][]float32{"w": m.w, "b": m.b} {
		if x != nil {
			state[name] = x
		}
	}
	return h.PyTreeHandler.Save(ctx, state, opts)
}

func (h modelHandler) OpenTree(ctx context.Context, dir *handler.ReadDir, opts handler.OpenOptions) (*view.Tree, error) {
	h.calls["OpenTree"]++
	t, err := h.PyTreeHandler.OpenTree(ctx, dir, opts)
	if err != nil {
		return nil, err
	}
	var leaves []*view.Leaf
	for name, leaf := range t.Leaves() {
		if name == "w" {
			leaf = leaf.At(tree.Path{{Name: "weight"}})
		}
		leaves = append(leaves, leaf)
	}
	return view.New(t.Metadata().Format, leaves), nil
}

func (h modelHandler) Load(ctx context.Context, dir *handler.ReadDir, target any, opts handler.LoadOptions) (any, error) {
	h.calls["Load"]++
	m, ok := target.(*model)
	if !ok {
		return handler.LoadTree(ctx, h, dir, target, opts)
	}
	var params struct {
		W []float32 `orbax:"weight"`
		B []float32 `orbax:"b"`
	}
	_, err := handler.LoadTree(ctx, h, dir, &params, opts)
	m.w, m.b = params.W, params.B
	return m, err
}

func (h modelHandler) Metadata(ctx context.Context, dir *handler.ReadDir) (any, error) {
	return handler.TreeMetadata(ctx, h, dir)
}

// tableHandler stores a map[string]float64 as lines of text, and shows it as a tree.
type tableHandler struct{}

func (tableHandler) Type() string            { return "test.table" }
func (tableHandler) CanSave(v any) bool      { _, ok := v.(map[string]float64); return ok }
func (tableHandler) CanLoad(target any) bool { _, ok := target.(*map[string]float64); return ok }

func (tableHandler) Save(_ context.Context, v any, _ handler.SaveOptions) (handler.WriteFunc, error) {
	var b strings.Builder
	table := v.(map[string]float64)
	for _, name := range slices.Sorted(maps.Keys(table)) {
		fmt.Fprintln(&b, name, table[name])
	}
	return func(ctx context.Context, dir *handler.WriteDir) error {
		return dir.WriteFile(ctx, "table.txt", []byte(b.String()))
	}, nil
}

func (tableHandler) OpenTree(ctx context.Context, dir *handler.ReadDir, _ handler.OpenOptions) (*view.Tree, error) {
	text, err := dir.ReadFile(ctx, "table.txt")
	if err != nil {
		return nil, err
	}
	table := map[string]any{}
	for line := range strings.Lines(string(text)) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if table[name], err = strconv.ParseFloat(number, 64); err != nil {
			return nil, fmt.Errorf("%w: %s", orbax.ErrCorrupt, line)
		}
	}
	return view.Of(table)
}

func (h tableHandler) Load(ctx context.Context, dir *handler.ReadDir, target any, opts handler.LoadOptions) (any, error) {
	return handler.LoadTree(ctx, h, dir, target, opts)
}

func (h tableHandler) Metadata(ctx context.Context, dir *handler.ReadDir) (any, error) {
	return handler.TreeMetadata(ctx, h, dir)
}

func shownLeaves(m *view.TreeMetadata) (names []string) {
	for _, l := range m.Leaves {
		names = append(names, l.Path.String())
	}
	slices.Sort(names)
	return names
}

// TestWrappedPyTreeHandler checks that what is done with pytrees is done by a handler that
// wraps the standard one: it is asked for the tree, and its tree is what counts.
func TestWrappedPyTreeHandler(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "ckpt")
	h := modelHandler{calls: map[string]int{}}
	var r handler.Registry
	r.Add(h)
	own := orbax.Handlers(&r)
	saved := &model{[]float32{1, 2}, []float32{3}}
	if err := orbax.Save(ctx, path, saved, own); err != nil {
		t.Fatal(err)
	}
	if m, err := orbax.Metadata(ctx, path, own); err != nil || !slices.Equal(shownLeaves(m.Tree), []string{"b", "weight"}) || m.Handlers["state"] != "test.model" {
		t.Errorf("Metadata: %+v, %v; want the leaves b and weight", m, err)
	}
	var got model
	if err := orbax.LoadInto(ctx, path, &got, own); err != nil || !reflect.DeepEqual(&got, saved) {
		t.Errorf("LoadInto: %v, %v; want %v", got, err, saved)
	}
	isWeight := func(what string, v any, err error) {
		t.Helper()
		m, _ := v.(map[string]any)
		if a, ok := m["weight"].(*array.Array); err != nil || len(m) != 1 || !ok || !a.Equal(array.Of(saved.w)) {
			t.Errorf("%s: %v, %v; want the weight alone", what, v, err)
		}
	}
	v, err := orbax.Load(ctx, path, own, orbax.Select("weight"))
	isWeight("Select", v, err)
	v, err = orbax.Load(ctx, path, own, orbax.SelectFunc(func(m *view.LeafMetadata) bool { return m.Shape[0] == 2 }))
	isWeight("SelectFunc", v, err)
	v, err = orbax.Load(ctx, path, own, orbax.Transform(transform.Drop("b")))
	isWeight("Transform", v, err)
	if opened, err := orbax.Open(ctx, path); err != nil {
		t.Error(err)
	} else {
		defer opened.Close()
		if tr, err := opened.Tree(ctx, own); err != nil || !slices.Equal(shownLeaves(tr.Metadata()), []string{"b", "weight"}) {
			t.Errorf("Tree: %v", err)
		}
		// Without the handler it is the pytree that is stored.
		if tr, err := opened.Tree(ctx); err != nil || !slices.Equal(shownLeaves(tr.Metadata()), []string{"b", "w"}) {
			t.Errorf("Tree without the handler: %v", err)
		}
	}
	want, err := view.Of(map[string]any{"weight": saved.w, "b": saved.b})
	if err != nil {
		t.Fatal(err)
	}
	sum, _, err := want.Hash(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := orbax.Hash(ctx, path, own); err != nil || got != sum {
		t.Errorf("Hash: %v, %v; want %v", got, err, sum)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := orbax.Save(ctx, other, map[string]any{"weight": saved.w, "b": saved.b}); err != nil {
		t.Fatal(err)
	}
	if d, err := orbax.Diff(ctx, path, other, view.DiffOptions{}, own); err != nil || !d.Equal() {
		t.Errorf("Diff: %+v, %v; want none", d, err)
	}
	if err := orbax.Verify(ctx, path, own); err != nil {
		t.Errorf("Verify: %v", err)
	}
	for _, what := range []string{"Save", "Load", "OpenTree"} {
		if h.calls[what] == 0 {
			t.Errorf("%s was not called", what)
		}
	}
	// What is lost is damage, whichever handler has saved it.
	if err := os.Remove(filepath.Join(path, "state", "_METADATA")); err != nil {
		t.Fatal(err)
	}
	if _, err := orbax.Load(ctx, path, own); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("Load of a tree without its document: %v", err)
	}
	if err := orbax.Verify(ctx, path, own); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("Verify of a tree without its document: %v", err)
	}
}

// TestTreeHandlerOfItsOwnFormat checks that trees need not be stored as pytrees are.
func TestTreeHandlerOfItsOwnFormat(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "ckpt")
	var r handler.Registry
	r.Add(tableHandler{})
	own := orbax.Handlers(&r)
	if err := orbax.Save(ctx, path, map[string]float64{"a": 1.5, "b": 2}, own); err != nil {
		t.Fatal(err)
	}
	if v, err := orbax.Load(ctx, path, own); err != nil || !reflect.DeepEqual(v, map[string]any{"a": 1.5, "b": 2.0}) {
		t.Errorf("Load: %v, %v", v, err)
	}
	if v, err := orbax.Load(ctx, path, own, orbax.Select("b")); err != nil || !reflect.DeepEqual(v, map[string]any{"b": 2.0}) {
		t.Errorf("Select: %v, %v", v, err)
	}
	if m, err := orbax.Metadata(ctx, path, own); err != nil || !slices.Equal(shownLeaves(m.Tree), []string{"a", "b"}) {
		t.Errorf("Metadata: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := orbax.Save(ctx, other, map[string]any{"a": 1.5, "b": 3.0}); err != nil {
		t.Fatal(err)
	}
	if d, err := orbax.Diff(ctx, path, other, view.DiffOptions{}, own); err != nil || len(d.Trees["state"]) != 1 {
		t.Errorf("Diff: %+v, %v; want one leaf", d, err)
	}
	if err := orbax.Verify(ctx, path, own); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if err := partial.Save(ctx, filepath.Join(t.TempDir(), "parts"), map[string]float64{"a": 1}, own); !errors.Is(err, orbax.ErrLeafType) {
		t.Errorf("a part that is no pytree: %v, want ErrLeafType", err)
	}
	// Damage that no digest covers is found by the handler.
	for _, name := range []string{"digests.sha256", "go-orbax.handlers"} {
		if err := os.Remove(filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(path, "state", "table.txt"), []byte("a 1.5\nb two\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := orbax.Verify(ctx, path, own); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("Verify of a damaged table: %v, want ErrCorrupt", err)
	}
}

// TestFiles checks that the files of each checkpointable are read as they were written.
func TestFiles(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "ckpt")
	items := map[string]any{"state": map[string]any{"w": 1}, "config": handler.JSON{Value: map[string]any{"a": 1}}}
	if err := orbax.SaveCheckpointables(ctx, path, items); err != nil {
		t.Fatal(err)
	}
	ck, err := orbax.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ck.Files("config")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(path, "config", "data.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := files.ReadFile(ctx, "data.json"); err != nil || string(got) != string(want) {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}
	if entries, err := files.List(ctx, "."); err != nil || len(entries) != 1 || entries[0].Name != "data.json" {
		t.Errorf("listed %v, %v", entries, err)
	}
	for _, name := range []string{"", "none", "../state"} {
		var e *orbax.Error
		if _, err := ck.Files(name); !errors.Is(err, orbax.ErrNotExist) || !errors.As(err, &e) {
			t.Errorf("Files(%q): %v, want ErrNotExist", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(path, "config", "data.json"), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := files.ReadFile(ctx, "data.json"); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("a file that was changed: %v, want ErrCorrupt", err)
	}
	// A checkpoint that is one checkpointable itself has no name for it.
	flat, err := orbax.Open(ctx, filepath.Join(path, "state"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := flat.Files("state"); err != nil {
		t.Errorf("an item that was opened by its path: %v", err)
	}
	if err := ck.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ck.Files("config"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v, want fs.ErrClosed", err)
	}
}

// TestWrappedPartialSave checks that a handler that wraps the standard one takes part in
// partial saves: the leaves that count are those that it saves.
func TestWrappedPartialSave(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "ckpt")
	h := modelHandler{calls: map[string]int{}}
	var r handler.Registry
	r.Add(h)
	own := orbax.Handlers(&r)
	if err := partial.Save(ctx, path, &model{w: []float32{1, 2}}, own); err != nil {
		t.Fatal(err)
	}
	if err := partial.Save(ctx, path, &model{w: []float32{5}, b: []float32{6}}, own); !errors.Is(err, orbax.ErrKeyCollision) {
		t.Errorf("a leaf that another part has: %v, want ErrKeyCollision", err)
	}
	if err := partial.Save(ctx, path, &model{b: []float32{3}}, own); err != nil {
		t.Fatal(err)
	}
	if err := partial.Finalize(ctx, path); err != nil {
		t.Fatal(err)
	}
	if h.calls["Save"] != 3 {
		t.Errorf("Save was called %d times, want 3", h.calls["Save"])
	}
	if err := orbax.Verify(ctx, path); err != nil {
		t.Error(err)
	}
	// The finalized checkpoint is a pytree, which a registry can give to the handler.
	var all handler.Registry
	all.Add(h, handler.PyTreeHandler{}.Type())
	var got model
	if err := orbax.LoadInto(ctx, path, &got, orbax.Handlers(&all)); err != nil || !reflect.DeepEqual(got, model{[]float32{1, 2}, []float32{3}}) {
		t.Errorf("loaded %v, %v", got, err)
	}
}
