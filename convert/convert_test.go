package convert

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
)

// TestRefuses checks that different errors are reported for things that cannot be
// converted, and that nothing is written.
func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	one, two, exists := filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "exists")
	for path, items := range map[string]map[string]any{
		one:    {"state": map[string]any{"w": array.Of([]float32{1}, 1)}},
		two:    {"a": map[string]any{"w": array.Of([]float32{1}, 1)}, "b": map[string]any{"w": array.Of([]float32{1}, 1)}},
		exists: {"state": map[string]any{"w": array.Of([]float32{1}, 1)}},
	} {
		if err := orbax.SaveCheckpointables(t.Context(), path, items); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "one.safetensors")
	if _, err := ToSafetensors(t.Context(), one, file, Options{}); err != nil {
		t.Fatal(err)
	}
	option := func(name string) func(error) bool {
		return func(err error) bool {
			var o *OptionError
			return errors.As(err, &o) && o.Option == name && errors.Is(err, orbax.ErrUsage)
		}
	}
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	type function = func(context.Context, string, string, Options) (*Report, error)
	for _, c := range []struct {
		name    string
		convert function
		src     string
		options Options
		fits    func(error) bool
	}{
		{"flat without tensors", Copy, one, Options{Flat: true}, option("Flat")},
		{"a separator without tensors", Copy, one, Options{Separator: "/"}, option("Separator")},
		{"flat and a separator", FromSafetensors, file, Options{Flat: true, Separator: "/"}, option("Separator")},
		{"flat to a file", ToSafetensors, one, Options{Flat: true}, option("Flat")},
		{"storage of a file", ToSafetensors, one, Options{Storage: handler.StorageOptions{Zarr2: true}}, option("Storage")},
		{"select of several", Copy, two, Options{Select: []string{"**"}}, func(err error) bool {
			var o *OptionError
			return errors.As(err, &o) && reflect.DeepEqual(o.Names, []string{"a", "b"})
		}},
		{"a file of several", ToSafetensors, two, Options{}, func(err error) bool {
			var n *NameError
			return errors.As(err, &n) && reflect.DeepEqual(n.Names, []string{"a", "b"}) && errors.Is(err, orbax.ErrUsage)
		}},
		{"no safetensors", FromSafetensors, one, Options{}, is(orbax.ErrInvalidCheckpoint)},
		{"nothing there", Copy, filepath.Join(dir, "none"), Options{}, is(orbax.ErrNotExist)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := filepath.Join(t.TempDir(), "x.safetensors")
			if _, err := c.convert(t.Context(), c.src, dst, c.options); !c.fits(err) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(dst); err == nil {
				t.Error("something was written")
			}
		})
	}
	t.Run("what exists", func(t *testing.T) {
		for dst, convert := range map[string]function{exists: Copy, file: ToSafetensors} {
			if _, err := convert(t.Context(), one, dst, Options{}); !errors.Is(err, orbax.ErrExist) {
				t.Errorf("%s: %v, want ErrExist", dst, err)
			}
			if _, err := convert(t.Context(), one, dst, Options{Overwrite: true}); err != nil {
				t.Errorf("%s: %v", dst, err)
			}
		}
	})
	t.Run("a context that has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := ToSafetensors(ctx, one, filepath.Join(dir, "y.safetensors"), Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want Canceled", err)
		}
	})
}
