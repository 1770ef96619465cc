package orbax_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/zarr"
)

// sumStores are stores of many things that are small each, and together take more memory
// than there is, or of a document whose many entries are small.
func sumStores(t *testing.T) (stores []hostileStore) {
	add := func(name string, make func(dir string) error) {
		stores = append(stores, hostileStore{"sums-" + name, func(dir string) {
			if err := make(dir); err != nil {
				t.Fatal(err)
			}
		}})
	}
	base := hostileBases(t)["database"]
	zeros := filepath.Join(t.TempDir(), "zeros")
	const large = 30 << 20
	err := orbax.SaveCheckpointables(t.Context(), zeros, map[string]any{"p": map[string]any{"w": array.Of(make([]byte, large), large)}},
		orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(3)}}))
	if err != nil {
		t.Fatal(err)
	}
	add("parts", func(dir string) error { return manyParts(dir, zeros, 60) })
	for name, entry := range map[string]string{"list": "{}", "keys": `{"%x":{}}`, "numbers": "1"} {
		add("metrics-"+name, func(dir string) error { return manySteps(dir, base, 80, "["+repeated(entry, 600_000)+"]") })
	}
	for name, entry := range map[string]string{
		"empty": "{}", "null": "null", "names": `{"array_metadata":{"param_name":"%x"}}`,
		"keys": `{"a":{},"%x":0}`, "shapes": `{"array_metadata":{"param_name":"%x","write_shape":[1,2,3,4,5,6,7,8,9,0,1,2]}}`,
	} {
		for _, size := range []int{4_500_000, 8_000_000} {
			add(fmt.Sprintf("arrays-%s-%d", name, size), func(dir string) error {
				return withArrays(dir, base, `{"array_metadatas":[`+repeated(entry, size)+`]}`)
			})
		}
	}
	add("arrays-shape", func(dir string) error {
		return withArrays(dir, base, `{"array_metadatas":[{"array_metadata":{"write_shape":[`+repeated("1", 8_000_000)+`]}}]}`)
	})
	const tensor = `":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`
	add("safetensors-tensors", func(dir string) error { return manyTensorFiles(dir, 100, 580_000, `"%[2]x_%[1]x`+tensor) })
	add("safetensors-same", func(dir string) error { return manyTensorFiles(dir, 40, 580_000, `"%[1]x`+tensor) })
	return stores
}

// repeated returns entries, with their numbers in them, that take about size bytes.
func repeated(entry string, size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		if strings.Contains(entry, "%") {
			fmt.Fprintf(&b, entry, i)
		} else {
			b.WriteString(entry)
		}
	}
	return b.String()
}

// manyParts makes a checkpoint of n checkpointables that are all as p of the one at base.
func manyParts(dir, base string, n int) error {
	if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
		return err
	}
	errs := []error{os.Remove(filepath.Join(dir, "digests.sha256"))}
	handlers := map[string]any{}
	file := filepath.Join(dir, "_CHECKPOINT_METADATA")
	doc, err := os.ReadFile(file)
	var meta map[string]any
	if err := errors.Join(err, json.Unmarshal(doc, &meta)); err != nil {
		return err
	}
	for i := range n {
		name := fmt.Sprint("p", i)
		handlers[name] = meta["item_handlers"].(map[string]any)["p"]
		errs = append(errs, os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(base, "p"))))
	}
	meta["item_handlers"] = handlers
	doc, err = json.Marshal(meta)
	return errors.Join(append(errs, err, os.RemoveAll(filepath.Join(dir, "p")), os.WriteFile(file, doc, 0o666))...)
}

// manySteps makes a run of n steps with metrics.
func manySteps(dir, base string, n int, metrics string) error {
	var errs []error
	for i := range n {
		step := filepath.Join(dir, fmt.Sprint(i))
		errs = append(errs, os.CopyFS(step, os.DirFS(base)), os.Remove(filepath.Join(step, "digests.sha256")),
			os.Mkdir(filepath.Join(step, "metrics"), 0o777), os.WriteFile(filepath.Join(step, "metrics", "metrics"), []byte(metrics), 0o666))
	}
	return errors.Join(errs...)
}

// withArrays makes a checkpoint with a document of the write shapes.
func withArrays(dir, base, doc string) error {
	in := filepath.Join(dir, "state", "array_metadatas")
	return errors.Join(os.CopyFS(dir, os.DirFS(base)), os.Remove(filepath.Join(dir, "digests.sha256")),
		os.MkdirAll(in, 0o777), os.WriteFile(filepath.Join(in, "process_0"), []byte(doc), 0o666))
}

// manyTensorFiles makes n safetensors files whose headers have entries of so many bytes,
// each of which is given its number and that of the file.
func manyTensorFiles(dir string, n, size int, entry string) error {
	errs := []error{os.MkdirAll(dir, 0o777)}
	for file := range n {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, strings.ReplaceAll(entry, "%[2]x", fmt.Sprintf("%x", file)), i)
		}
		h := "{" + b.String() + "}"
		prefix := []byte{byte(len(h)), byte(len(h) >> 8), byte(len(h) >> 16), 0, 0, 0, 0, 0}
		errs = append(errs, os.WriteFile(filepath.Join(dir, fmt.Sprintf("m%d.safetensors", file)), append(prefix, h...), 0o666))
	}
	return errors.Join(errs...)
}
