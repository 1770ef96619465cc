package pytree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/rawarray"
	"github.com/go-orbax/orbax/view"
)

// An index decides which files count. An error in a file is an error of the tensors that
// the index places in it.
func TestSafetensorsIndex(t *testing.T) {
	const (
		indexed = `{"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}`
		doc     = "model.safetensors.index.json"
		pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8\n"
	)
	one, two := tensorFile(t, map[string]string{"a": "x"}), tensorFile(t, map[string]string{"b": "yz"})
	old := tensorFile(t, map[string]string{"a": "o", "b": "ld", "c": "!"})
	for name, c := range map[string]struct {
		files map[string]string
		whole error            // error of the tree
		leaf  map[string]error // errors of the leaves that cannot be read
		want  map[string]string
	}{
		"whole":         {files: map[string]string{"model-1.safetensors": one, "model-2.safetensors": two, doc: indexed}, want: map[string]string{"a": "x", "b": "yz"}},
		"no index":      {files: map[string]string{"model-1.safetensors": one}, want: map[string]string{"a": "x"}},
		"stray":         {files: map[string]string{"model-1.safetensors": one, "model-2.safetensors": two, doc: indexed, "model.safetensors": old}, want: map[string]string{"a": "x", "b": "yz"}},
		"stray junk":    {files: map[string]string{"model-1.safetensors": one, "model-2.safetensors": two, doc: indexed, "z.safetensors": "junk"}, want: map[string]string{"a": "x", "b": "yz"}},
		"superseded":    {files: map[string]string{"model-1.safetensors": old, "model-2.safetensors": two, doc: indexed}, want: map[string]string{"a": "o", "b": "yz"}},
		"lost":          {files: map[string]string{"model-1.safetensors": one, doc: indexed}, leaf: map[string]error{"b": fault.ErrCorrupt}, want: map[string]string{"a": "x"}},
		"moved":         {files: map[string]string{"model-1.safetensors": one, "model-3.safetensors": two, doc: indexed}, leaf: map[string]error{"b": fault.ErrCorrupt}, want: map[string]string{"a": "x"}},
		"swapped":       {files: map[string]string{"model-1.safetensors": two, "model-2.safetensors": one, doc: indexed}, leaf: map[string]error{"a": fault.ErrCorrupt, "b": fault.ErrCorrupt}},
		"cut off":       {files: map[string]string{"model-1.safetensors": one, "model-2.safetensors": two[:20], doc: indexed}, leaf: map[string]error{"b": fault.ErrCorrupt}, want: map[string]string{"a": "x"}},
		"not fetched":   {files: map[string]string{"model-1.safetensors": one, "model-2.safetensors": pointer, doc: indexed}, leaf: map[string]error{"b": fault.ErrIncomplete}, want: map[string]string{"a": "x"}},
		"none fetched":  {files: map[string]string{"model-1.safetensors": pointer, "model-2.safetensors": pointer, doc: indexed}, leaf: map[string]error{"a": fault.ErrIncomplete, "b": fault.ErrIncomplete}},
		"out of it":     {files: map[string]string{"model-1.safetensors": one, doc: strings.ReplaceAll(indexed, "model-2", "../model-2")}, leaf: map[string]error{"b": fault.ErrCorrupt}, want: map[string]string{"a": "x"}},
		"two indexes":   {files: map[string]string{"model-1.safetensors": one, "model-2.safetensors": two, doc: indexed, "ema.safetensors": old, "ema.safetensors.index.json": `{"weight_map": {"c": "ema.safetensors"}}`}, want: map[string]string{"a": "x", "b": "yz", "c": "!"}},
		"contradiction": {files: map[string]string{"model-1.safetensors": one, "model-2.safetensors": two, doc: indexed, "ema.safetensors": old, "ema.safetensors.index.json": `{"weight_map": {"a": "ema.safetensors"}}`}, leaf: map[string]error{"a": fault.ErrKeyCollision}, want: map[string]string{"b": "yz"}},
		"twice":         {files: map[string]string{"model-1.safetensors": one, "model-2.safetensors": one, "model-3.safetensors": two}, leaf: map[string]error{"a": fault.ErrKeyCollision}, want: map[string]string{"b": "yz"}},
		"index damaged": {files: map[string]string{"model-1.safetensors": one, doc: indexed[:20]}, whole: fault.ErrCorrupt},
		"index pointer": {files: map[string]string{"model-1.safetensors": one, doc: pointer}, whole: fault.ErrIncomplete},
		"pointer alone": {files: map[string]string{"model-1.safetensors": one, "model-2.safetensors": pointer}, whole: fault.ErrIncomplete},
	} {
		dir, _ := bareDir(c.files)
		opened, err := Open(t.Context(), dir, Options{})
		if c.whole != nil || err != nil {
			if !errors.Is(err, c.whole) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		names := slices.Collect(maps.Keys(c.leaf))
		for leaf, want := range c.want {
			names = append(names, leaf)
			l, err := opened.Leaf(leaf)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if v, err := l.Load(t.Context()); err != nil || string(v.(*array.Array).Bytes()) != want {
				t.Errorf("%s: %s: %v, %v", name, leaf, v, err)
			}
		}
		slices.Sort(names)
		if got := leafNames(opened); !slices.Equal(got, names) {
			t.Errorf("%s: leaves %q, want %q", name, got, names)
		}
		_, lerr := opened.Load(t.Context())
		verr := errors.Join(Verify(t.Context(), dir, Options{})...)
		for leaf, want := range c.leaf {
			for what, err := range map[string]error{"load": lerr, "verify": verr} {
				if !errors.Is(err, want) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "leaf "+leaf+": ") {
					t.Errorf("%s: %s of %s: %v", name, what, leaf, err)
				}
			}
		}
		if len(c.leaf) == 0 && (lerr != nil || verr != nil) {
			t.Errorf("%s: load: %v, verify: %v", name, lerr, verr)
		}
	}
	dir, _ := bareDir(map[string]string{"model-1.safetensors": one, doc: indexed})
	file := ckdir.NewReadDir(ckdir.Place{Root: dir.At().Join("model-1.safetensors")})
	if opened, err := Open(t.Context(), file, Options{}); err != nil || opened.Len() != 1 {
		t.Errorf("one of the files: %v", err)
	}
}

