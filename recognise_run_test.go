package orbax_test

import (
	"archive/zip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
)

// TestDirectoryOfCheckpoints checks that who gives the path of a run is told which of
// its entries are checkpoints, also those of old releases and of Flax.
func TestDirectoryOfCheckpoints(t *testing.T) {
	run := func(names ...string) string {
		dir := t.TempDir()
		for _, name := range names {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
				t.Fatal(err)
			}
			writeFile(t, file, "{}")
		}
		return dir
	}
	many := make([]string, 9)
	for i := range many {
		many[i] = fmt.Sprintf("s%d/_CHECKPOINT_METADATA", i+5)
	}
	far := make([]string, 120)
	for i := range far {
		far[i] = fmt.Sprintf("a%d", i)
	}
	for dir, says := range map[string]string{
		run("1/_CHECKPOINT_METADATA"):              "give the path of one of them: 1",
		run("a.txt", "b/c.txt"):                    "not a checkpoint, and none of its entries is one",
		run(many...):                               "9 of them; give the path of one, such as that of s13 in it",
		run(append(far, "z/default/_METADATA")...): "not a checkpoint",
		run("a/1/_CHECKPOINT_METADATA"):            "not a checkpoint: its entry a is a run; give that path",
		run("a/1/_CHECKPOINT_METADATA", "b/s_2/default/_METADATA", "c/1/x", "d.txt"):         "not a checkpoint: its entries a, b are runs; give the path of one",
		run("1/10/_CHECKPOINT_METADATA", "x\nOK/10/_CHECKPOINT_METADATA"):                    `its entries 1, "x\nOK" are runs; give the path of one`,
		run("a.partial_save/1.pending_1/_METADATA", "b.orbax-checkpoint-tmp-1/1/_METADATA"):  "and none of its entries is one",
		run("db/manifest.ocdbt", "x/y"):                                                      "its entry db can be read; give that path",
		run("all/w/.zarray", "model/a.safetensors", "n/x"):                                   "its entries all, model can be read; give the path of one",
		run("5/_METADATA", "5.orbax-checkpoint-tmp-1/_METADATA", "6.partial_save/_METADATA"): "",
	} {
		_, err := orbax.Load(t.Context(), dir)
		if says == "" {
			if err == nil || strings.Contains(err.Error(), "tmp-1") {
				t.Errorf("%v", err)
			}
			continue
		}
		if !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.HasSuffix(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
}

// TestReadableEntries checks that who gives the directory around what other programs
// wrote, or the index of safetensors files, learns which path to give.
func TestReadableEntries(t *testing.T) {
	for layout, says := range map[string]string{
		"flax_0_6_11_chunked_file": "its entry model.msgpack can be read; give that path",
		"flax_0_8_5_chunked_file":  "its entry model.msgpack can be read; give that path",
		"bare_ocdbt_array":         "its entry db can be read; give that path",
		"bare_zarr3_folder":        "its entry all can be read; give that path",
		"python_zarr2_group":       "its entry group can be read; give that path",
		"safetensors_folder":       "its entry model can be read; give that path",
		"orbax_0_2_3_manager":      "its entry run can be read; give that path",
		"orbax_0_5_10_manager":     "its entry run is a run; give that path",
		"v1_training":              "its entry run is a run; give that path",
	} {
		z, err := zip.OpenReader("interop/layouts/testdata/layouts/" + layout + ".zip")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := errors.Join(os.CopyFS(dir, z), z.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = orbax.Load(t.Context(), dir)
		if !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.HasSuffix(err.Error(), "not a checkpoint: "+says) {
			t.Errorf("%s: %v, want %s", layout, err, says)
		}
		if err := orbax.Verify(t.Context(), dir); !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.HasSuffix(err.Error(), says) {
			t.Errorf("%s: Verify: %v, want %s", layout, err, says)
		}
		index := filepath.Join(dir, "model", "model.safetensors.index.json")
		if _, err := orbax.Load(t.Context(), index); layout == "safetensors_folder" &&
			(!errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.HasSuffix(err.Error(), "give the path of their directory")) {
			t.Errorf("the index: %v", err)
		}
	}
}

// TestForeignDirectory deletes and overwrites a directory that has nothing of a
// checkpoint. The error names what would be lost.
func TestForeignDirectory(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	for _, name := range []string{"notes.txt", "data/a\nb", "raw/1.csv"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, "x")
	}
	state := map[string]any{"a": 1}
	for says, err := range map[string]error{
		"will not delete: not a checkpoint, and none of its entries is one: data/, notes.txt, raw/":                                       orbax.Delete(ctx, dir),
		"will not overwrite: not a checkpoint, and none of its entries is one: data/, notes.txt, raw/":                                    orbax.Save(ctx, dir, state, orbax.Overwrite()),
		"and Overwrite does not replace it: not a checkpoint, and none of its entries is one: data/, notes.txt, raw/; move it away first": orbax.Save(ctx, dir, state),
		`will not delete: not a checkpoint, and none of its entries is one: "a\nb"`:                                                       orbax.Delete(ctx, filepath.Join(dir, "data")),
	} {
		if !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.HasSuffix(err.Error(), says) {
			t.Errorf("%v, want %s", err, says)
		}
	}
	many := t.TempDir()
	for i := range 150 {
		writeFile(t, filepath.Join(many, fmt.Sprintf("f%03d", i)), "x")
	}
	if err := orbax.Delete(ctx, many); err == nil || !strings.HasSuffix(err.Error(), "will not delete: not a checkpoint: f000, f001, f002, f003, f004, f005, f006, f007 … (150 in all)") {
		t.Errorf("%v, want the names of the first files", err)
	}
}
