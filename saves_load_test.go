package orbax_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/zarr"
)

// A bool of a byte that is neither 0 nor 1 can be loaded neither here nor in
// Python, so that it must not be saved, wherever it comes from.
func TestSaveRefusesBadBools(t *testing.T) {
	ctx := context.Background()
	for _, n := range []int{4, 2000, 3 << 20} { // inline, packed, written from memory
		mask := make([]byte, n)
		mask[n-1] = 255
		bad, err := array.New(array.Bool, []int{n}, mask)
		if err != nil {
			t.Fatal(err)
		}
		section, err := array.NewSection(array.Bool, []int{n}, bytes.NewReader(mask), 0)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]any{
			"array":    bad,
			"frozen":   bad.Freeze(),
			"section":  section,
			"snapshot": lazyReader{bad},
			"slice":    unsafe.Slice((*bool)(unsafe.Pointer(&mask[0])), n),
		}
		for name, v := range values {
			for kind, storage := range map[string]handler.StorageOptions{
				"database": {},
				"zarr2":    {Zarr2: true},
				"files":    {PlainFiles: true},
				"zstd":     {ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(1)}},
				"auto":     {ArrayOptions: handler.ArrayOptions{Compression: zarr.Auto()}},
			} {
				t.Run(name+"/"+kind, func(t *testing.T) {
					p := filepath.Join(t.TempDir(), "ck")
					state := map[string]any{"w": []float32{1, 2}, "mask": v}
					check := func(err error) {
						t.Helper()
						var leaf *orbax.LeafError
						if !errors.Is(err, orbax.ErrLeafType) || !errors.As(err, &leaf) || leaf.Path != "mask" {
							t.Errorf("save: %v", err)
						}
						if errors.Is(err, orbax.ErrCorrupt) {
							t.Errorf("no checkpoint is damaged: %v", err)
						}
						if left, err := os.ReadDir(filepath.Dir(p)); err != nil || len(left) > 0 {
							t.Errorf("left behind: %v %v", left, err)
						}
					}
					check(orbax.Save(ctx, p, state, orbax.Storage(storage)))
					r, err := orbax.SaveAsync(ctx, p, state, orbax.Storage(storage))
					if err == nil {
						err = r.Result(ctx)
					}
					check(err)
				})
			}
		}
	}
}

// lazyReader reads an array lazily and has a snapshot.
type lazyReader struct{ a *array.Array }

func (l lazyReader) DType() array.DType { return l.a.DType() }
func (l lazyReader) Shape() []int       { return l.a.Shape() }
func (l lazyReader) ReadRegion(ctx context.Context, dst []byte, off, size []int) error {
	return l.a.ReadRegion(ctx, dst, off, size)
}
func (l lazyReader) Snapshot(context.Context) (array.Reader, error) { return l.a, nil }

// Names and kinds that a reader would not take are refused by name.
func TestSaveRefusesUnloadable(t *testing.T) {
	keys := func(impl string) *array.Array {
		k, err := array.PRNGKey(impl, array.Of([]uint32{1, 2}))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	on := func(s *sharding.Sharding) *array.Array { return array.Of([]int8{1}).WithSharding(s) }
	slashes := strings.Repeat("/", 512)
	for name, c := range map[string]struct {
		leaf string
		v    any
		want error
	}{
		"generator":          {"k", keys("evil"), orbax.ErrLeafType},
		"generator's case":   {"k", keys("RBG "), orbax.ErrLeafType},
		"device":             {"d", on(sharding.SingleDevice("\xff")), orbax.ErrStructure},
		"axis":               {"d", on(sharding.Named(sharding.Mesh{Shape: []int{1}, AxisNames: []string{"x\xff"}}, nil)), orbax.ErrStructure},
		"text of a sharding": {"d", on(&sharding.Sharding{Raw: `{"sharding_type": 1}`}), orbax.ErrStructure},
		"slashes":            {"s" + slashes, "text", orbax.ErrReservedName},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := orbax.Save(t.Context(), filepath.Join(dir, "ck"), map[string]any{c.leaf: c.v, "ok": 1})
			var leaf *orbax.LeafError
			if !errors.Is(err, c.want) || !errors.As(err, &leaf) || leaf.Path != c.leaf {
				t.Errorf("%.200v", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
	p := filepath.Join(t.TempDir(), "ck")
	if err := orbax.Save(t.Context(), p, map[string]any{"s" + slashes[1:]: "text"}); err != nil {
		t.Error(err)
	}
	if _, err := orbax.Load(t.Context(), p); err != nil {
		t.Error(err)
	}
}

// A target of which two places overlap is refused before anything is written to it,
// by one load and by several that go on at the same time.
func TestLoadIntoOverlap(t *testing.T) {
	ctx, n := context.Background(), 1<<18
	x, y := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], y[i] = 1, 2
	}
	p := filepath.Join(t.TempDir(), "ck")
	one, two := map[string]any{"X": x}, map[string]any{"X": x, "Y": y}
	if err := orbax.SaveCheckpointables(ctx, p, map[string]any{"state": two, "ema": one}); err != nil {
		t.Fatal(err)
	}
	memory := make([]float32, n+n/2)
	type target struct{ X, Y []float32 }
	check := func(err error) {
		t.Helper()
		if !errors.Is(err, orbax.ErrStructure) {
			t.Errorf("loaded into overlapping slices: %v", err)
		}
	}
	check(orbax.LoadInto(ctx, p, &target{memory[:n], memory[n/2:]}))
	if slices.Max(memory) != 0 {
		t.Error("a target that was refused has been written")
	}
	check(orbax.LoadInto(ctx, p, &target{memory[:n], memory[:n]}))
	for _, ema := range []any{&struct{ X []float32 }{memory[n/2:]}, map[string]any{"X": array.Of(memory[:n])}} {
		_, err := orbax.LoadCheckpointables(ctx, p, map[string]any{"state": &target{memory[:n], make([]float32, n)}, "ema": ema})
		check(err)
	}
	apart := target{memory[:n], y}
	if err := orbax.LoadInto(ctx, p, &apart); err != nil || apart.X[n-1] != 1 || apart.Y[0] != 2 {
		t.Errorf("got %v, %v, %v", apart.X[n-1], apart.Y[0], err)
	}
}
