package orbax_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/view"
)

// TestHashPicksAsLoad checks which pytree is hashed, and how much of it.
func TestHashPicksAsLoad(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	w := array.Of([]float32{1, 2})
	err := orbax.SaveCheckpointables(ctx, path, map[string]any{
		"model": map[string]any{"w": w, "b": 1}, "opt": map[string]any{"w": w}, "meta": json.RawMessage(`{}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := func(v any) view.Digest {
		of, err := view.Of(v)
		if err != nil {
			t.Fatal(err)
		}
		sum, _, err := of.Hash(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	for _, c := range []struct {
		options []orbax.LoadOption
		want    any
	}{
		{nil, map[string]any{"w": w, "b": 1}},
		{[]orbax.LoadOption{orbax.Name("opt")}, map[string]any{"w": w}},
		{[]orbax.LoadOption{orbax.Select("b")}, map[string]any{"b": 1}},
	} {
		if got, err := orbax.Hash(ctx, path, c.options...); err != nil || got != want(c.want) {
			t.Errorf("%v: %v, %v, want %v", c.want, got, err, want(c.want))
		}
	}
	if _, err := orbax.Hash(ctx, path, orbax.Name("meta")); !errors.Is(err, orbax.ErrStructure) {
		t.Errorf("a document: %v", err)
	}
	if _, err := orbax.Hash(ctx, path+"x"); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}

func ExampleHash() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "orbax")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	state := map[string]any{"w": []float32{1, 2, 3}, "step": 7}
	var sums [2]view.Digest
	for i, s := range []handler.StorageOptions{{}, {Zarr2: true, PlainFiles: true}} {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := orbax.Save(ctx, path, state, orbax.Storage(s)); err != nil {
			fmt.Println(err)
			return
		}
		if sums[i], err = orbax.Hash(ctx, path); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(sums[0], sums[0] == sums[1])
	// Output: orbax1:6467f94408f9e2eacbee4f5a1d3bc36cd550307ad5656d83be4c395a86d52546 true
}