// packedFile returns a safetensors file with one tensor of random bytes after a tensor of
// another dtype.
func packedFile(dtype string, shape []int, bytes int) (file string, data []byte) {
	data = make([]byte, bytes)
	for i, x := 0, uint32(1); i < len(data); i++ {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	dims := strings.ReplaceAll(fmt.Sprint(shape), " ", ",")
	head := fmt.Sprintf(`{"w":{"dtype":%q,"shape":%s,"data_offsets":[0,%d]},"n":{"dtype":"NEW","shape":[2],"data_offsets":[%d,%d]}}`, dtype, dims, bytes, bytes, bytes+3)
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))) + head + string(data) + "xyz", data
}

// Elements that share bytes are read correctly in whatever part they are read. A tensor
// of an unknown dtype does not affect the others.
func TestSafetensorsPacked(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		dtype string
		is    array.DType
		bits  int
		shape []int
	}{
		{"F4", array.Float4E2M1FN, 4, []int{6, 5}},
		{"F4", array.Float4E2M1FN, 4, []int{1, 1, 8}},
		{"F4", array.Float4E2M1FN, 4, []int{2}},
		{"F4", array.Float4E2M1FN, 4, []int{0, 3}},
		{"F4", array.Float4E2M1FN, 4, []int{3, rawarray.PieceBytes/2 + 2}},
		{"F6_E2M3", array.Float6E2M3FN, 6, []int{4, 3}},
		{"F6_E3M2", array.Float6E3M2FN, 6, []int{1, 12, 1}},
		{"F6_E3M2", array.Float6E3M2FN, 6, []int{2*rawarray.PieceBytes + 4}},
	} {
		n, err := array.NumElements(c.shape)
		if err != nil {
			t.Fatal(err)
		}
		file, data := packedFile(c.dtype, c.shape, n*c.bits/8)
		want := make([]byte, n)
		for i := range want {
			for b := range c.bits {
				at := i*c.bits + b
				want[i] |= data[at/8] >> (at % 8) & 1 << b
			}
		}
		dir, _ := bareDir(map[string]string{"m.safetensors": file})
		opened, err := Open(ctx, dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := opened.Leaf("w")
		if err != nil {
			t.Fatal(err)
		}
		v, err := l.Load(ctx)
		if err != nil {
			t.Errorf("%s%v: %v", c.dtype, c.shape, err)
			continue
		}
		a := v.(*array.Array)
		if a.DType() != c.is || !slices.Equal(a.Shape(), c.shape) || string(a.Bytes()) != string(want) {
			t.Errorf("%s%v: another array %v", c.dtype, c.shape, a)
		}
		if m := l.Metadata(); m.Bytes != int64(n) || m.StoredBytes != int64(len(data)) {
			t.Errorf("%s%v: %d bytes, %d stored", c.dtype, c.shape, m.Bytes, m.StoredBytes)
		}
		off, size := make([]int, len(c.shape)), slices.Clone(c.shape)
		last := len(c.shape) - 1
		if n > 0 {
			off[last], size[last] = size[last]/2, size[last]-size[last]/2
		}
		part, err := l.Region(ctx, off, size)
		if err != nil {
			t.Errorf("%s%v: %v", c.dtype, c.shape, err)
			continue
		}
		whole, err := view.Constant(nil, a)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := whole.Region(ctx, off, size); err != nil || !part.Equal(same) {
			t.Errorf("%s%v: region: another array, %v", c.dtype, c.shape, err)
		}
		_, err = opened.Load(ctx)
		if !errors.Is(err, fault.ErrDType) || !strings.Contains(err.Error(), `leaf n: dtype mismatch: unknown safetensors dtype "NEW"`) {
			t.Errorf("load of both: %v", err)
		}
	}
}
