package orbax_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/view"
)

// TestDiffOfCheckpoints compares checkpoints of one and of several parts.
func TestDiffOfCheckpoints(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	n := 0
	save := func(parts map[string]any) string {
		t.Helper()
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		if err := orbax.SaveCheckpointables(ctx, path, parts); err != nil {
			t.Fatal(err)
		}
		return path
	}
	w := func(x float32) map[string]any { return map[string]any{"w": array.Of([]float32{x, 2}), "b": 1} }
	meta := func(text string) json.RawMessage { return json.RawMessage(text) }
	cases := []struct {
		a, b    map[string]any
		options []orbax.LoadOption
		want    string
	}{
		{map[string]any{"state": w(1)}, map[string]any{"state": w(1)}, nil, "true [] [] map[state:[]] map[] [] 2"},
		{map[string]any{"state": w(1)}, map[string]any{"model": w(3)}, nil, "false [] [] map[state:[w]] map[] [] 2"},
		{map[string]any{"x": w(1), "y": w(1)}, map[string]any{"y": w(3), "z": w(1)}, nil, "false [x] [z] map[y:[w]] map[] [] 2"},
		{map[string]any{"x": w(1), "y": w(1)}, map[string]any{"y": w(3), "x": w(1)}, []orbax.LoadOption{orbax.Name("x")}, "true [] [] map[x:[]] map[] [] 2"},
		{map[string]any{"x": w(1), "m": meta(`{"a":1, "b":[2]}`)}, map[string]any{"x": w(1), "m": meta(`{"b":[2],"a":1}`)}, nil,
			"true [] [] map[x:[]] map[m:false] [] 2"},
		{map[string]any{"x": w(1), "m": meta(`{"a":1}`)}, map[string]any{"x": w(1), "m": meta(`{"a":"1"}`)}, nil,
			"false [] [] map[x:[]] map[m:true] [] 2"},
		{map[string]any{"x": w(1), "m": meta(`{"a":1}`)}, map[string]any{"x": w(1), "m": w(1)}, nil, "false [m] [m] map[x:[]] map[] [] 2"},
	}
	for _, c := range cases {
		d, err := orbax.Diff(ctx, save(c.a), save(c.b), view.DiffOptions{}, c.options...)
		if err != nil {
			t.Errorf("%v and %v: %v", c.a, c.b, err)
			continue
		}
		trees := map[string][]string{}
		for name, leaves := range d.Trees {
			trees[name] = nil
			for _, l := range leaves {
				trees[name] = append(trees[name], l.Name)
			}
		}
		got := fmt.Sprint(d.Equal(), d.OnlyA, d.OnlyB, trees, d.Documents, d.Unknown, d.Leaves)
		if got != c.want {
			t.Errorf("%v and %v: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

// TestDiffNamesWhatCannotBeRead checks that an error tells which of the two it is
// about.
func TestDiffNamesWhatCannotBeRead(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	for _, path := range []string{good, bad} {
		if err := orbax.Save(ctx, path, map[string]any{"w": make([]float32, 10_000)}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(bad, "state", "d", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() < 40_000 {
			continue
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(f, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	missing := filepath.Join(dir, "missing")
	for _, c := range []struct {
		a, b, path string
		is         error
	}{{good, bad, bad, orbax.ErrCorrupt}, {bad, good, bad, orbax.ErrCorrupt}, {good, missing, missing, orbax.ErrNotExist}} {
		_, err := orbax.Diff(ctx, c.a, c.b, view.DiffOptions{})
		var of *orbax.Error
		if !errors.As(err, &of) || of.Path != c.path || !errors.Is(err, c.is) {
			t.Errorf("%v", err)
		}
	}
	d, err := orbax.Diff(ctx, good, bad, view.DiffOptions{MetadataOnly: true})
	if err != nil || !d.Equal() {
		t.Errorf("metadata only: %+v, %v", d, err)
	}
}
