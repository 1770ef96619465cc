package orbax_test

import (
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
)

type cyclic struct{ Next *cyclic }

func newCyclic() *cyclic {
	c := &cyclic{}
	c.Next = &cyclic{c}
	return c
}

// untouched runs f and checks that it leaves dir as it is.
func untouched(t *testing.T, name, dir string, f func() error) error {
	t.Helper()
	before := everything(t, dir)
	err := f()
	if after := everything(t, dir); !reflect.DeepEqual(after, before) {
		t.Errorf("%s: on disk are %v, before %v", name, after, before)
	}
	return err
}

// everything describes everything below dir.
func everything(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all[name] = fmt.Sprint(info.Mode(), info.ModTime())
		}
		if err == nil && info.Mode().IsRegular() {
			b, rerr := os.ReadFile(name)
			all[name] += string(b)
			err = rerr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// checkError checks what every error of this package has.
func checkError(t *testing.T, name string, err error, op, path string, want error, leaves ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", name)
		return
	}
	var e *orbax.Error
	if !errors.As(err, &e) {
		t.Errorf("%s: %v is no *orbax.Error", name, err)
		return
	}
	if e.Op != op || e.Path != path {
		t.Errorf("%s: op %q, path %q, want %q, %q", name, e.Op, e.Path, op, path)
	}
	if want != nil && !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", name, err, want)
	}
	var got []string
	for _, l := range e.Leaves() {
		got = append(got, l.Path)
		if l.Path != "" && !strings.Contains(err.Error(), fault.Shown(l.Path)) {
			t.Errorf("%s: the message does not name %s: %v", name, l.Path, err)
		}
	}
	if leaves != nil && !reflect.DeepEqual(got, leaves) {
		t.Errorf("%s: leaves %q, want %q: %v", name, got, leaves, err)
	}
	if len(leaves) == 1 && e.Leaf != leaves[0] {
		t.Errorf("%s: leaf %q, want %q", name, e.Leaf, leaves[0])
	}
}

