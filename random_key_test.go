package orbax_test

import (
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// A part that is known to be the state of a random generator, and of which a file is
// lost or damaged, is damaged: it is not another pytree, and not loaded as an array
// that is no key.
func TestRandomKeyDamage(t *testing.T) {
	whole := unzip(t, "v0_random_keys")
	for _, change := range []func(fstest.MapFS){
		func(f fstest.MapFS) { delete(f, "ckpt/one/jax_random_key_metadata/metadata") },
		func(f fstest.MapFS) { delete(f, "ckpt/one/jax_random_key/_METADATA") },
		func(f fstest.MapFS) {
			f["ckpt/one/jax_random_key_metadata/metadata"] = &fstest.MapFile{Data: []byte("{}")}
		},
		func(f fstest.MapFS) {
			f["ckpt/one/jax_random_key_metadata/metadata"] = &fstest.MapFile{Data: []byte(`{"typed": true, "legacy": true}`)}
		},
		func(f fstest.MapFS) { delete(f, "ckpt/one/jax_random_key/checkpoint/0") },
		func(f fstest.MapFS) { f["ckpt/one/jax_random_key/_METADATA"] = f["ckpt/tuple/np_random_key/_METADATA"] },
	} {
		files := maps.Clone(whole)
		change(files)
		ck, err := orbax.Open(t.Context(), "ckpt", orbax.In(storage.FS(files)))
		if err != nil {
			t.Fatal(err)
		}
		v, err := ck.Load(t.Context(), orbax.Name("one"))
		if !errors.Is(err, orbax.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load gives %v, %v", v, err)
		}
		if err := ck.Verify(t.Context()); !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), "one") {
			t.Errorf("Verify gives %v", err)
		}
		if _, err := ck.Load(t.Context(), orbax.Name("many")); err != nil {
			t.Errorf("another part: %v", err)
		}
	}
}

// The data of a typed key do not say which of two generators four words are for.
func TestRandomKeyUnknownGenerator(t *testing.T) {
	files := unzip(t, "v0_random_keys")
	doc := files["ckpt/legacy/jax_random_key_metadata/metadata"].Data
	if !strings.Contains(string(doc), "false") {
		t.Fatalf("the document is %s", doc)
	}
	for _, part := range []string{"legacy", "one"} {
		v := loadPart(t, files, part).(*array.Array)
		if want := map[string]string{"legacy": "", "one": "threefry2x32"}[part]; v.PRNGImpl() != want || v.DType() != array.Uint32 {
			t.Errorf("%s is %v of generator %q, want %q", part, v.DType(), v.PRNGImpl(), want)
		}
	}
	zarray := files["ckpt/one/jax_random_key/checkpoint/.zarray"]
	wide := strings.NewReplacer(`"chunks":[2]`, `"chunks":[4]`, `"shape":[2]`, `"shape":[4]`, `"id":"zstd"`, `"id":null`).Replace(string(zarray.Data))
	files["ckpt/one/jax_random_key/checkpoint/.zarray"] = &fstest.MapFile{Data: []byte(uncompressed(t, wide))}
	files["ckpt/one/jax_random_key/checkpoint/0"] = &fstest.MapFile{Data: make([]byte, 16)}
	if v := loadPart(t, files, "one").(*array.Array); v.PRNGImpl() != "" || len(v.Bytes()) != 16 {
		t.Errorf("a key of four words is %v of generator %q", v, v.PRNGImpl())
	}
}

// uncompressed removes the compressor from a document of zarr 2.
func uncompressed(t *testing.T, doc string) string {
	t.Helper()
	before, rest, ok := strings.Cut(doc, `"compressor":{`)
	_, after, ok2 := strings.Cut(rest, "}")
	if !ok || !ok2 {
		t.Fatalf("the document is %s", doc)
	}
	return before + `"compressor":null` + after
}

func loadPart(t *testing.T, files fs.FS, part string) any {
	t.Helper()
	ck, err := orbax.Open(t.Context(), "ckpt", orbax.In(storage.FS(files)))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	v, err := ck.Load(t.Context(), orbax.Name(part))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A state of NumPy's is a tuple, which fills a struct of Go's as it is.
func TestRandomKeyInto(t *testing.T) {
	ck, err := orbax.Open(t.Context(), "ckpt", orbax.In(storage.FS(unzip(t, "v0_random_keys"))))
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		_        struct{} `orbax:",seq"`
		Name     string
		Key      *array.Array
		Position int
		HasGauss int
		Gauss    float64
	}
	v, err := ck.Load(t.Context(), orbax.Name("tuple"))
	if tuple, ok := v.(tree.Tuple); err != nil || !ok || len(tuple) != 5 || tuple[0] != "MT19937" || tuple[3] != 1 {
		t.Errorf("Load gives %T %v, %v; want a tuple of 5 that begins with MT19937 and has 1 at 3", v, v, err)
	}
	if err := ck.LoadInto(t.Context(), &state, orbax.Name("tuple")); err != nil || state.Name != "MT19937" || state.HasGauss != 1 {
		t.Errorf("LoadInto gives %+v, %v", state, err)
	}
}
