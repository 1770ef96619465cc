package cloud_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/training"
)

// uses are what programs do with a path of a store.
func uses(t *testing.T, store *object.Store) map[string]func() error {
	ctx, in := t.Context(), orbax.In(store)
	o := training.ReadOptions{Store: store}
	return map[string]func() error{
		"Save":                func() error { return orbax.Save(ctx, "run/1", stateOf(1), in) },
		"Save with Overwrite": func() error { return orbax.Save(ctx, "run/1", stateOf(1), in, orbax.Overwrite()) },
		"Open":                func() error { _, err := orbax.Open(ctx, "run/1", in); return err },
		"Load":                func() error { _, err := orbax.Load(ctx, "run/1", in); return err },
		"IsCheckpoint":        func() error { _, err := orbax.IsCheckpoint(ctx, "run/1", in); return err },
		"Verify":              func() error { return orbax.Verify(ctx, "run/1", in) },
		"Delete":              func() error { return orbax.Delete(ctx, "run/1", in) },
		"partial.Save":        func() error { return partial.Save(ctx, "model", stateOf(1), in) },
		"Latest":              func() error { _, err := training.Latest(ctx, "run", o); return err },
		"Latest of the root":  func() error { _, err := training.Latest(ctx, ".", o); return err },
		"Steps":               func() error { _, err := training.Steps(ctx, "run", o); return err },
		"New": func() error {
			c, err := training.New(ctx, "run", training.Options{Store: store})
			if err == nil {
				err = fmt.Errorf("New has succeeded: %w", c.Close())
			}
			return err
		},
		"New with a Mirror": func() error {
			c, err := training.New(ctx, t.TempDir(), training.Options{Mirror: training.Mirror{Root: "run", Store: store}})
			if err == nil {
				err = fmt.Errorf("New has succeeded: %w", c.Close())
			}
			return err
		},
	}
}

// A bucket that does not exist is an error that says so and what to do, at once, and never
// a checkpoint or a run that does not exist: a training would begin anew.
func TestMissingBucket(t *testing.T) {
	for _, c := range clouds {
		t.Run(c.name, func(t *testing.T) {
			b := c.open(t, c.start(t), "no-such-bucket")
			counted := &counting{Bucket: b}
			for what, use := range uses(t, object.New(counted, object.Options{})) {
				before := counted.n.Load()
				err := use()
				if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "there is no ") || !strings.Contains(err.Error(), "no-such-bucket") || !strings.Contains(err.Error(), "make it with") {
					t.Errorf("%s: got %v", what, err)
				}
				if n := counted.n.Load() - before; n == 0 || n > 6 {
					t.Errorf("%s: %d requests were made", what, n)
				}
			}
		})
	}
}

// Credentials that the service does not accept are an error of their own, too.
func TestWrongCredentials(t *testing.T) {
	for _, c := range clouds {
		t.Run(c.name, func(t *testing.T) {
			if c.stranger == nil {
				t.Skip("this server accepts all credentials")
			}
			addr := c.start(t)
			counted := &counting{Bucket: c.stranger(t, addr, c.newBucket(t, addr))}
			for what, use := range uses(t, object.New(counted, object.Options{})) {
				before := counted.n.Load()
				if err := use(); !errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: got %v", what, err)
				}
				if n := counted.n.Load() - before; n == 0 || n > 6 {
					t.Errorf("%s: %d requests were made", what, n)
				}
			}
		})
	}
}
