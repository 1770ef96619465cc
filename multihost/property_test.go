package multihost_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	_ "github.com/go-orbax/orbax/internal/testenv/fewchecks"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/zarr"
)

// drawWhole draws a whole array with random elements.
func drawWhole(t *rapid.T) *array.Array {
	dtype := rapid.SampledFrom([]array.DType{array.Bool, array.Int8, array.BFloat16, array.Float32, array.Complex128}).Draw(t, "dtype")
	shape := rapid.SliceOfN(rapid.IntRange(0, 9), 0, 3).Draw(t, "shape")
	a, err := array.New(dtype, shape, nil)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, uint64(rapid.IntRange(0, 1<<30).Draw(t, "seed"))))
	for i := range a.Bytes() {
		if dtype == array.Bool {
			a.Bytes()[i] = byte(random.IntN(2))
		} else {
			a.Bytes()[i] = byte(random.Uint32())
		}
	}
	return a
}

// drawLayout draws a mesh whose devices belong to the processes at random, and a spec.
func drawLayout(t *rapid.T, rank int) *sharding.Sharding {
	m := sharding.Mesh{AxisNames: []string{"x", "y", "z"}[:rapid.IntRange(0, 3).Draw(t, "axes")]}
	n := 1
	for range m.AxisNames {
		d := rapid.IntRange(1, 3).Draw(t, "axis")
		m.Shape = append(m.Shape, d)
		n *= d
	}
	for i := range n {
		m.DeviceIDs = append(m.DeviceIDs, i)
	}
	m.DeviceIDs = rapid.Permutation(m.DeviceIDs).Draw(t, "devices")
	spec := make(sharding.PartitionSpec, rank)
	for _, name := range m.AxisNames {
		if i := rapid.IntRange(-1, rank-1).Draw(t, "entry"); i >= 0 {
			spec[i] = append(spec[i], name)
		}
	}
	return sharding.Named(m, spec)
}

// Whatever several processes save, one process loads, bit for bit, and Verify finds it
// intact.
func TestSaveTogetherProperty(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(2, 6).Draw(t, "processes")
		owners := rapid.SliceOfN(rapid.IntRange(0, size-1), 27, 27).Draw(t, "owners")
		owner := func(device int) int { return owners[device] }
		whole := map[string]*array.Array{}
		layouts := map[string]*sharding.Sharding{}
		for i := range rapid.IntRange(1, 5).Draw(t, "leaves") {
			name := fmt.Sprint("a", i)
			if i == 3 {
				name = "a1/b" // its keys lie among those of a1
			}
			whole[name] = drawWhole(t)
			if rapid.Bool().Draw(t, "sharded") {
				layouts[name] = drawLayout(t, len(whole[name].Shape()))
			}
		}
		storage := handler.StorageOptions{
			Zarr2:        rapid.Bool().Draw(t, "zarr2"),
			PlainFiles:   rapid.Bool().Draw(t, "plain files"),
			ArrayOptions: handler.ArrayOptions{Compression: rapid.SampledFrom([]zarr.Compression{{}, zarr.Zstd(1), zarr.Huffman(), zarr.Auto()}).Draw(t, "compression")},
		}
		if rapid.Bool().Draw(t, "small chunks") {
			storage.ChunkByteSize = 64
		}
		opts := []orbax.SaveOption{orbax.Storage(storage), orbax.Overwrite()}
		if rapid.IntRange(0, 3).Draw(t, "marker") == 0 {
			opts = append(opts[:1], orbax.Atomicity(orbax.CommitFile))
		}
		async := rapid.Bool().Draw(t, "async")
		path := filepath.Join(dir, "ckpt")
		if storage.PlainFiles && whole["a1/b"] != nil && rapid.Bool().Draw(t, "no nesting") {
			delete(whole, "a1/b")
		}
		for rank, err := range together(size, func(g *coord.Group) error {
			state := map[string]any{}
			for name, a := range whole {
				state[name] = a
				if on := layouts[name]; on != nil {
					held, err := array.AllocSharded(array.ShapeDtypeStruct{Shape: a.Shape(), DType: a.DType(), Sharding: on}, sharding.Process{Rank: g.Rank(), Size: size, Owner: owner})
					if err != nil {
						return err
					}
					for _, s := range held.Shards() {
						if err := a.ReadRegion(t.Context(), s.Array.Bytes(), s.Offset, s.Array.Shape()); err != nil {
							return err
						}
					}
					state[name] = held
				}
			}
			with := append([]orbax.SaveOption{multihost.Together{Group: g, Owner: owner}}, opts...)
			if !async {
				return orbax.Save(t.Context(), path, state, with...)
			}
			resp, err := orbax.SaveAsync(t.Context(), path, state, with...)
			if err != nil {
				return err
			}
			for _, v := range state { // the snapshot has been taken
				if held, ok := v.(*array.Sharded); ok {
					for _, s := range held.Shards() {
						clear(s.Array.Bytes())
					}
				}
			}
			return resp.Result(t.Context())
		}) {
			if err != nil {
				t.Fatalf("process %d: %v", rank, err)
			}
		}
		got, err := orbax.Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range whole {
			if a, ok := got.(map[string]any)[name].(*array.Array); !ok || !a.Equal(want) {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
		}
		if err := orbax.Verify(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if err := orbax.Delete(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Fatal(left, err)
		}
	})
}

