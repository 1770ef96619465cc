package interop

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/training"
)

// Bucket is an empty bucket.
type Bucket struct {
	URL string // the URL of its root, without a slash at the end
	object.Bucket
}

// Test saves and loads with Go and with the real Orbax, in both directions and in turns.
func Test(t *testing.T, py *Python, b Bucket) {
	t.Run("saves", func(t *testing.T) { pythonSaves(t, py, b) })
	t.Run("loads", func(t *testing.T) { pythonLoads(t, py, b) })
	t.Run("layouts", func(t *testing.T) { pythonLoadsLayouts(t, py, b) })
	t.Run("run", func(t *testing.T) { turns(t, py, b) })
	t.Run("shared", func(t *testing.T) { shared(t, py, b) })
}

// pythonSaves loads with Go what Python has saved.
func pythonSaves(t *testing.T, py *Python, b Bucket) {
	path := b.URL + "/py/step_1"
	py.must(t, "save", map[string]any{"path": path, "step": 1})
	goLoads(t, path, 1)

	// Without its marker it is not a checkpoint, for either side.
	b.remove(t, "py/step_1/commit_success.txt")
	if _, err := py.ask(t, "load", map[string]any{"path": path}); err == nil {
		t.Error("Python loads a checkpoint without commit_success.txt")
	}
	for name, err := range map[string]error{
		"Load":   func() error { _, err := orbax.Load(t.Context(), path); return err }(),
		"Verify": orbax.Verify(t.Context(), path),
	} {
		if !errors.Is(err, orbax.ErrIncomplete) || !strings.Contains(fmt.Sprint(err), "commit_success.txt") {
			t.Errorf("%s without commit_success.txt: got the error %v, want %v", name, err, orbax.ErrIncomplete)
		}
	}
	if err := orbax.Delete(t.Context(), path); err != nil {
		t.Errorf("Delete without commit_success.txt: %v", err)
	}
	if left := b.keys(t); len(left) > 0 {
		t.Errorf("after Delete these are left: %q", left)
	}
}

// pythonLoads loads with Python what Go has saved, and lets each replace what the other
// has saved.
func pythonLoads(t *testing.T, py *Python, b Bucket) {
	path := b.URL + "/go/step_2"
	if err := orbax.Save(t.Context(), path, state(2)); err != nil {
		t.Fatal(err)
	}
	isState(t, "loaded", py.must(t, "load", map[string]any{"path": path}).Tree, 2)
	if _, err := py.ask(t, "save", map[string]any{"path": path, "step": 3}); err == nil {
		t.Error("Python saves over a checkpoint of Go")
	}
	py.must(t, "save", map[string]any{"path": path, "step": 4, "overwrite": true})
	goLoads(t, path, 4)
	if err := orbax.Save(t.Context(), path, state(5), orbax.Overwrite()); err != nil {
		t.Fatal(err)
	}
	goLoads(t, path, 5)
	isState(t, "loaded after Go has replaced it", py.must(t, "load", map[string]any{"path": path}).Tree, 5)
}

// Layouts are those that Go saves.
var Layouts = map[string]handler.StorageOptions{
	"database": {}, "database of zarr 2": {Zarr2: true}, "files": {PlainFiles: true}, "files of zarr 2": {PlainFiles: true, Zarr2: true},
}

// pythonLoadsLayouts loads with Python every layout that Go saves.
func pythonLoadsLayouts(t *testing.T, py *Python, b Bucket) {
	for name, layout := range Layouts {
		path := b.URL + "/layouts/" + strings.ReplaceAll(name, " ", "_")
		if err := orbax.Save(t.Context(), path, state(6), orbax.Storage(layout)); err != nil {
			t.Fatal(err)
		}
		isState(t, name, py.must(t, "load", map[string]any{"path": path}).Tree, 6)
	}
}

