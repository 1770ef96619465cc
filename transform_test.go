package orbax_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/heap"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/transform"
	"github.com/go-orbax/orbax/view"
)

// TestTransform uses rules in every kind of load.
func TestTransform(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "ckpt")
	stacked := array.Of([]float32{1, 2, 3, 4}, 2, 2)
	if err := orbax.Save(ctx, path, map[string]any{"params": map[string]any{"layers": map[string]any{"w": stacked}}, "step": 7, "note": "x"}); err != nil {
		t.Fatal(err)
	}
	type layer struct {
		W []float32 `orbax:"w"`
	}
	type model struct {
		Layers []layer `orbax:"layers"`
		Step   int     `orbax:"step"`
	}
	rules := orbax.Transform(
		transform.Unstack("params.layers", 0, "layers[%d]"),
		transform.Drop("note"),
	)
	want := model{[]layer{{[]float32{1, 2}}, {[]float32{3, 4}}}, 7}
	check := func(how string, got any, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", how, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", how, got)
		}
	}
	m, err := orbax.LoadAs[model](ctx, path, rules)
	check("LoadAs", m, err)
	var into model
	err = orbax.LoadInto(ctx, path, &into, rules)
	check("LoadInto", into, err)

	v, err := orbax.Load(ctx, path, rules)
	asMap := func(how string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", how, err)
			return
		}
		layers := v.(map[string]any)["layers"].([]any)
		w := layers[1].(map[string]any)["w"].(*array.Array)
		if len(layers) != 2 || !w.Equal(array.Of([]float32{3, 4})) || v.(map[string]any)["step"] != 7 {
			t.Errorf("%s: %v", how, v)
		}
	}
	asMap("Load", v, err)
	v, err = orbax.Load(ctx, path, rules, orbax.Select("layers.1.w"))
	if want := (map[string]any{"layers": map[string]any{"1": map[string]any{"w": array.Of([]float32{3, 4})}}}); err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("with Select: %v, %v", v, err)
	}

	meta, err := orbax.Metadata(ctx, path, rules)
	if err != nil {
		t.Fatal(err)
	}
	if len(meta.Tree.Leaves) != 3 || meta.Tree.Leaves[1].Path.String() != "layers.1.w" {
		t.Errorf("Metadata: %+v", meta.Tree.Leaves)
	}
	v, err = orbax.LoadAbstract(ctx, path, meta, rules)
	asMap("LoadAbstract", v, err)

	_, err = orbax.Load(ctx, path, orbax.Transform(transform.Drop("nope"), transform.Rename(map[string]string{"step": "note"})))
	var oe *orbax.Error
	if !errors.Is(err, orbax.ErrStructure) || !errors.Is(err, orbax.ErrKeyCollision) || !errors.As(err, &oe) || len(oe.Problems()) != 2 {
		t.Errorf("mistakes: got %v; want two problems, of ErrStructure and ErrKeyCollision", err)
	}
}

