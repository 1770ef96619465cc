package cli

import (
	"archive/zip"
	"context"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			tmp := filepath.Join(env.WorkDir, "tmp")
			env.Setenv("TMPDIR", tmp)
			return os.MkdirAll(tmp, 0o777)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mkckpt": makeCheckpoint,
			"mkst":   makeTensorFile,
			"golden": unpackGolden,
			"mkpart": savePart,
			"flip":   flipByte,
			"cut":    cutFile,
			"same":   sameLeaves,
			"scrub":  scrub,
			"status": exitStatusIs,
			"empty":  isEmptyDir,
		},
	})
}

func check(ts *testscript.TestScript, err error) {
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

// basicState returns a state with a leaf of every kind.
func basicState() map[string]any {
	key, err := array.PRNGKey("threefry2x32", array.Of([]uint32{7, 42}, 2))
	if err != nil {
		panic(err)
	}
	mesh := sharding.Mesh{Shape: []int{2}, AxisNames: []string{"data"}, DeviceIDs: []int{0, 1}}
	return map[string]any{
		"params": map[string]any{
			"dense": map[string]any{
				"kernel": array.Of([]float32{1, 2.5, -3, 4, 5, 6}, 2, 3),
				"bias":   array.Of([]array.BF16{array.ToBF16(1), array.ToBF16(-0.5)}, 2).WithSharding(sharding.SingleDevice("cpu:0")),
			},
			"sharded": array.Of([]int32{1, 2, 3, 4}, 4).WithSharding(sharding.Named(mesh, sharding.PartitionSpec{{"data"}})),
		},
		"opt":    tree.Tuple{array.Of([]bool{true, false}, 2), map[string]any{}, []any{}, tree.Tuple{}, nil},
		"step":   1000,
		"lr":     float32(0.001),
		"name":   "run <1> & \"two\"",
		"blob":   []byte("a\x00b"),
		"rng":    key,
		"scalar": array.Of([]float64{2.5}),
		"a.b":    array.Of([]int8{1}, 1),
		"none":   array.Of([]float32{}, 0, 3),
	}
}

// stateFiles is a stateful object that saves files.
type stateFiles map[string]string

func (s stateFiles) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(ctx context.Context, dir *handler.WriteDir) error {
		for name, text := range s {
			if err := dir.WriteFile(ctx, name, []byte(text)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (s stateFiles) LoadState(context.Context, *handler.ReadDir) error { return nil }

// makeCheckpoint: mkckpt KIND DIR
func makeCheckpoint(ts *testscript.TestScript, _ bool, args []string) {
	kind, dir := args[0], ts.MkAbs(args[1])
	ctx := context.Background()
	custom := orbax.CustomMetadata(map[string]any{"run": "r1", "loss": 0.5, "tags": []any{"x"}})
	iota := make([]float32, 40*50)
	for i := range iota {
		iota[i] = float32(i)
	}
	switch kind {
	case "basic":
		check(ts, orbax.Save(ctx, dir, basicState(), custom))
	case "words": // numbers that JSON cannot spell, among values that could be taken for them
		words := map[string]any{"n": math.NaN(), "l": []any{math.Inf(1), map[string]any{"x": math.Inf(-1)}}, "s": "NaN", "big": json.Number("1180591620717411303424"), "f": 0.5}
		check(ts, orbax.Save(ctx, dir, map[string]any{"w": array.Of(iota[:4], 4), "n": 1}, orbax.CustomMetadata(words)))
	case "zeros": // floats that are -0
		zero := math.Copysign(0, -1)
		var registry handler.Registry
		registry.Bind("meta", handler.JSONHandler{})
		check(ts, orbax.SaveCheckpointables(ctx, dir, map[string]any{
			"state": map[string]any{"f": array.Of([]float32{float32(zero), 1}, 2), "c": array.Of([]complex128{complex(zero, 1)}, 1), "i": 0},
			"meta":  map[string]any{"z": zero},
		}, orbax.CustomMetadata(map[string]any{"n": math.NaN(), "s": "NaN", "z": []any{zero, 0}}), orbax.Metrics(map[string]any{"m": zero, "loss": math.Inf(-1)}),
			orbax.Handlers(&registry)))
	case "wordlist":
		check(ts, orbax.Save(ctx, dir, map[string]any{"w": array.Of(iota[:4], 4)}, orbax.CustomMetadata([]any{math.NaN(), "NaN"})))
	case "step":
		check(ts, orbax.Save(ctx, dir, map[string]any{"w": array.Of(iota, 40, 50)}, orbax.Metrics(map[string]any{"loss": 0.25})))
	case "changed":
		state := basicState()
		params := state["params"].(map[string]any)
		params["dense"] = map[string]any{
			"kernel": array.Of([]float32{1, 2.5, -3, 4.5, 5, float32(math.NaN())}, 2, 3),
			"bias":   array.Of([]float32{1, -0.5}),
		}
		params["sharded"] = array.Of([]int32{1, 2, 3, 4}, 4)
		delete(state, "lr")
		state["step"], state["name"], state["new"] = "1000", "run 2", nil
		state["opt"] = map[string]any{"0": state["opt"].(tree.Tuple)[0]}
		state["none"] = array.Of([]float32{}, 3, 0)
		check(ts, orbax.Save(ctx, dir, state, orbax.Storage(handler.StorageOptions{PlainFiles: true, Zarr2: true})))
	case "plain":
		check(ts, orbax.Save(ctx, dir, map[string]any{"w": array.Of(iota, 40, 50), "step": 3},
			orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ChunkByteSize: 1024}, PlainFiles: true, Zarr2: true})))
	case "sparse": // as if the writer did not store chunks whose elements all have the fill value
		check(ts, orbax.Save(ctx, dir, map[string]any{"w": array.Of([]int8{0}, 1)}, orbax.Storage(handler.StorageOptions{PlainFiles: true, Zarr2: true})))
		name := filepath.Join(dir, "state", "_METADATA")
		doc := strings.Replace(ts.ReadFile(name), `"store_array_data_equal_to_fill_value": true`, `"store_array_data_equal_to_fill_value": false`, 1)
		check(ts, os.WriteFile(name, []byte(doc), 0o666))
		for _, lost := range []string{"digests.sha256", "state/go-orbax.places", "state/w/0"} {
			check(ts, os.Remove(filepath.Join(dir, lost)))
		}
	case "numbers":
		check(ts, orbax.Save(ctx, dir, map[string]any{"w": array.Of(iota, 40, 50), "row": array.Of(iota[:60], 60)}))
	case "unfinished": // as if a save by CommitFile had died before its end
		check(ts, orbax.Save(ctx, dir, map[string]any{"w": 1}, orbax.Atomicity(orbax.CommitFile)))
		check(ts, os.Remove(filepath.Join(dir, "commit_success.txt")))
	case "range":
		check(ts, orbax.Save(ctx, dir, map[string]any{
			"i": array.Of([]int64{math.MinInt64, 5, 300, 127, -3}, 5), "small": array.Of([]int32{1, 2}, 2),
			"f": array.Of([]float64{1e10, -1e300, 1e-300, 1, 0, math.Inf(1), math.NaN()}, 7),
			"c": array.Of([]complex128{complex(1e300, 1e300), complex(1, 1e-300), 1}, 3),
		}))
	case "odd":
		odd, err := array.New(array.Int4, []int{2}, []byte{1, 2})
		check(ts, err)
		check(ts, orbax.Save(ctx, dir, map[string]any{"q": odd, "z": complex(1, 2), "ok": 1}))
	case "bare":
		check(ts, orbax.Save(ctx, dir, array.Of(iota[:6], 2, 3)))
	case "parts":
		check(ts, orbax.SaveCheckpointables(ctx, dir, map[string]any{
			"model": map[string]any{"w": array.Of(iota[:4], 4)},
			"ema":   map[string]any{"w": array.Of(iota[:4], 4), "x": "y"},
			"meta":  json.RawMessage(`{"epoch": 3}`),
		}))
	case "mixed":
		check(ts, orbax.SaveCheckpointables(ctx, dir, map[string]any{
			"model": map[string]any{"w": 1},
			"meta":  json.RawMessage(`{}`),
		}))
	case "json":
		check(ts, orbax.SaveCheckpointables(ctx, dir, map[string]any{"config": json.RawMessage(`{"lr": 12345678901234567890}`)}))
	case "stateful":
		check(ts, orbax.SaveCheckpointables(ctx, dir, map[string]any{
			"state":  map[string]any{"w": 1},
			"data":   stateFiles{"process_0-of-1.json": `{"pos": 3900}`},
			"two":    stateFiles{"process_0-of-2.json": `[1]`, "process_1-of-2.json": `NaN`},
			"binary": stateFiles{"process_0-of-1.json": "{}", "shuffle.bin": "\x00"},
			"broken": stateFiles{"process_0-of-1.json": "{"},
			"nested": stateFiles{"process_0-of-1.json": "{}", "sub/e.json": "{}"},
		}))
	case "brackets":
		check(ts, orbax.Save(ctx, dir, map[string]any{
			"w": array.Of([]int8{3, 4}, 2), "w[0]": array.Of([]int8{1, 2}, 2), "x[y]": array.Of([]int8{5}, 1),
		}))
	case "slash":
		check(ts, orbax.SaveCheckpointables(ctx, dir, map[string]any{
			"state": map[string]any{"model/w": 1, "model/": 3},
			"model": map[string]any{"w": 2},
		}))
	default:
		ts.Fatalf("unknown kind %q", kind)
	}
}

// makeTensorFile: mkst KIND FILE
func makeTensorFile(ts *testscript.TestScript, _ bool, args []string) {
	var tensors []safetensors.Tensor
	var metadata map[string]string
	add := func(name string, d array.DType, shape ...int) {
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: d, Shape: shape})
	}
	switch args[0] {
	case "model":
		add("model.layers.0.w", array.Float32, 2, 3)
		add("model.layers.0.b", array.BFloat16, 3)
		add("model.layers.1.w", array.Float32, 2, 3)
		add("mask", array.Bool, 5)
		add("temperature", array.Float64)
		add("nothing", array.Int64, 0, 4)
		metadata = map[string]string{"format": "pt", "note": "<a&b>"}
	case "collision":
		add("a", array.Float32, 2)
		add("a.b", array.Float32, 2)
	case "empty":
	case "renamed":
		add("w", array.Float32, 2)
		metadata = map[string]string{convert.Entry: `{"version":1,"leaves":[{"keys":["step"],"kind":"scalar"},{"keys":["s"],"kind":"string"}]}`}
	case "list":
		add("w", array.Float32, 2)
		metadata = map[string]string{"format": "pt", convert.Entry: `{"version":1,"custom":[1]}`}
	case "future":
		add("w", array.Float32, 2)
		metadata = map[string]string{convert.Entry: `{"version":2}`}
	case "broken":
		add("w", array.Float32, 2)
		metadata = map[string]string{convert.Entry: `{"version":1,"leaves":[{"keys":[-1]}]}`}
	default:
		ts.Fatalf("unknown kind %q", args[0])
	}
	h, head, err := safetensors.Layout(tensors, metadata)
	check(ts, err)
	for _, t := range h.Tensors {
		for i := range t.Length {
			head = append(head, byte(i&1))
		}
	}
	check(ts, os.WriteFile(ts.MkAbs(args[1]), head, 0o666))
}

