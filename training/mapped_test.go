package training_test

import (
	"context"
	"errors"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/training"
)

// What opens a step and closes it again refuses to map it: the arrays would be gone
// when the program reads them. Open maps.
func TestMappedRefused(t *testing.T) {
	ctx, root := t.Context(), t.TempDir()
	c, err := training.New(ctx, root, training.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	type weights = map[string]*array.Array
	w := array.Of(make([]float32, 1<<16))
	if _, err := c.Save(ctx, 1, weights{"w": w}); err != nil {
		t.Fatal(err)
	}
	item := map[string]any{"state": nil}
	for _, mapped := range []orbax.LoadCheckpointablesOption{orbax.Mapped(), orbax.MappedUnverified()} {
		reading := training.ReadOptions{Load: func(ctx context.Context, ck *orbax.Checkpoint) error {
			_, err := ck.Load(ctx, mapped)
			return err
		}}
		for name, f := range map[string]func() error{
			"New": func() error {
				_, err := training.New(ctx, root, training.Options{LoadOptions: []orbax.LoadCheckpointablesOption{mapped}})
				return err
			},
			"Load":                func() error { _, err := c.Load(ctx, 1, mapped); return err },
			"Load the newest":     func() error { _, err := c.Load(ctx, training.LatestStep, mapped); return err },
			"LoadInto":            func() error { return c.LoadInto(ctx, 1, &weights{}, mapped) },
			"LoadAbstract":        func() error { _, err := c.LoadAbstract(ctx, 1, weights{"w": w}, mapped); return err },
			"LoadCheckpointables": func() error { _, err := c.LoadCheckpointables(ctx, 1, item, mapped); return err },
			"Resume":              func() error { _, err := c.Resume(ctx, &weights{}, mapped); return err },
			"ResumeCheckpointables": func() error {
				_, err := c.ResumeCheckpointables(ctx, map[string]any{"state": &weights{}}, mapped)
				return err
			},
			"Latest": func() error { _, err := training.Latest(ctx, root, reading); return err },
			"Watch": func() error {
				for _, err := range training.Watch(ctx, root, reading) {
					return err
				}
				return nil
			},
		} {
			if err := f(); !errors.Is(err, orbax.ErrUsage) {
				t.Errorf("%s: %v", name, err)
			}
		}
		ck, err := c.Open(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ck.Load(ctx, mapped); err != nil {
			t.Errorf("through Open: %v", err)
		}
		if err := ck.Close(); err != nil {
			t.Error(err)
		}
	}
}
