package orbax_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/zarr"
)

// weights are random numbers as weights are.
func weights(t *testing.T, d array.DType, shape ...int) *array.Array {
	t.Helper()
	n, err := array.NumElements(shape)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, uint64(n)))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	a, err := array.Of(v, shape...).Cast(d)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCompression(t *testing.T) {
	state := map[string]*array.Array{
		"weights": weights(t, array.Float32, 600, 500), "half": weights(t, array.BFloat16, 600, 500),
		"zeros": array.Of(make([]float32, 300_000), 3, 100_000), "steps": array.Of(make([]int32, 40)),
		"empty": array.Of([]float32{}), "scalar": array.Of([]float32{3}),
	}
	stored := func(m *orbax.CheckpointMetadata, name string) (codecs string, ratio float64) {
		for _, l := range m.Tree.Leaves {
			if l.Path.String() == name {
				return l.Codecs, float64(l.StoredBytes) / float64(max(1, l.Bytes))
			}
		}
		t.Fatalf("no leaf %s", name)
		return "", 0
	}
	for _, c := range []struct {
		compression zarr.Compression
		codecs      map[string]string
		most        map[string]float64
	}{
		{zarr.Compression{}, map[string]string{"weights": "crc32c", "zeros": "crc32c"}, map[string]float64{"weights": 1.01}},
		{zarr.Zstd(1), map[string]string{"weights": "zstd", "zeros": "zstd"}, map[string]float64{"weights": 0.94, "half": 0.79, "zeros": 0.01}},
		{zarr.Huffman(), map[string]string{"weights": "zstd", "zeros": "zstd"}, map[string]float64{"weights": 0.94, "half": 0.79, "zeros": 0.01}},
		{zarr.Auto(), map[string]string{"weights": "crc32c", "half": "crc32c", "zeros": "zstd", "steps": "zstd"}, map[string]float64{"zeros": 0.01}},
	} {
		for _, zarr2 := range []bool{false, true} {
			var s handler.StorageOptions
			s.Compression, s.Zarr2 = c.compression, zarr2
			path := filepath.Join(t.TempDir(), "ck")
			if err := orbax.Save(t.Context(), path, state, orbax.Storage(s)); err != nil {
				t.Fatalf("%v: %v", c.compression, err)
			}
			m, err := orbax.Metadata(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.codecs {
				if got, _ := stored(m, name); !zarr2 && !strings.Contains(got, want) {
					t.Errorf("%v: %s has codecs %s, not %s", c.compression, name, got, want)
				}
			}
			for name, most := range c.most {
				if _, ratio := stored(m, name); ratio > most {
					t.Errorf("%v: %s takes %.3f of its size, more than %.2f", c.compression, name, ratio, most)
				}
			}
			got, err := orbax.LoadAs[map[string]*array.Array](t.Context(), path)
			if err != nil {
				t.Fatalf("%v: %v", c.compression, err)
			}
			for name, a := range state {
				if !bytes.Equal(got[name].Bytes(), a.Bytes()) {
					t.Errorf("%v: %s differs", c.compression, name)
				}
			}
			if errs := damageFound(t, path); errs > 0 {
				t.Errorf("%v, zarr2 %v: %d flipped bits were not found", c.compression, zarr2, errs)
			}
		}
	}
}

// damageFound flips bits in the largest file below path, one after the other, and
// returns how many of them do not make a load fail.
func damageFound(t *testing.T, path string) (missed int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(path, "state/d/*"))
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var data []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > len(data) {
			name, data = f, b
		}
	}
	state, err := orbax.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		at := rand.IntN(len(data))
		damaged := bytes.Clone(data)
		damaged[at] ^= 1 << rand.IntN(8)
		if err := os.WriteFile(name, damaged, 0o666); err != nil {
			t.Fatal(err)
		}
		// A bit between the values belongs to none: what is loaded is right then.
		if got, err := orbax.Load(t.Context(), path); err == nil && !sameState(got, state) {
			missed++
		}
	}
	return missed
}

func sameState(a, b any) bool {
	x, y := a.(map[string]any), b.(map[string]any)
	for k := range y {
		p, ok := x[k].(*array.Array)
		q := y[k].(*array.Array)
		if !ok || !bytes.Equal(p.Bytes(), q.Bytes()) {
			return false
		}
	}
	return len(x) == len(y)
}