// The processes write one copy of the state together, and those that hold replicas write
// the same amount.
func TestBytesTogether(t *testing.T) {
	const size = 4
	path := filepath.Join(t.TempDir(), "ckpt")
	var total int64
	whole := map[string]*array.Array{"big": count(1<<19 + 3), "small": count(100)}
	for i := range 40 {
		whole[fmt.Sprint("layer", i)] = count(64, 97+i)
	}
	for _, a := range whole {
		total += int64(len(a.Bytes()))
	}
	stats := make([]orbax.Stats, size)
	for rank, err := range together(size, func(g *coord.Group) error {
		state := map[string]any{}
		for name, a := range whole {
			state[name] = a
			if strings.HasSuffix(name, "1") {
				state[name] = part(t, a, sharding.Named(mesh(2, 4), sharding.PartitionSpec{{"x"}}), g)
			} else if strings.HasSuffix(name, "2") {
				state[name] = part(t, a, sharding.Named(mesh(2, 4), nil), g)
			}
		}
		return orbax.Save(t.Context(), path, state, multihost.Together{Group: g}, orbax.Report(&stats[g.Rank()]))
	}) {
		if err != nil {
			t.Fatalf("process %d: %v", rank, err)
		}
	}
	var sum, most int64
	for _, s := range stats {
		sum += s.Bytes
		most = max(most, s.Bytes)
		t.Logf("%d bytes of arrays in %d", s.Bytes, s.Arrays)
	}
	onDisk, err := diskUse(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of state, %d on the disk; the most loaded process has %.3f of the mean", total, onDisk, float64(most)*size/float64(sum))
	if float64(onDisk) > 1.02*float64(total) || onDisk < total {
		t.Errorf("%d bytes on the disk for %d bytes of state", onDisk, total)
	}
	if float64(most) > 1.1*float64(sum)/size {
		t.Errorf("the most loaded process writes %d of %d bytes", most, sum)
	}
}

// Each process samples the arrays of which it holds the beginning, and all store an array
// in the same way.
func TestAutoTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	noise, zeros := count(1024, 64), count(1024, 64)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise.Bytes() {
		noise.Bytes()[i] = byte(random.Uint32())
	}
	clear(zeros.Bytes())
	on := sharding.Named(mesh(4, 1), sharding.PartitionSpec{{"x"}})
	for rank, err := range together(4, func(g *coord.Group) error {
		state := map[string]any{"noise": part(t, noise, on, g), "zeros": part(t, zeros, on, g), "all": zeros}
		return orbax.Save(t.Context(), path, state, multihost.Together{Group: g}, orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{Compression: zarr.Auto()}}))
	}) {
		if err != nil {
			t.Fatalf("process %d: %v", rank, err)
		}
	}
	onDisk, err := diskUse(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(len(noise.Bytes())); onDisk < want || onDisk > want+want/10 {
		t.Errorf("%d bytes on the disk, want little more than the %d of the array that cannot be compressed", onDisk, want)
	}
	got, err := orbax.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]*array.Array{"noise": noise, "zeros": zeros, "all": zeros} {
		if !got.(map[string]any)[name].(*array.Array).Equal(want) {
			t.Error(name)
		}
	}
}

// diskUse returns the sizes of all files below a directory.
func diskUse(dir string) (total int64, err error) {
	err = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			total += info.Size()
		}
		return err
	})
	return total, err
}
