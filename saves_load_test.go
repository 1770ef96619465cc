package orbax_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
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
