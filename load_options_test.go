package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/view"
)

// bareArray makes a directory that is a zarr array, and has one of two chunks.
func bareArray(t *testing.T, path string) {
	t.Helper()
	must(t, os.MkdirAll(path, 0o777))
	writeFile(t, filepath.Join(path, ".zarray"),
		`{"zarr_format":2,"shape":[4],"chunks":[2],"dtype":"|u1","compressor":null,"fill_value":9,"order":"C","filters":null}`)
	writeFile(t, filepath.Join(path, "0"), "ab")
}

// A store of arrays can be loaded, but is no checkpoint that one can rely on, and
// nothing of others is replaced or deleted.
func TestForeignStoresAreNoCheckpoints(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	bareArray(t, filepath.Join(dir, "array"))
	bareArray(t, filepath.Join(dir, "folder", "a"))
	must(t, os.Mkdir(filepath.Join(dir, "tensors"), 0o777))
	writeTensors(t, filepath.Join(dir, "tensors", "model.safetensors"), map[string]*array.Array{"a": array.Of([]int8{1})})
	writeTensors(t, filepath.Join(dir, "model.safetensors"), map[string]*array.Array{"a": array.Of([]int8{1})})
	must(t, os.Mkdir(filepath.Join(dir, "release"), 0o777)) // with digests of another program
	writeFile(t, filepath.Join(dir, "release", "digests.sha256"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  tool\n")
	writeFile(t, filepath.Join(dir, "release", "tool"), "")
	must(t, os.MkdirAll(filepath.Join(dir, "odd", "manifest.ocdbt"), 0o777)) // a directory
	must(t, os.Mkdir(filepath.Join(dir, "tensorflow"), 0o777))
	writeFile(t, filepath.Join(dir, "tensorflow", "checkpoint"), "model_checkpoint_path: \"ckpt-1\"\n")
	for name, opens := range map[string]bool{
		"array": true, "folder": true, "tensors": true, "model.safetensors": true, "release": false, "odd": false, "tensorflow": false,
	} {
		path := filepath.Join(dir, name)
		before := everything(t, path)
		if is, err := orbax.IsCheckpoint(ctx, path); is || err != nil {
			t.Errorf("%s: IsCheckpoint: %v, %v", name, is, err)
		}
		ck, err := orbax.Open(ctx, path)
		if (err == nil) != opens || err != nil && !errors.Is(err, orbax.ErrInvalidCheckpoint) {
			t.Errorf("%s: Open: %v", name, err)
		}
		if err == nil {
			ck.Close()
		}
		if err := orbax.Save(ctx, path, 1, orbax.Overwrite()); !errors.Is(err, orbax.ErrInvalidCheckpoint) {
			t.Errorf("%s: Save: %v", name, err)
		}
		if err := orbax.Delete(ctx, path); !errors.Is(err, orbax.ErrInvalidCheckpoint) {
			t.Errorf("%s: Delete: %v", name, err)
		}
		if after := everything(t, path); !reflect.DeepEqual(before, after) {
			t.Errorf("%s was changed", name)
		}
	}
}

// A session of partial saves is not complete, whatever is in it already.
func TestPartialSessionIsIncomplete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, orbax.Save(t.Context(), path, map[string]any{"a": 1}))
	session := path + ".partial_save"
	must(t, os.Mkdir(session, 0o777))
	must(t, os.Rename(filepath.Join(path, "state"), filepath.Join(session, "state")))
	if _, err := orbax.Load(t.Context(), session); !errors.Is(err, orbax.ErrIncomplete) {
		t.Error(err)
	}
}

// sparseTree makes a pytree in plain files of which a chunk is missing, as Orbax wrote
// them before v1: nothing in it says that all chunks are there.
func sparseTree(t *testing.T) string {
	t.Helper()
	path := filesOf(t, array.Of([]uint8{1, 2, 3, 4}), true)
	dir := filepath.Join(path, "state")
	must(t, os.Remove(filepath.Join(dir, "0")))
	bareArray(t, dir)
	doc, err := os.ReadFile(filepath.Join(dir, "_METADATA"))
	must(t, err)
	writeFile(t, filepath.Join(dir, "_METADATA"), strings.ReplaceAll(string(doc), `"store_array_data_equal_to_fill_value": true`, `"store_array_data_equal_to_fill_value": false`))
	return path
}

