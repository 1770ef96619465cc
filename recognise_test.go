package orbax_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
)

// What is damaged, or cannot be read, must not be taken for a checkpoint that
// does not exist: a program would begin its training anew.
func TestDamageIsNotAbsence(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, path string)
		want   error
		opens  bool // the damage is in a part
	}{
		"lost metadata": {remove("_CHECKPOINT_METADATA"), orbax.ErrCorrupt, false},
		"lost part":     {remove("state"), orbax.ErrCorrupt, false},
		"lost part, foreign": {func(t *testing.T, path string) {
			remove("digests.sha256")(t, path)
			remove("state")(t, path)
		}, orbax.ErrCorrupt, false},
		"lost tree, foreign": {func(t *testing.T, path string) {
			remove("digests.sha256")(t, path)
			remove("state/_METADATA")(t, path)
		}, orbax.ErrCorrupt, true},
		"empty metadata and a lost part": {func(t *testing.T, path string) {
			remove("state")(t, path)
			writeFile(t, filepath.Join(path, "_CHECKPOINT_METADATA"), "")
		}, orbax.ErrCorrupt, false},
		"tree that went astray": {func(t *testing.T, path string) {
			if err := os.Rename(filepath.Join(path, "state", "_METADATA"), filepath.Join(path, "_METADATA")); err != nil {
				t.Fatal(err)
			}
		}, orbax.ErrCorrupt, true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			path := filepath.Join(t.TempDir(), "ckpt")
			if err := orbax.Save(ctx, path, map[string]any{"a": 1}); err != nil {
				t.Fatal(err)
			}
			c.damage(t, path)
			_, lerr := orbax.Load(ctx, path)
			for what, err := range map[string]error{"Load": lerr, "Verify": orbax.Verify(ctx, path)} {
				if !errors.Is(err, c.want) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if is, err := orbax.IsCheckpoint(ctx, path); is != c.opens || (err == nil) != c.opens {
				t.Errorf("IsCheckpoint: %v, %v", is, err)
			}
		})
	}
	if is, err := orbax.IsCheckpoint(t.Context(), "nowhere://bucket/ckpt"); is || !errors.Is(err, orbax.ErrUnsupported) {
		t.Errorf("IsCheckpoint of an unknown scheme: %v, %v", is, err)
	}
}

func TestSaveInsideACheckpoint(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	if err := orbax.Save(ctx, path, 1); err != nil {
		t.Fatal(err)
	}
	for _, inner := range []string{"inner", "state/inner", "state/d/x/y"} {
		for _, options := range [][]orbax.SaveOption{nil, {orbax.Overwrite()}} {
			err := orbax.Save(ctx, filepath.Join(path, inner), 1, options...)
			if !errors.Is(err, orbax.ErrInvalidCheckpoint) {
				t.Errorf("save to %s: %v", inner, err)
			}
		}
	}
	if err := orbax.Verify(ctx, path); err != nil {
		t.Error(err)
	}
}

type counter struct{ N int }

func (c *counter) SaveState(context.Context) (handler.WriteFunc, error)      { return nil, nil }
func (c *counter) LoadState(ctx context.Context, dir *handler.ReadDir) error { return nil }

func TestStatefulMisuse(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	err := orbax.SaveCheckpointables(ctx, path, map[string]any{"it": counter{1}})
	if !errors.Is(err, orbax.ErrLeafType) {
		t.Errorf("by value: %v", err)
	}
	err = orbax.SaveCheckpointables(ctx, path, map[string]any{"it": &counter{1}})
	if !errors.Is(err, orbax.ErrUnsupported) {
		t.Errorf("without a function that writes: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

// A target of the wrong kind is told what the part is.
func TestWrongKindOfTarget(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	if err := orbax.SaveCheckpointables(ctx, path, map[string]any{"config": handler.JSON{Value: map[string]int{"a": 1}}}); err != nil {
		t.Fatal(err)
	}
	var config struct{ A int }
	_, err := orbax.LoadCheckpointables(ctx, path, map[string]any{"config": &config})
	if !errors.Is(err, orbax.ErrStructure) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a struct for a JSON document: %v", err)
	}
}

// seat is an iterator that could be taken for a pytree of its fields.
type seat struct{ N int }

func (s *seat) State() ([]byte, error)  { return json.Marshal(s) }
func (s *seat) SetState(b []byte) error { return json.Unmarshal(b, s) }

func TestIteratorsAreNoPyTrees(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	path := filepath.Join(dir, "tree")
	for text, v := range map[string]any{
		"a *orbax_test.seat is a handler.Iterator; wrap it in handler.DatasetIterator":        &seat{7},
		"a *orbax_test.seat is a handler.Iterator; wrap a pointer in handler.DatasetIterator": seat{7},
	} {
		err := orbax.SaveCheckpointables(ctx, path, map[string]any{"data": v})
		if !errors.Is(err, orbax.ErrLeafType) || !strings.Contains(err.Error(), text) {
			t.Errorf("%T: %v", v, err)
		}
		if err := orbax.Save(ctx, path, v); !errors.Is(err, orbax.ErrLeafType) || !strings.Contains(err.Error(), text) {
			t.Errorf("Save of %T: %v", v, err)
		}
	}
	r := &handler.Registry{}
	r.Bind("data", handler.PyTreeHandler{})
	if err := orbax.SaveCheckpointables(ctx, path, map[string]any{"data": &seat{7}}, orbax.Handlers(r)); err != nil {
		t.Fatal(err)
	}
	for text, target := range map[string]any{
		"it was saved as a pytree, and not as the position of an iterator; wrap the iterator in handler.DatasetIterator when it is saved, too": handler.DatasetIterator(&seat{}),
		"it was saved as a pytree, and a *orbax_test.counter loads only what its SaveState has written":                                        &counter{},
		"it was saved as a pytree, and not as JSON; give a pointer to the value itself as the target":                                          handler.JSON{Value: &seat{}},
	} {
		_, err := orbax.LoadCheckpointables(ctx, path, map[string]any{"data": target})
		if !errors.Is(err, orbax.ErrStructure) || !strings.Contains(err.Error(), `checkpointable "data": structure mismatch: `+text) {
			t.Errorf("%T: %v\nwant %s", target, err, text)
		}
	}
	path = filepath.Join(dir, "iterator")
	if err := orbax.SaveCheckpointables(ctx, path, map[string]any{"data": handler.DatasetIterator(&seat{7})}); err != nil {
		t.Fatal(err)
	}
	_, err := orbax.LoadCheckpointables(ctx, path, map[string]any{"data": &seat{}})
	if !errors.Is(err, orbax.ErrStructure) || !strings.Contains(err.Error(), "use a handler.Stateful, such as handler.DatasetIterator(it)") {
		t.Errorf("an iterator that is not wrapped: %v", err)
	}
}

// An export beside the steps of a run does not make the run's directory one of
// safetensors files.
func TestRunDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := orbax.Save(t.Context(), filepath.Join(dir, "step_1"), map[string]any{"w": []float32{1}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "export.safetensors"), []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := orbax.Load(t.Context(), dir)
	if !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.Contains(err.Error(), "give the path of one of them: step_1") {
		t.Errorf("got %v", err)
	}
}