// TestTransformCheckpointables takes leaves of another checkpointable.
func TestTransformCheckpointables(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "ckpt")
	parts := map[string]any{
		"params": map[string]any{"w": []float32{1, 2}},
		"opt":    map[string]any{"mu": map[string]any{"w": []float32{3, 4}}, "count": 5},
		"json":   handler.JSON{Value: 2},
	}
	if err := orbax.SaveCheckpointables(ctx, path, parts); err != nil {
		t.Fatal(err)
	}
	got, err := orbax.Load(ctx, path, orbax.Name("params"), orbax.Transform(
		transform.Set("mean", transform.Leaf("mu.w").Of("opt").Cast(array.Float64)),
		transform.Include("opt", "opt"),
	))
	want := map[string]any{
		"w": array.Of([]float32{1, 2}), "mean": array.Of([]float64{3, 4}),
		"opt": map[string]any{"mu": map[string]any{"w": array.Of([]float32{3, 4})}, "count": 5},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	d, err := orbax.Diff(ctx, path, path, view.DiffOptions{}, orbax.Name("params"), orbax.Transform(transform.Include("opt", "opt")))
	if err != nil || !d.Equal() || d.Leaves != 3 {
		t.Errorf("Diff: %+v, %v", d, err)
	}
	_, err = orbax.Load(ctx, path, orbax.Name("params"), orbax.Transform(transform.Include("nope", "x")))
	if !errors.Is(err, orbax.ErrNotExist) || !strings.Contains(err.Error(), `"nope"`) {
		t.Errorf("another checkpointable that is not there: %v", err)
	}

	// What cannot be opened is reported with the other mistakes, and none hides another.
	_, err = orbax.Load(ctx, path, orbax.Name("params"), orbax.Transform(
		transform.Set("q", transform.Leaf("x").Of("json")),
		transform.Include("nope", "foo"),
		transform.Drop("never"),
		transform.Set("w", transform.Leaf("w").Index(0, 9))))
	var e *orbax.Error
	if !errors.As(err, &e) || len(e.Leaves()) != 3 || !errors.Is(err, orbax.ErrStructure) || !errors.Is(err, orbax.ErrNotExist) || !errors.Is(err, orbax.ErrShape) {
		t.Errorf("got %v; want three leaves, of ErrStructure, ErrNotExist and ErrShape", err)
	}
	for _, want := range []string{
		`leaf q: rule 1 (Set "q"): checkpointable "json": structure mismatch: not a pytree`,
		`leaf foo: rule 2 (Include "nope"): does not exist: checkpointable "nope"; there are `,
		`rule 3 (Drop "never")`, `leaf w: rule 4`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = orbax.Load(cancelled, path, orbax.Name("params"), orbax.Transform(transform.Include("opt", "o")))
	if !errors.Is(err, context.Canceled) || errors.As(err, &e) && e.Leaf != "" {
		t.Errorf("cancelled: %v", err)
	}
}

// countUp is an array of the numbers from 0 on, made as it is read.
type countUp struct{ shape []int }

func (c countUp) DType() array.DType { return array.Float32 }
func (c countUp) Shape() []int       { return append([]int(nil), c.shape...) }

func (c countUp) ReadRegion(_ context.Context, dst []byte, off, size []int) error {
	n := 0
	for i := range size[0] {
		for j := range size[1] {
			for k := range size[2] {
				x := ((off[0]+i)*c.shape[1]+off[1]+j)*c.shape[2] + off[2] + k
				binary.LittleEndian.PutUint32(dst[4*n:], math.Float32bits(float32(x%(1<<20))))
				n++
			}
		}
	}
	return nil
}

// TestTransformMemory makes a checkpoint of a model whose layers are stacked into
// one of separate layers: loaded, and saved again without loading it.
func TestTransformMemory(t *testing.T) {
	layers := testenv.Pick(128, 24)
	const limit = 64 << 20
	// What is in use counts, not what the collector has yet to find: it is made to
	// keep within the limit if that can be.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	allow := func(target int64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		debug.SetMemoryLimit(int64(m.Sys-m.HeapIdle) + target + limit*5/8)
	}
	size := int64(layers) << 22
	ctx := context.Background()
	dir := t.TempDir()
	path := filepath.Join(dir, "stacked")
	state := map[string]any{"layers": map[string]any{"w": countUp{[]int{layers, 1024, 1024}}}, "step": 7}
	if err := orbax.Save(ctx, path, state); err != nil {
		t.Fatal(err)
	}
	rules := orbax.Transform(transform.Unstack("layers", 0, "layer_%d"))

	checkLayers := func(v any) {
		t.Helper()
		m := v.(map[string]any)
		for i := range layers {
			w := m["layer_"+strconv.Itoa(i)].(map[string]any)["w"].(*array.Array)
			values, err := array.Values[float32](w)
			if err != nil || len(values) != 1<<20 {
				t.Fatal(err, len(values))
			}
			for k, x := range values {
				if x != float32(k) {
					t.Fatalf("layer %d has %v at %d", i, x, k)
				}
			}
		}
		if len(m) != layers+1 || m["step"] != 7 {
			t.Fatal(len(m), m["step"])
		}
	}
	report := func(what string, most, target, limit int64) {
		t.Helper()
		t.Logf("%s %d MiB: %d MiB beyond the target", what, size>>20, (most-target)>>20)
		if most-target > limit && !underRace() {
			t.Errorf("%s: more than %d MiB", what, limit>>20)
		}
	}

	var v any
	var err error
	allow(size)
	report("loading", heap.Peak(func() { v, err = orbax.Load(ctx, path, rules) }), size, limit)
	if err != nil {
		t.Fatal(err)
	}
	checkLayers(v)
	v = nil

	apart := filepath.Join(dir, "apart")
	allow(0)
	report("saving", heap.Peak(func() { err = saveTransformed(ctx, path, apart, rules) }), 0, limit)
	if err != nil {
		t.Fatal(err)
	}
	if v, err = orbax.Load(ctx, apart); err != nil {
		t.Fatal(err)
	}
	checkLayers(v)
}

// underRace reports whether the race detector is on, which makes pools of memory
// forget.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// saveTransformed saves what rules make of a checkpoint as a new one.
func saveTransformed(ctx context.Context, from, to string, rules orbax.LoadOption) error {
	ck, err := orbax.Open(ctx, from)
	if err != nil {
		return err
	}
	defer ck.Close()
	tree, err := ck.Tree(ctx, rules)
	if err != nil {
		return err
	}
	state, err := tree.Lazy(ctx)
	if err != nil {
		return err
	}
	return orbax.Save(ctx, to, state)
}

// TestReshapeAdvice does what the errors about other shapes propose.
func TestReshapeAdvice(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	if err := orbax.Save(ctx, path, map[string]any{"w": array.Of([]float32{1, 2, 3, 4}, 2, 2), "n": array.Of([]int64{7}, 1, 1)}); err != nil {
		t.Fatal(err)
	}
	type state struct {
		W []float32 `orbax:"w"`
		N int64     `orbax:"n"`
	}
	_, err := orbax.LoadAs[state](ctx, path)
	for _, advice := range []string{`transform.Set("w", transform.Leaf("w").Reshape(4))`, `transform.Set("n", transform.Leaf("n").Reshape())`} {
		if err == nil || !strings.Contains(err.Error(), advice) {
			t.Errorf("%v lacks %s", err, advice)
		}
	}
	got, err := orbax.LoadAs[state](ctx, path, orbax.Transform(
		transform.Set("w", transform.Leaf("w").Reshape(4)), transform.Set("n", transform.Leaf("n").Reshape())))
	if err != nil || !reflect.DeepEqual(got, state{[]float32{1, 2, 3, 4}, 7}) {
		t.Errorf("%v, %v", got, err)
	}
}
