package pytree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// bareDir is a directory of files that is no checkpoint of Orbax.
func bareDir(all map[string]string) (*ckdir.ReadDir, fstest.MapFS) {
	fsys := fstest.MapFS{}
	for name, data := range all {
		fsys["dir/"+name] = &fstest.MapFile{Data: []byte(data)}
	}
	return ckdir.NewReadDir(ckdir.Place{Root: storage.At(storage.FS(fsys), "dir")}), fsys
}

// tensorFile returns a safetensors file of tensors of bytes.
func tensorFile(t *testing.T, all map[string]string) string {
	t.Helper()
	tensors := map[string]*array.Array{}
	for name, data := range all {
		tensors[name] = array.Of([]byte(data))
	}
	return string(orbaxtest.Tensors(t, tensors))
}

// zarrDoc returns the zarr document of an array of bytes.
func zarrDoc(t *testing.T, format int, shape, chunk []int) string {
	t.Helper()
	m, err := zarr.New(zarr.Options{Format: format, Shape: shape, ChunkShape: chunk, DType: array.Uint8})
	if err != nil {
		t.Fatal(err)
	}
	return string(m.Document())
}

func leafNames(t *view.Tree) (names []string) {
	for name := range t.Leaves() {
		names = append(names, name)
	}
	return names
}

// A file may be replaced after its header has been read and before the rest is.
func TestSafetensorsReplaced(t *testing.T) {
	dir, fsys := bareDir(map[string]string{"model.safetensors": tensorFile(t, map[string]string{"a": "xy"})})
	opened, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	fsys["dir/model.safetensors"] = &fstest.MapFile{Data: []byte(tensorFile(t, map[string]string{"a": "zz"})), ModTime: time.Unix(1, 0)}
	if v, err := opened.Load(t.Context()); !errors.Is(err, fault.ErrBusy) {
		t.Errorf("another file was read: %v, %v", v, err)
	}
	delete(fsys, "dir/model.safetensors")
	if v, err := opened.Load(t.Context()); !errors.Is(err, fault.ErrBusy) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file was read: %v, %v", v, err)
	}
}

// A pytree of Orbax is opened as such, whatever other files lie beside it.
func TestPytreeBesideTensors(t *testing.T) {
	dir, _ := bareDir(map[string]string{
		"_METADATA":          `{"tree_metadata": {"x": {"key_metadata": [{"key": "n", "key_type": 2}], "value_metadata": {"value_type": "None", "skip_deserialize": true}}}}`,
		"export.safetensors": tensorFile(t, map[string]string{"a": "x"}),
	})
	opened, err := Open(t.Context(), dir, Options{})
	if err != nil || strings.Join(leafNames(opened), " ") != "n" {
		t.Errorf("%v", err)
	}
	if errs := Verify(t.Context(), dir, Options{}); len(errs) > 0 {
		t.Error(errs)
	}
}

// An array with documents of both formats is one array.
func TestBothFormats(t *testing.T) {
	dir, _ := bareDir(map[string]string{
		"a/.zarray": zarrDoc(t, 2, []int{1}, []int{1}), "a/0": "x",
		"a/zarr.json": zarrDoc(t, 3, []int{0}, []int{1}),
		"b/.zarray":   zarrDoc(t, 2, []int{1}, []int{1}), "b/0": "y",
	})
	opened, err := Open(t.Context(), dir, Options{})
	if err != nil || strings.Join(leafNames(opened), " ") != "a b" {
		t.Fatalf("%v", err)
	}
	if a, _ := opened.Leaf("a"); a.Shape()[0] != 0 {
		t.Errorf("a is %v, not as in format 3", a.Shape())
	}
}

// A document of a few bytes can claim any number of chunks, all of them missing.
func TestMissingChunksAreBounded(t *testing.T) {
	t.Parallel()
	for _, shape := range [][]int{{maxMissing + 1}, {1 << 31, 1 << 31}} {
		chunk := make([]int, len(shape))
		for i := range chunk {
			chunk[i] = 1
		}
		dir, _ := bareDir(map[string]string{"zarr.json": zarrDoc(t, 3, shape, chunk)})
		opened, err := Open(t.Context(), dir, Options{Fill: true})
		if err != nil {
			t.Fatal(err)
		}
		_, lerr := opened.Load(t.Context())
		for what, err := range map[string]error{"metadata": opened.Metadata().Err(), "load": lerr} {
			if !errors.Is(err, fault.ErrUnsupported) {
				t.Errorf("%v: %s: %v", shape, what, err)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(nil)
		if _, err := Open(ctx, dir, Options{Fill: true}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, cancelled: %v", shape, err)
		}
	}
}

// A shard without one of its inner chunks is damaged, in whatever way it is read. The
// error does not say that the checkpoint does not exist.
func TestAbsentInnerChunk(t *testing.T) {
	doc := func(shape, shard, inner string) string {
		return fmt.Sprintf(`{"zarr_format":3,"node_type":"array","shape":%s,"data_type":"uint8","fill_value":7,
			"chunk_grid":{"name":"regular","configuration":{"chunk_shape":%s}},
			"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},
			"codecs":[{"name":"sharding_indexed","configuration":{"chunk_shape":%s,
				"codecs":[{"name":"bytes"}],
				"index_codecs":[{"name":"bytes","configuration":{"endian":"little"}}]}}]}`, shape, shard, inner)
	}
	at := func(n string) string { return n + strings.Repeat("\x00", 7) }
	shard := "ab" + at("\x00") + at("\x02") + strings.Repeat("\xff", 16)
	files := map[string]string{"zarr.json": doc("[4]", "[4]", "[2]"), "c/0": shard}
	bare, _ := bareDir(files)
	files["_METADATA"] = `{"tree_metadata": {"()": {"key_metadata": [], "value_metadata": {"value_type": "np.ndarray", "skip_deserialize": false}}}, "use_ocdbt": false, "use_zarr3": true}`
	dir, _ := bareDir(files)
	opened, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := opened.Leaf("")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := l.Region(t.Context(), []int{0}, []int{2}); err != nil || string(a.Bytes()) != "ab" {
		t.Errorf("what is there: %v, %v", a, err)
	}
	_, err = l.Region(t.Context(), []int{2}, []int{2})
	_, lerr := l.Load(t.Context())
	for what, err := range map[string]error{"Region": err, "Load": lerr, "Verify": errors.Join(opened.Verify(t.Context())...)} {
		if !errors.Is(err, fault.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "FillMissing") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, open := range map[string]func() (*view.Tree, error){
		"filled": func() (*view.Tree, error) { return Open(t.Context(), dir, Options{Fill: true}) },
		"bare":   func() (*view.Tree, error) { return Open(t.Context(), bare, Options{}) },
	} {
		filled, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if v, err := filled.Load(t.Context()); err != nil || string(v.(*array.Array).Bytes()) != "ab\x07\x07" {
			t.Errorf("%s: %v, %v", what, v, err)
		}
	}
}