// goldens is the directory of checkpoints in all layouts that Orbax and other programs
// wrote.
const goldens = "../../interop/layouts/testdata/layouts"

// unpackGolden: golden NAME DIR unpacks one of interop's golden checkpoints to DIR.
func unpackGolden(ts *testscript.TestScript, _ bool, args []string) {
	path, _, err := golden(filepath.Join(here, goldens, args[0]+".json"), ts.MkAbs("golden"))
	check(ts, err)
	check(ts, os.Rename(path, ts.MkAbs(args[1])))
}

// golden unpacks the checkpoint that a document describes below dir, and reports whether
// it can be loaded.
func golden(file, dir string) (path string, loads bool, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", false, err
	}
	var doc struct {
		Open    string
		Refused any
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return "", false, err
	}
	name := strings.TrimSuffix(file, ".json")
	r, err := zip.OpenReader(name + ".zip")
	if err != nil {
		return "", false, err
	}
	defer r.Close()
	dir = filepath.Join(dir, filepath.Base(name))
	return filepath.Join(dir, filepath.FromSlash(doc.Open)), doc.Refused == nil, os.CopyFS(dir, r)
}

// savePart: mkpart NAME PATH adds a part with the leaf NAME.w to the session of PATH.
func savePart(ts *testscript.TestScript, _ bool, args []string) {
	check(ts, partial.Save(context.Background(), ts.MkAbs(args[1]), map[string]any{
		args[0]: map[string]any{"w": array.Of([]float32{1, 2, 3}, 3)},
	}))
}

