package training_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/training"
)

// A run has one store: whatever takes options refuses In for another, and does nothing.
func TestInRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, of := range map[string]storage.Store{"on the disk": nil, "in a store": mem.New()} {
		root := filepath.Join(t.TempDir(), "run")
		c := openRun(t, root, training.Options{Store: of})
		mustSave(t, c, 1, 2)
		other := mem.New()
		if err := orbax.Save(ctx, c.Path(1), stateOf(1), orbax.In(other)); err != nil {
			t.Fatal(err)
		}
		in, item := orbax.In(other), map[string]any{"state": stateOf(3)}
		for what, f := range map[string]func() error{
			"New, to save": func() error {
				_, err := training.New(ctx, root, training.Options{Store: of, SaveOptions: []orbax.SaveCheckpointablesOption{in}})
				return err
			},
			"New, to load": func() error {
				_, err := training.New(ctx, root, training.Options{Store: of, LoadOptions: []orbax.LoadCheckpointablesOption{in}})
				return err
			},
			"Latest": func() error {
				_, err := training.Latest(ctx, root, training.ReadOptions{Store: of, OpenOptions: []orbax.OpenOption{in}})
				return err
			},
			"Save":                     func() error { _, err := c.Save(ctx, 3, stateOf(3), in); return err },
			"SaveAsync":                func() error { _, err := c.SaveAsync(ctx, 3, stateOf(3), in); return err },
			"SaveCheckpointables":      func() error { _, err := c.SaveCheckpointables(ctx, 3, item, in); return err },
			"SaveCheckpointablesAsync": func() error { _, err := c.SaveCheckpointablesAsync(ctx, 3, item, in); return err },
			"Load":                     func() error { _, err := c.Load(ctx, 1, in); return err },
			"LoadInto":                 func() error { return c.LoadInto(ctx, 1, &runState{}, in) },
			"LoadAbstract":             func() error { _, err := c.LoadAbstract(ctx, 1, stateOf(1), in); return err },
			"LoadCheckpointables":      func() error { _, err := c.LoadCheckpointables(ctx, 1, nil, in); return err },
			"Metadata":                 func() error { _, err := c.Metadata(ctx, 1, in); return err },
			"CheckpointablesMetadata":  func() error { _, err := c.CheckpointablesMetadata(ctx, 1, in); return err },
			"Resume":                   func() error { _, err := c.Resume(ctx, &runState{}, in); return err },
			"ResumeCheckpointables":    func() error { _, err := c.ResumeCheckpointables(ctx, item, in); return err },
			"Delete":                   func() error { return c.Delete(ctx, 1, in) },
			"Delete of a part":         func() error { return c.Delete(ctx, 1, orbax.Name("state"), in) },
		} {
			var ours *training.Error
			if err := f(); !errors.Is(err, orbax.ErrUsage) || !errors.As(err, &ours) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		if is, err := orbax.IsCheckpoint(ctx, c.Path(1), in); !is {
			t.Errorf("%s: the checkpoint in the other store is gone: %v", name, err)
		}
		if err := c.Reload(ctx); err != nil || fmt.Sprint(listed(c)) != "[1 2]" {
			t.Errorf("%s: steps %v, %v", name, listed(c), err)
		}
	}
}

// ownItem is saved by ownHandler, which describes it as "mine".
type ownItem string

type ownHandler struct{}

func (ownHandler) Type() string       { return "test.Own" }
func (ownHandler) CanSave(v any) bool { _, ok := v.(ownItem); return ok }
func (ownHandler) CanLoad(any) bool   { return true }

func (ownHandler) Save(_ context.Context, v any, _ handler.SaveOptions) (handler.WriteFunc, error) {
	return func(ctx context.Context, w *handler.WriteDir) error {
		return w.WriteFile(ctx, "f", []byte(v.(ownItem)))
	}, nil
}

func (ownHandler) Load(ctx context.Context, d *handler.ReadDir, _ any, _ handler.LoadOptions) (any, error) {
	data, err := d.ReadFile(ctx, "f")
	return ownItem(data), err
}

func (ownHandler) Metadata(context.Context, *handler.ReadDir) (any, error) { return "mine", nil }