// What a missing chunk means depends on what its writer promises.
func TestMissingChunks(t *testing.T) {
	ctx := t.Context()
	bare, folder := filepath.Join(t.TempDir(), "array"), t.TempDir()
	bareArray(t, bare)
	bareArray(t, filepath.Join(folder, "a"))
	writeFile(t, filepath.Join(folder, ".zgroup"), `{"zarr_format":2}`)
	for name, path := range map[string]string{"zarr array": bare, "directory": folder} {
		m, err := orbax.Metadata(ctx, path)
		if err != nil || m.Err() != nil || m.Tree.Leaves[0].MissingChunks != 1 || m.Tree.Leaves[0].StoredBytes != 2 {
			t.Errorf("%s: Metadata: %+v of %+v, %v, %v; want 1 chunk that is missing and 2 bytes", name, m, m.Tree.Leaves, err, m.Err())
		}
		if err := orbax.Verify(ctx, path); err != nil {
			t.Errorf("%s: Verify: %v", name, err)
		}
		v, err := orbax.Load(ctx, path)
		if tree, ok := v.(map[string]any); ok {
			v = tree["a"]
		}
		if a, ok := v.(*array.Array); err != nil || !ok || !a.Equal(array.Of([]uint8{'a', 'b', 9, 9})) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
		if _, err := orbax.Hash(ctx, path); err != nil {
			t.Errorf("%s: Hash: %v", name, err)
		}
	}
	tree := sparseTree(t)
	if err := orbax.Verify(ctx, tree); !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), "FillMissing") {
		t.Errorf("Verify of a tree: %v", err)
	}
	if err := orbax.Verify(ctx, tree, orbax.FillMissing()); err != nil {
		t.Errorf("Verify of a tree with FillMissing: %v", err)
	}
	// Where the writer stored every chunk one that is missing is lost: with FillMissing
	// the numbers would be wrong.
	for _, ours := range []bool{true, false} {
		promised := filepath.Join(t.TempDir(), "ck")
		must(t, orbax.Save(ctx, promised, map[string]any{"x": array.Of([]uint8{1, 2, 3, 4})}, orbax.Storage(handler.StorageOptions{PlainFiles: true})))
		if !ours { // as Orbax writes it
			must(t, os.Remove(filepath.Join(promised, "digests.sha256")))
			must(t, os.Remove(filepath.Join(promised, "state", "go-orbax.places")))
		}
		must(t, os.Remove(filepath.Join(promised, "state", "x", "c", "0")))
		_, err := orbax.Load(ctx, promised)
		if verr := orbax.Verify(ctx, promised); !errors.Is(verr, orbax.ErrCorrupt) || !errors.Is(err, orbax.ErrCorrupt) || strings.Contains(fmt.Sprint(verr, err), "FillMissing") {
			t.Errorf("a promised chunk: Verify %v, Load %v", verr, err)
		}
	}
}