// turns lets Python and Go train by turns in one root, and remove steps of each other.
func turns(t *testing.T, py *Python, b Bucket) {
	root := b.URL + "/run"
	keep := 1000 // steps
	python := func(save []int, load int, want ...int) {
		t.Helper()
		a := py.must(t, "run", map[string]any{"root": root, "save": append([]int{}, save...), "load": load, "keep": keep})
		if !slices.Equal(a.Steps, want) || a.Latest == nil || *a.Latest != want[len(want)-1] {
			t.Errorf("Python finds the steps %v, want %v", a.Steps, want)
		}
		isState(t, fmt.Sprint("step ", load), a.Tree, load)
	}
	golang := func(save []int, load int, want ...int) {
		t.Helper()
		c, err := training.New(t.Context(), root, training.Options{Preservation: training.LatestN{N: keep}})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range save {
			if saved, err := c.Save(t.Context(), step, state(step), training.Force()); !saved || err != nil {
				t.Fatalf("Go saves step %d: %v, %v", step, saved, errors.Join(err, c.Close()))
			}
		}
		tree, err := c.Load(t.Context(), load)
		if err := errors.Join(err, c.Close()); err != nil {
			t.Fatal(err)
		}
		if d := orbaxtest.Difference(tree, state(load)); d != "" {
			t.Errorf("step %d: %s", load, d)
		}
		steps, err := training.Steps(t.Context(), root, training.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, s := range steps {
			got = append(got, s.Step)
		}
		if !slices.Equal(got, want) {
			t.Errorf("Go finds the steps %v, want %v", got, want)
		}
	}
	python([]int{1, 2}, 2, 1, 2)
	golang([]int{3}, 2, 1, 2, 3)
	python([]int{4}, 3, 1, 2, 3, 4)
	golang([]int{5}, 4, 1, 2, 3, 4, 5)

	// A step without its marker is none, for either side.
	b.remove(t, "run/5/commit_success.txt")
	python(nil, 4, 1, 2, 3, 4)
	golang(nil, 1, 1, 2, 3, 4)

	// What is not kept goes without a rest, whoever has saved it.
	keep = 2
	python([]int{6}, 4, 4, 6)
	keep = 1
	golang([]int{7}, 7, 7)
	for _, key := range b.keys(t) {
		for _, step := range []string{"1", "2", "3", "4", "6"} {
			if strings.HasPrefix(key, "run/"+step+"/") {
				t.Errorf("the object %s of a removed step is left", key)
			}
		}
	}
}

// shared lets Python load a step with a data file that the service has copied from the step
// before, which is gone by then.
func shared(t *testing.T, py *Python, b Bucket) {
	root := b.URL + "/shared"
	c, err := training.New(t.Context(), root, training.Options{Preservation: training.LatestN{N: 1}})
	if err != nil {
		t.Fatal(err)
	}
	s := state(8)
	var files []string // the data files of each step
	for step := range 3 {
		s["step"] = step
		if _, err := c.Save(t.Context(), step, s); err != nil {
			t.Fatal(errors.Join(err, c.Close()))
		}
		for _, key := range b.keys(t) {
			if strings.HasPrefix(key, fmt.Sprintf("shared/%d/state/d/", step)) && b.size(t, key) > 1<<20 {
				files = append(files, path.Base(key))
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 || files[0] != files[1] || files[0] != files[2] {
		t.Errorf("the steps have the large data files %q, want the same three times", files)
	}
	for _, key := range b.keys(t) {
		if strings.HasPrefix(key, "shared/0/") || strings.HasPrefix(key, "shared/1/") {
			t.Errorf("%s of a removed step is left", key)
		}
	}
	if d := orbaxtest.Difference(py.must(t, "load", map[string]any{"path": root + "/2"}).Tree, described(s)); d != "" {
		t.Error(d)
	}
	if err := orbax.Verify(t.Context(), root+"/2"); err != nil {
		t.Error(err)
	}
}

// state returns a state with an array of several parts, small ones, and scalars.
func state(step int) map[string]any {
	w := make([]float32, 5<<20)
	for i := range w {
		w[i] = float32(i%1000003) + float32(step)
	}
	return map[string]any{
		"params": map[string]any{"w": array.Of(w, 5<<10, 1<<10), "b": array.Of([]int64{1, 2, int64(step)})},
		"step":   step, "name": "state",
	}
}

// described describes a state as the script does.
func described(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			m[k] = described(e)
		}
		return m
	case *array.Array:
		shape := strings.ReplaceAll(fmt.Sprint(v.Shape()), " ", ", ")
		return fmt.Sprintf("%s%s %x", v.DType(), shape, sha256.Sum256(v.Bytes()))
	case int:
		return float64(v) // as in JSON
	}
	return v
}

// isState fails the test unless Python has loaded the state of a step.
func isState(t *testing.T, what string, tree any, step int) {
	t.Helper()
	if d := orbaxtest.Difference(tree, described(state(step))); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

// goLoads fails the test unless Go verifies a checkpoint and loads the state of a step.
func goLoads(t *testing.T, path string, step int) {
	t.Helper()
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
	got, err := orbax.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if d := orbaxtest.Difference(got, state(step)); d != "" {
		t.Errorf("%s: %s", path, d)
	}
}

// remove removes an object.
func (b Bucket) remove(t *testing.T, key string) {
	t.Helper()
	if err := b.Delete(t.Context(), []object.Ref{{Key: key}}); err != nil {
		t.Fatal(err)
	}
}

// size returns the size of an object.
func (b Bucket) size(t *testing.T, key string) int64 {
	t.Helper()
	info, err := b.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size
}

// keys returns the keys of all objects.
func (b Bucket) keys(t *testing.T) (all []string) {
	t.Helper()
	for token := ""; ; {
		page, err := b.List(t.Context(), object.ListOptions{Flat: true, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			all = append(all, o.Key)
		}
		if token = page.Next; token == "" {
			return all
		}
	}
}