// The metadata of a step are read with the load options of the Checkpointer.
func TestLoadOptionsForMetadata(t *testing.T) {
	t.Parallel()
	registry := new(handler.Registry)
	registry.Add(ownHandler{})
	var stats orbax.Stats
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{
		SaveOptions: []orbax.SaveCheckpointablesOption{orbax.Handlers(registry)},
		LoadOptions: []orbax.LoadCheckpointablesOption{orbax.Handlers(registry), orbax.Cast(), orbax.Progress(func(orbax.Stats) {}), orbax.Report(&stats)},
	})
	if _, err := c.SaveCheckpointables(t.Context(), 1, map[string]any{"own": ownItem("x"), "state": stateOf(1)}); err != nil {
		t.Fatal(err)
	}
	m, err := c.CheckpointablesMetadata(t.Context(), 1)
	if err != nil || m.Checkpointables["own"] != "mine" {
		t.Errorf("all: %+v, %v", m, err)
	}
	m, err = c.Metadata(t.Context(), 1, orbax.Name("own"))
	if err != nil || m.Checkpointables["own"] != "mine" {
		t.Errorf("one: %+v, %v", m, err)
	}
}

// Options of the Checkpointer about filling a target do not affect what has none; options
// of the call are refused there.
func TestFillingWithoutTarget(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{LoadOptions: []orbax.LoadCheckpointablesOption{
		orbax.Cast(), orbax.PadOrTruncate(), orbax.Partial(),
	}})
	mustSave(t, c, 1)
	for what, read := range map[string]func(...orbax.LoadCheckpointablesOption) error{
		"Load": func(o ...orbax.LoadCheckpointablesOption) error {
			_, err := c.Load(ctx, 1, asLoadOptions(o)...)
			return err
		},
		"Metadata": func(o ...orbax.LoadCheckpointablesOption) error {
			_, err := c.Metadata(ctx, 1, asLoadOptions(o)...)
			return err
		},
		"CheckpointablesMetadata": func(o ...orbax.LoadCheckpointablesOption) error {
			_, err := c.CheckpointablesMetadata(ctx, 1, o...)
			return err
		},
		"LoadCheckpointables": func(o ...orbax.LoadCheckpointablesOption) error {
			_, err := c.LoadCheckpointables(ctx, 1, nil, o...)
			return err
		},
		"LoadCheckpointables by name": func(o ...orbax.LoadCheckpointablesOption) error {
			_, err := c.LoadCheckpointables(ctx, 1, map[string]any{"state": nil}, o...)
			return err
		},
	} {
		if err := read(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for _, o := range []orbax.LoadCheckpointablesOption{orbax.Cast(), orbax.PadOrTruncate(), orbax.Partial()} {
			if err := read(o); !errors.Is(err, orbax.ErrUsage) {
				t.Errorf("%s with an option of the call: %v", what, err)
			}
		}
	}
}

func asLoadOptions(options []orbax.LoadCheckpointablesOption) (all []orbax.LoadOption) {
	for _, o := range options {
		all = append(all, o)
	}
	return all
}

// A resume that leaves parts of the target as they are verifies a step as it would load it.
func TestPartialResumeFillsMissing(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	c := openRun(t, root, training.Options{SaveOptions: []orbax.SaveCheckpointablesOption{
		orbax.Storage(handler.StorageOptions{PlainFiles: true}),
	}})
	mustSave(t, c, 1)
	chunks, err := filepath.Glob(filepath.Join(c.Path(1), "state", "w", "c", "*"))
	if err != nil || len(chunks) == 0 {
		t.Fatal(chunks, err)
	}
	for _, file := range []string{chunks[0], filepath.Join(c.Path(1), "digests.sha256"), filepath.Join(c.Path(1), "state", "go-orbax.places")} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	var part struct {
		W []int32 `orbax:"w"`
	}
	for _, options := range [][]orbax.LoadOption{{orbax.FillMissing()}, {orbax.FillMissing(), orbax.Partial()}} {
		var target any = new(runState)
		if len(options) > 1 {
			target = &part
		}
		if step, err := c.Resume(t.Context(), target, options...); step != 1 || err != nil {
			t.Errorf("%d, %v", step, err)
		}
	}
}
