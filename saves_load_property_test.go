package orbax_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/zarr"
)

// anyText draws strings and names, also those that no document can hold.
func anyText(rt *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.StringN(0, 6, -1),
		rapid.SampledFrom([]string{"", ".", "..", "/", "a/", "//", "~", "~0", "a~1b", "\x00", "\xff", "\xed\xa0\x80", "\ufffd", "_METADATA", "c/0", "zarr.json", "a.b", "0", "-1", "'\"\\\n", "日本"}),
	).Draw(rt, label)
}

// anyLeaf draws a leaf, also one that cannot be stored.
func anyLeaf(rt *rapid.T) any {
	switch rapid.IntRange(0, 9).Draw(rt, "leaf") {
	case 0:
		return anyText(rt, "text")
	case 1:
		return rapid.SampledFrom([]any{1, int8(-1), uint(7), uint64(math.MaxUint64), 0.5, float32(2), true, nil, math.NaN(), 1i, tree.None, tree.EmptyTuple, func() {}}).Draw(rt, "scalar")
	case 2:
		return rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(rt, "bytes")
	case 3:
		key, err := array.PRNGKey(rapid.SampledFrom([]string{"threefry2x32", "evil", "\xff"}).Draw(rt, "generator"), array.Of([]uint32{1, 2}))
		if err != nil {
			rt.Fatal(err)
		}
		return key
	}
	shape := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 3).Draw(rt, "shape")
	if rapid.IntRange(0, 9).Draw(rt, "rank") == 0 {
		shape = make([]int, rapid.SampledFrom([]int{31, 32, 33, 65}).Draw(rt, "axes"))
		for i := range shape {
			shape[i] = 1
		}
	}
	d := array.DType(rapid.IntRange(int(array.Bool), int(array.Complex128)).Draw(rt, "dtype"))
	n, err := array.NumElements(shape)
	if err != nil {
		rt.Fatal(err)
	}
	a, err := array.New(d, shape, rapid.SliceOfN(rapid.Byte(), n*d.Size(), n*d.Size()).Draw(rt, "elements"))
	if err != nil {
		rt.Fatal(err)
	}
	switch rapid.IntRange(0, 3).Draw(rt, "kind") {
	case 0:
		return lazyReader{a}
	case 1:
		return a.WithSharding(rapid.SampledFrom([]*sharding.Sharding{
			sharding.Host(), sharding.SingleDevice("gpu:1"), sharding.SingleDevice("\xff"), {Raw: "{"}, {Raw: `{"sharding_type": "new"}`},
			sharding.Named(sharding.Mesh{Shape: []int{2}, AxisNames: []string{"x"}}, sharding.PartitionSpec{{"x"}}),
		}).Draw(rt, "sharding"))
	}
	return a
}

func anyTree(rt *rapid.T, levels int) any {
	kind := rapid.IntRange(0, 4).Draw(rt, "node")
	if levels == 0 || kind > 2 {
		return anyLeaf(rt)
	}
	n := rapid.IntRange(0, 4).Draw(rt, "kids")
	list, dict := make([]any, n), map[string]any{}
	for i := range n {
		list[i] = anyTree(rt, levels-1)
		dict[anyText(rt, "key")] = list[i]
	}
	return []any{dict, list, tree.Tuple(list)}[kind]
}

// leavesOf shows the leaves of a tree with every bit, as they are loaded.
func leavesOf(rt *rapid.T, v any) map[string]string {
	leaves, err := tree.Flatten(v)
	if err != nil {
		rt.Fatal(err)
	}
	all := map[string]string{}
	for _, l := range leaves {
		switch x := l.Value.(type) {
		case lazyReader:
			l.Value = x.a
		case uint: // the same number, of a type that says its size
			l.Value = uint64(x)
		}
		if a, ok := l.Value.(*array.Array); ok {
			b := a.Clone()
			array.Canonicalize(b.DType(), b.Bytes())
			l.Value = fmt.Sprintf("%v %x", b, b.Bytes())
		} else if a := array.ScalarOf(l.Value); a != nil {
			l.Value = fmt.Sprintf("%T %x", l.Value, a.Bytes())
		}
		all[l.Path.ID()] = fmt.Sprintf("%#v", l.Value)
	}
	return all
}

// Whatever a save accepts is loaded and verified, and what was loaded is saved again and
// is the same; what it refuses it refuses with an error of a known class, and leaves
// nothing behind.
func TestSavedLoads(t *testing.T) {
	ctx, root := t.Context(), t.TempDir()
	accepted := 0
	check := func(rt *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		state := map[string]any{"ok": 1, anyText(rt, "key"): anyTree(rt, 3)}
		name, custom := rapid.SampledFrom([]string{"state", "a", "", "a/b", "\xff", ".x", "metrics", "digests.sha256"}).Draw(rt, "name"), map[string]any{anyText(rt, "custom"): anyText(rt, "value")}
		storage := handler.StorageOptions{PlainFiles: rapid.Bool().Draw(rt, "files"), Zarr2: rapid.Bool().Draw(rt, "zarr2")}
		storage.Compression = rapid.SampledFrom([]zarr.Compression{{}, zarr.Zstd(1), zarr.Huffman(), zarr.Auto()}).Draw(rt, "compression")
		var loaded any = state
		for _, p := range []string{filepath.Join(dir, "1"), filepath.Join(dir, "2")} {
			items := map[string]any{name: loaded, "doc": handler.JSON{Value: custom}}
			if err := orbax.SaveCheckpointables(ctx, p, items, orbax.Storage(storage), orbax.CustomMetadata(custom)); err != nil {
				known := false
				for _, class := range []error{orbax.ErrLeafType, orbax.ErrReservedName, orbax.ErrKeyCollision, orbax.ErrStructure, orbax.ErrShape, orbax.ErrUnsupported} {
					known = known || errors.Is(err, class)
				}
				left, _ := os.ReadDir(dir)
				if !known || errors.Is(err, orbax.ErrCorrupt) || len(left) > 0 {
					rt.Fatalf("refused, %d entries are left: %v", len(left), err)
				}
				return
			}
			accepted++
			if err := orbax.Verify(ctx, p); err != nil {
				rt.Fatalf("verify: %v", err)
			}
			got, err := orbax.LoadCheckpointables(ctx, p, nil)
			if err != nil {
				rt.Fatalf("load: %v", err)
			}
			m, err := orbax.CheckpointablesMetadata(ctx, p)
			if err != nil || !reflect.DeepEqual(m.Custom, any(custom)) || !reflect.DeepEqual(got["doc"], any(custom)) {
				rt.Fatalf("custom metadata %v, JSON %v, %v; want %v", m.Custom, got["doc"], err, custom)
			}
			want, have := leavesOf(rt, state), leavesOf(rt, got[name])
			if !reflect.DeepEqual(have, want) {
				rt.Fatalf("loaded %v\nwant %v", have, want)
			}
			loaded = got[name]
		}
	}
	rapid.Check(t, check)
	for range 30 { // most states are refused: a short run may have tried no other
		if accepted == 0 {
			rapid.Check(t, check)
		}
	}
	if accepted == 0 {
		t.Error("nothing was accepted")
	}
	t.Logf("%d saves were accepted", accepted)
}
