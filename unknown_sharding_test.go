package orbax_test

import (
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/sharding"
)

// No sharding is made up for what has none recorded. What is loaded is on the host, so
// that it stays a jax.Array when it is saved again, and so is what is saved lazily.
func TestUnknownSharding(t *testing.T) {
	dir := t.TempDir()
	on := sharding.SingleDevice("cuda:3")
	state := map[string]any{"jax": array.Of([]float32{1, 2}).WithSharding(on), "np": array.Of([]int16{3})}
	if err := orbax.Save(t.Context(), dir+"/ck", state); err != nil {
		t.Fatal(err)
	}
	f := readFiles(t, dir+"/ck").with("digests.sha256", nil)
	want := func(path string, in orbax.StoreOption, leaf, kind string, want *sharding.Sharding) {
		t.Helper()
		meta, err := orbax.Metadata(t.Context(), path, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range meta.Tree.Leaves {
			if m.Path.String() == leaf && (m.ValueType != kind || m.Sharding.String() != want.String() || (m.Sharding == nil) != (want == nil)) {
				t.Errorf("%s: %s on %v, want %s on %v", leaf, m.ValueType, m.Sharding, kind, want)
			}
		}
	}
	onDisk := orbax.In(nil)
	want("ckpt", f.in(), "jax", "jax.Array", on)
	none, other := f.with("state/_sharding", nil), f.with("state/_sharding", []byte("{}"))
	for i, in := range []orbax.StoreOption{none.in(), other.in()} {
		want("ckpt", in, "jax", "jax.Array", nil)
		want("ckpt", in, "np", "np.ndarray", nil)
		v, err := orbax.Load(t.Context(), "ckpt", in)
		if err != nil {
			t.Fatal(err)
		}
		again := dir + "/again" + string(rune('0'+i))
		if err := orbax.Save(t.Context(), again, v); err != nil {
			t.Fatal(err)
		}
		want(again, onDisk, "jax", "jax.Array", sharding.Host())
		ck, err := orbax.Open(t.Context(), "ckpt", in)
		if err != nil {
			t.Fatal(err)
		}
		defer ck.Close()
		tree, err := ck.Tree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		lazy, err := tree.Lazy(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := orbax.Save(t.Context(), again+"lazy", lazy); err != nil {
			t.Fatal(err)
		}
		want(again+"lazy", onDisk, "jax", "jax.Array", sharding.Host())
	}
}