// flipByte: flip DIR changes a bit in the middle of the largest file below DIR except the
// digest file. flip FILE changes a bit in the middle of FILE.
func flipByte(ts *testscript.TestScript, _ bool, args []string) {
	name := largestFile(ts, args[0])
	b, err := os.ReadFile(name)
	check(ts, err)
	b[len(b)/2] ^= 0x10
	check(ts, os.WriteFile(name, b, 0o666))
}

// largestFile returns the largest file below a directory except the digest file. For a
// file it returns the file.
func largestFile(ts *testscript.TestScript, dir string) (name string) {
	size := int64(-1)
	check(ts, filepath.WalkDir(ts.MkAbs(dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "digests.sha256" && path != ts.MkAbs(dir) {
			return err
		}
		if info, err := d.Info(); err == nil && info.Size() > size {
			name, size = path, info.Size()
		}
		return nil
	}))
	return name
}

// cutFile: cut DIR SIZE truncates the largest file below DIR. cut DIR removes it.
func cutFile(ts *testscript.TestScript, _ bool, args []string) {
	name := largestFile(ts, args[0])
	if len(args) == 1 {
		check(ts, os.Remove(name))
		return
	}
	size, err := strconv.ParseInt(args[1], 10, 64)
	check(ts, err)
	check(ts, os.Truncate(name, size))
}