func TestSaveRefuses(t *testing.T) {
	ctx := t.Context()
	huge := new(big.Int).Lsh(big.NewInt(1), 64)
	badSharding := &sharding.Sharding{}
	one := map[string]any{"a": 1}
	self := map[string]any{}
	self["self"] = self
	for name, c := range map[string]struct {
		state   any
		want    error
		leaves  []string
		options []orbax.SaveOption
	}{
		"leaf types": {
			map[string]any{"f": func() {}, "c": []any{1, make(chan int)}, "ok": 1, "u": struct{ P uintptr }{1}, "m": map[float64]int{1: 1}, "s": "\xff"},
			orbax.ErrLeafType, []string{"c.1", "f", "m", "s"}, nil},
		"big integer":       {map[string]any{"n": huge}, orbax.ErrLeafType, []string{"n"}, nil},
		"cyclic pointer":    {newCyclic(), orbax.ErrLeafType, nil, nil},
		"cyclic map":        {self, orbax.ErrLeafType, []string{"self"}, nil},
		"array by value":    {map[string]any{"a": array.Array{}}, orbax.ErrLeafType, []string{"a"}, nil},
		"zero array":        {map[string]any{"a": &array.Array{}}, orbax.ErrLeafType, []string{"a"}, nil},
		"bad key":           {map[string]any{"\xff": 1}, orbax.ErrLeafType, []string{"\xff"}, nil},
		"dotted collision":  {map[string]any{"a": map[string]any{"b": 1}, "a.b": 2}, orbax.ErrKeyCollision, nil, nil},
		"slash collision":   {map[string]any{"a": array.Scalar(1), "a/": array.Scalar(2)}, orbax.ErrKeyCollision, []string{"a/"}, nil},
		"string collision":  {map[string]any{"a": "x", "a/b": "y"}, orbax.ErrKeyCollision, []string{"a/b"}, nil},
		"string with tilde": {map[string]any{"a~b": "x", "c~": "y", "d~": 1}, orbax.ErrReservedName, []string{"a~b", "c~"}, nil},
		"empty map":         {map[string]any{}, orbax.ErrStructure, nil, nil},
		"empty slice":       {[]any{}, orbax.ErrStructure, nil, nil},
		"empty struct":      {struct{}{}, orbax.ErrStructure, nil, nil},
		"nil pointer":       {(*cyclic)(nil), orbax.ErrStructure, nil, nil},
		"nil map":           {map[string]any(nil), orbax.ErrStructure, nil, nil},
		"nil":               {nil, orbax.ErrLeafType, nil, nil},
		"sharding":          {map[string]any{"a": array.Of([]int{1}).WithSharding(badSharding)}, nil, []string{"a"}, nil},
		"custom number":     {one, nil, nil, []orbax.SaveOption{orbax.CustomMetadata(3)}},
		"custom channel":    {one, nil, nil, []orbax.SaveOption{orbax.CustomMetadata(map[string]any{"c": make(chan int)})}},
		"custom reserved":   {one, orbax.ErrReservedName, nil, []orbax.SaveOption{orbax.CustomMetadata(map[string]any{"orbax_go_list": 1})}},
		"chunk size":        {map[string]any{"a": []int{1}}, nil, []string{"a"}, []orbax.SaveOption{orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ChunkByteSize: -1}})}},
		"shard axis":        {map[string]any{"a": []int{1}}, nil, []string{"a"}, []orbax.SaveOption{orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ShardAxes: []int{3}}})}},
		"file names": {map[string]any{"..": 1, "a/../b": 2, "a//b": 3, "/a": 4, "ok": 5, strings.Repeat("n", 300): 6, `w\x`: 7},
			orbax.ErrReservedName, []string{"..", "/a", "a/../b", "a//b", strings.Repeat("n", 300), `w\x`}, []orbax.SaveOption{orbax.Storage(handler.StorageOptions{PlainFiles: true})}},
		"file of another": {map[string]any{"a": []int{1}, "a/c/0": []int{2}, "b": 1, "b/c": 2},
			orbax.ErrKeyCollision, []string{"a/c/0", "b/c"}, []orbax.SaveOption{orbax.Storage(handler.StorageOptions{PlainFiles: true})}},
		"file of the tree": {map[string]any{"_METADATA": 1, "_sharding": 2, "d": 3, "array_metadatas/process_0": 1},
			orbax.ErrReservedName, []string{"_METADATA", "_sharding", "array_metadatas/process_0"}, []orbax.SaveOption{orbax.Storage(handler.StorageOptions{PlainFiles: true})}},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "parent", "ckpt")
		err := untouched(t, name, dir, func() error { return orbax.Save(ctx, path, c.state, c.options...) })
		checkError(t, name, err, "save", path, c.want, c.leaves...)
		err = untouched(t, name, dir, func() error {
			_, err := orbax.SaveAsync(ctx, path, c.state, c.options...)
			return err
		})
		checkError(t, name+", async", err, "save", path, c.want, c.leaves...)
	}
}