// A document of a few bytes does not make a store of any size.
func TestHollowStore(t *testing.T) {
	ctx := t.Context()
	write := func(shape, chunk int) string {
		path := filepath.Join(t.TempDir(), "array")
		bareArray(t, path)
		writeFile(t, filepath.Join(path, ".zarray"), fmt.Sprintf(
			`{"zarr_format":2,"shape":[%d],"chunks":[%d],"dtype":"|u1","compressor":null,"fill_value":9,"order":"C","filters":null}`, shape, chunk))
		must(t, os.Remove(filepath.Join(path, "0")))
		return path
	}
	for name, path := range map[string]string{"one chunk": write(1<<40, 1<<40), "many": write(1<<30, 1<<20)} {
		m, err := orbax.Metadata(ctx, path)
		must(t, err)
		_, lerr := orbax.Load(ctx, path)
		for what, err := range map[string]error{
			"Metadata": m.Err(), "Load": lerr, "Verify": orbax.Verify(ctx, path), "Hash": second(orbax.Hash(ctx, path)),
		} {
			if !errors.Is(err, orbax.ErrUnsupported) || !strings.Contains(err.Error(), "FillMissing") {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		m, err = orbax.Metadata(ctx, path, orbax.FillMissing())
		if err != nil || m.Err() != nil || m.Tree.Leaves[0].Shape[0] < 1<<30 {
			t.Errorf("%s: Metadata with FillMissing: %v, %v", name, err, m.Err())
		}
	}
	v, err := orbax.Load(ctx, write(1<<20, 1<<10))
	if a, ok := v.(*array.Array); err != nil || !ok || a.Bytes()[1<<19] != 9 {
		t.Errorf("a MiB: %v, %v", v, err)
	}
}

func TestFillMissingEverywhere(t *testing.T) {
	ctx := t.Context()
	path := sparseTree(t)
	want := array.Of([]uint8{'a', 'b', 9, 9})
	for name, read := range map[string]func(o ...orbax.LoadOption) (any, error){
		"Load":   func(o ...orbax.LoadOption) (any, error) { return orbax.Load(ctx, path, o...) },
		"LoadAs": func(o ...orbax.LoadOption) (any, error) { return orbax.LoadAs[*array.Array](ctx, path, o...) },
		"LoadAbstract": func(o ...orbax.LoadOption) (any, error) {
			return orbax.LoadAbstract(ctx, path, array.Abstract(want), o...)
		},
	} {
		if v, err := read(orbax.FillMissing()); err != nil || !v.(*array.Array).Equal(want) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
		if _, err := read(); !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("%s without the option: %v", name, err)
		}
	}
	meta, err := orbax.Metadata(ctx, path, orbax.FillMissing())
	if err != nil || meta.Tree.Leaves[0].StoredBytes != 2 {
		t.Errorf("Metadata: %+v, %v", meta, err)
	}
	if _, err := orbax.CheckpointablesMetadata(ctx, path, orbax.FillMissing()); err != nil {
		t.Errorf("CheckpointablesMetadata: %v", err)
	}
	if meta, err = orbax.Metadata(ctx, path); err != nil || !errors.Is(meta.Err(), orbax.ErrCorrupt) {
		t.Errorf("Metadata without the option: %v, %v", err, meta.Err())
	}
}

// What an option cannot do is refused, not ignored.
func TestOptionsThatDoNothing(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, orbax.SaveCheckpointables(ctx, path, map[string]any{
		"state": map[string]any{"a": 1}, "config": handler.JSON{Value: map[string]int{"a": 1}},
	}))
	for name, o := range map[string]orbax.LoadCheckpointablesOption{
		"Cast": orbax.Cast(), "PadOrTruncate": orbax.PadOrTruncate(), "Partial": orbax.Partial(),
	} {
		if _, err := orbax.Load(ctx, path, o); !errors.Is(err, orbax.ErrUsage) {
			t.Errorf("%s: Load: %v", name, err)
		}
		if _, err := orbax.LoadCheckpointables(ctx, path, nil, o); !errors.Is(err, orbax.ErrUsage) {
			t.Errorf("%s: LoadCheckpointables: %v", name, err)
		}
	}
	none := orbax.SelectFunc(func(*view.LeafMetadata) bool { return false })
	for name, c := range map[string]struct {
		options []orbax.LoadOption
		want    error
	}{
		"no pattern":       {[]orbax.LoadOption{orbax.Select()}, orbax.ErrStructure},
		"nothing selected": {[]orbax.LoadOption{none}, orbax.ErrStructure},
		"of JSON":          {[]orbax.LoadOption{orbax.Name("config"), orbax.Select("a")}, orbax.ErrUsage},
	} {
		_, lerr := orbax.Load(ctx, path, c.options...)
		_, merr := orbax.Metadata(ctx, path, c.options...)
		for what, err := range map[string]error{"Load": lerr, "Metadata": merr} {
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
	if m, err := orbax.Metadata(ctx, path, orbax.Name("config")); err != nil || m.Tree != nil {
		t.Errorf("Metadata of JSON: %+v, %v", m, err)
	}
}

// Metadata that describe no tree are no description of one.
func TestLoadAbstractOfNothing(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, orbax.Save(ctx, path, map[string]any{"a": 1}))
	all, err := orbax.CheckpointablesMetadata(ctx, path)
	must(t, err)
	for _, abstract := range []any{all, (*orbax.CheckpointMetadata)(nil), (*view.TreeMetadata)(nil), nil} {
		if _, err := orbax.LoadAbstract(ctx, path, abstract); !errors.Is(err, orbax.ErrStructure) {
			t.Errorf("%T: %v", abstract, err)
		}
	}
}

// A load that was cancelled says so, and not that something is missing.
func TestCancelledIsNotDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, orbax.Save(t.Context(), path, map[string]any{"a": 1}))
	for _, digests := range []bool{true, false} {
		if !digests {
			remove("digests.sha256")(t, path)
		}
		ck, err := orbax.Open(t.Context(), path)
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, lerr := ck.Load(ctx, orbax.Name("state"))
		_, merr := ck.Metadata(ctx, orbax.Name("state"))
		_, terr := ck.Tree(ctx, orbax.Name("state"))
		for what, err := range map[string]error{"Load": lerr, "Metadata": merr, "Tree": terr, "Verify": ck.Verify(ctx)} {
			if !errors.Is(err, context.Canceled) || errors.Is(err, orbax.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// A load that takes another checkpointable than the program means says which it was.
func TestDefaultIsNamed(t *testing.T) {
	save := func(names ...string) string {
		parts := map[string]any{}
		for _, name := range names {
			parts[name] = map[string]any{name: 1}
		}
		path := filepath.Join(t.TempDir(), "ckpt")
		if err := orbax.SaveCheckpointables(t.Context(), path, parts); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		names []string
		hint  bool
	}{{[]string{"model", "aux"}, true}, {[]string{"state", "aux"}, false}, {[]string{"model"}, false}} {
		target := map[string]int{"other": 0}
		err := orbax.LoadInto(t.Context(), save(c.names...), &target)
		if !errors.Is(err, orbax.ErrStructure) {
			t.Error(err)
		}
		if says := strings.Contains(err.Error(), `"aux"`) && strings.Contains(err.Error(), "Name chooses another"); says != c.hint {
			t.Errorf("%q: %v", c.names, err)
		}
		if err := orbax.LoadInto(t.Context(), save(c.names...), &target, orbax.Name(c.names[0])); strings.Contains(err.Error(), "chooses another") {
			t.Errorf("%q: %v", c.names, err)
		}
	}
}