// sameLeaves: same A B compares the loaded leaves of two checkpoints, except the
// shardings of arrays.
func sameLeaves(ts *testscript.TestScript, neg bool, args []string) {
	var leaves [2][]tree.Leaf
	for i := range leaves {
		v, err := orbax.Load(context.Background(), ts.MkAbs(args[i]))
		check(ts, err)
		leaves[i], err = tree.Flatten(v)
		check(ts, err)
	}
	same := slices.EqualFunc(leaves[0], leaves[1], func(a, b tree.Leaf) bool {
		if x, ok := a.Value.(*array.Array); ok {
			y, ok := b.Value.(*array.Array)
			return ok && slices.Equal(a.Path, b.Path) && x.Equal(y) && x.PRNGImpl() == y.PRNGImpl()
		}
		return reflect.DeepEqual(a, b)
	})
	if same == neg {
		ts.Fatalf("same is %v\n%v\n%v", same, leaves[0], leaves[1])
	}
}

// scrub: scrub SRC DST replaces text that differs from run to run in a file or in the
// output of the last command, and writes the result to DST.
func scrub(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	for pattern, with := range map[string]string{
		`"\d{4}-\d\d-\d\dT[0-9:.]*Z"`: `"TIME"`,
		`("seconds": )[0-9.e-]+`:      `${1}0`,
		`\d+\.\d\ds  [0-9.]+ \w+/s`:   `0.00s  1.0 MiB/s`,
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, with)
	}
	text = strings.ReplaceAll(text, ts.Getenv("WORK"), "$WORK")
	check(ts, os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o666))
}

// exitStatusIs: status N ARGS... runs orbax, which must end with status N.
func exitStatusIs(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("orbax", args[1:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// isEmptyDir: empty DIR [NAME...] fails if DIR has entries other than the names.
func isEmptyDir(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	check(ts, err)
	names := map[string]bool{}
	for _, e := range entries {
		if !slices.Contains(args[1:], e.Name()) {
			names[e.Name()] = true
		}
	}
	if len(names) > 0 {
		ts.Fatalf("left behind: %v", slices.Sorted(maps.Keys(names)))
	}
}