func TestSaveRefusesNames(t *testing.T) {
	for _, name := range []string{
		"", "a/b", "/a", "..", ".", `a\b`, "a\x00", "metrics", "AUTO", "_CHECKPOINT_METADATA", "_CHECKPOINT_DELETION",
		"orbax.checkpoint", "commit_success.txt", "digests.sha256", "x.orbax-checkpoint-tmp",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "ckpt")
		err := untouched(t, name, dir, func() error { return orbax.Save(t.Context(), path, 1, orbax.Name(name)) })
		checkError(t, name, err, "save", path, orbax.ErrReservedName)
		err = untouched(t, name, dir, func() error {
			return orbax.SaveCheckpointables(t.Context(), path, map[string]any{name: 1, "ok": 2})
		})
		checkError(t, name, err, "save", path, orbax.ErrReservedName)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "x.orbax-checkpoint-tmp")
	err := untouched(t, "temporary path", dir, func() error { return orbax.Save(t.Context(), path, 1) })
	checkError(t, "temporary path", err, "save", path, orbax.ErrReservedName)
	path = filepath.Join(dir, "none")
	err = untouched(t, "nothing", dir, func() error { return orbax.SaveCheckpointables(t.Context(), path, nil) })
	checkError(t, "nothing", err, "save", path, orbax.ErrStructure)
	err = untouched(t, "nil part", dir, func() error {
		return orbax.SaveCheckpointables(t.Context(), path, map[string]any{"a": nil})
	})
	checkError(t, "nil part", err, "save", path, orbax.ErrLeafType)
}

