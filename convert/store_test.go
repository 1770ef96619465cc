package convert_test

import (
	"errors"
	"os"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage/mem"
)

// TestStores converts from one store of the program to another one, and to and from the
// local disk.
func TestStores(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, a, b := t.Context(), mem.New(), mem.New()
	orbaxtest.Must(t, orbax.Save(ctx, "run/1", map[string]any{"w": []float32{1, 2, 3}}, orbax.In(a)))
	want, err := orbax.Hash(ctx, "run/1", orbax.In(a))
	orbaxtest.Must(t, err)

	_, err = convert.Copy(ctx, "run/1", "copy", convert.Options{From: a, To: b})
	orbaxtest.Must(t, err)
	if _, err := convert.Copy(ctx, "run/1", "copy", convert.Options{From: a, To: b}); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("copied again: %v, want ErrExist", err)
	}
	if _, err := convert.ToSafetensors(ctx, "copy", "m.safetensors", convert.Options{From: b, To: b}); !errors.Is(err, orbax.ErrUsage) {
		t.Errorf("a safetensors file in a store: %v, want ErrUsage", err)
	}
	_, err = convert.ToSafetensors(ctx, "copy", "m.safetensors", convert.Options{From: b})
	orbaxtest.Must(t, err)
	_, err = convert.FromSafetensors(ctx, "m.safetensors", "imported", convert.Options{To: b})
	orbaxtest.Must(t, err)
	_, err = convert.Copy(ctx, "imported", "local", convert.Options{From: b})
	orbaxtest.Must(t, err)

	for _, c := range []struct {
		path string
		in   orbax.StoreOption
	}{{"copy", orbax.In(b)}, {"imported", orbax.In(b)}, {"local", orbax.In(nil)}} {
		if got, err := orbax.Hash(ctx, c.path, c.in); got != want || err != nil {
			t.Errorf("%s: digest %v, %v; want %v", c.path, got, err, want)
		}
	}
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) != 2 {
		t.Errorf("the disk has %v, %v; want local and m.safetensors", entries, err)
	}
}