func TestSaveRefusesExisting(t *testing.T) {
	dir := t.TempDir()
	ckpt := filepath.Join(dir, "ckpt")
	if err := orbax.Save(t.Context(), ckpt, 1); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	if err := os.MkdirAll(filepath.Join(other, "precious"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{ckpt, file, other} {
		err := untouched(t, path, dir, func() error { return orbax.Save(t.Context(), path, 2) })
		checkError(t, path, err, "save", path, orbax.ErrExist)
		if !errors.Is(err, os.ErrExist) {
			t.Errorf("%v does not match fs.ErrExist", err)
		}
	}
	for _, path := range []string{file, other} {
		err := untouched(t, path, dir, func() error { return orbax.Save(t.Context(), path, 2, orbax.Overwrite()) })
		checkError(t, path, err, "save", path, orbax.ErrInvalidCheckpoint)
	}
	// What is refused leaves the old one in place.
	err := untouched(t, "overwrite", dir, func() error { return orbax.Save(t.Context(), ckpt, func() {}, orbax.Overwrite()) })
	checkError(t, "overwrite", err, "save", ckpt, orbax.ErrLeafType)
	err = untouched(t, "below a file", dir, func() error { return orbax.Save(t.Context(), file+"/ckpt", 2) })
	checkError(t, "below a file", err, "save", file+"/ckpt", nil)
}

func TestLoadRefusesPaths(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	for _, step := range []string{"1", "20"} {
		if err := orbax.Save(t.Context(), filepath.Join(run, step), 1); err != nil {
			t.Fatal(err)
		}
	}
	unfinished := filepath.Join(run, "30.orbax-checkpoint-tmp-0123")
	empty := filepath.Join(dir, "empty")
	file := filepath.Join(dir, "file")
	for _, d := range []string{unfinished, empty, filepath.Join(dir, "misc", "x")} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		want error
		text []string
	}{
		{filepath.Join(dir, "none"), orbax.ErrNotExist, nil},
		{unfinished, orbax.ErrIncomplete, []string{"temporary"}},
		{filepath.Join(run, "1", "state", "d"), orbax.ErrInvalidCheckpoint, nil},
		{run, orbax.ErrInvalidCheckpoint, []string{"1", "20"}},
		{empty, orbax.ErrInvalidCheckpoint, []string{"empty"}},
		{filepath.Join(dir, "misc"), orbax.ErrInvalidCheckpoint, nil},
		{file, orbax.ErrInvalidCheckpoint, []string{"file"}},
		{filepath.Join(file, "x"), nil, nil},
		{"", nil, nil},
		{"nowhere://x", orbax.ErrUnsupported, []string{"nowhere"}},
	} {
		for name, load := range map[string]func() error{
			"load":     func() error { _, err := orbax.Load(t.Context(), c.path); return err },
			"into":     func() error { var v any; return orbax.LoadInto(t.Context(), c.path, &v) },
			"metadata": func() error { _, err := orbax.Metadata(t.Context(), c.path); return err },
			"verify":   func() error { return orbax.Verify(t.Context(), c.path) },
		} {
			err := untouched(t, c.path, dir, load)
			checkError(t, name+" "+c.path, err, "open", c.path, c.want)
			for _, text := range c.text {
				if err != nil && !strings.Contains(err.Error(), text) {
					t.Errorf("%s %s: %v, without %q", name, c.path, err, text)
				}
			}
		}
	}
}

func TestLoadMismatches(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ckpt")
	saved := map[string]any{
		"w": array.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3), "n": 7, "s": "text", "l": []any{1, 2}, "d": map[string]any{"x": 1},
	}
	if err := orbax.Save(t.Context(), path, saved); err != nil {
		t.Fatal(err)
	}
	w := func() *array.Array { return array.Of(make([]float32, 6), 2, 3) }
	shape, dtype := array.Of(make([]float32, 6), 3, 2), array.Of(make([]int32, 6), 2, 3)
	good := func() map[string]any {
		return map[string]any{"w": w(), "n": 0, "s": "", "l": []any{0, 0}, "d": map[string]any{"x": 0}}
	}
	change := func(key string, v any) map[string]any {
		m := good()
		m[key] = v
		if v == nil {
			delete(m, key)
		}
		return m
	}
	for name, c := range map[string]struct {
		target any
		want   error
		leaves []string
		texts  []string
	}{
		"shape":      {change("w", shape), orbax.ErrShape, []string{"w"}, []string{"[2 3]", "[3 2]"}},
		"dtype":      {change("w", dtype), orbax.ErrDType, []string{"w"}, []string{"float32", "int32"}},
		"missing":    {change("zz", 1), orbax.ErrStructure, []string{"zz"}, nil},
		"unexpected": {change("n", nil), orbax.ErrStructure, []string{"n"}, nil},
		"kind":       {change("s", w()), orbax.ErrStructure, []string{"s"}, []string{"string", "array"}},
		"container":  {change("l", map[string]any{"0": 1, "1": 2}), orbax.ErrStructure, nil, nil},
		"length":     {change("l", []any{1}), orbax.ErrStructure, nil, nil},
		"all": {map[string]any{"w": shape, "n": "", "l": []any{0, 0}, "d": map[string]any{"y": 0}, "x": 1}, orbax.ErrShape,
			[]string{"d.y", "n", "w", "x", "d.x", "s"}, nil},
		"nil":         {nil, orbax.ErrLeafType, nil, nil},
		"not pointer": {3, orbax.ErrLeafType, nil, nil},
		"nil pointer": {(*int)(nil), orbax.ErrLeafType, nil, nil},
		"nil map":     {map[string]any(nil), orbax.ErrLeafType, nil, nil},
	} {
		err := untouched(t, name, dir, func() error { return orbax.LoadInto(t.Context(), path, c.target) })
		checkError(t, name, err, "load", path, c.want, c.leaves...)
		for _, text := range c.texts {
			if err != nil && !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v, without %q", name, err, text)
			}
		}
	}
	if err := orbax.LoadInto(t.Context(), path, good()); err != nil {
		t.Error(err)
	}
	for name, load := range map[string]func() error{
		"Name": func() error { _, err := orbax.Load(t.Context(), path, orbax.Name("zz")); return err },
		"target": func() error {
			_, err := orbax.LoadCheckpointables(t.Context(), path, map[string]any{"zz": nil})
			return err
		},
	} {
		err := untouched(t, name, dir, load)
		checkError(t, name, err, "load", path, orbax.ErrNotExist)
		if !strings.Contains(err.Error(), `"state"`) {
			t.Errorf("%s: %v does not say what there is", name, err)
		}
	}
	for _, name := range []string{"..", "a/b", "_CHECKPOINT_METADATA"} {
		_, err := orbax.Load(t.Context(), path, orbax.Name(name))
		checkError(t, name, err, "load", path, orbax.ErrReservedName)
	}
}
