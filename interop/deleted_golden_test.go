package interop

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/training"
)

// TestWriteDeleted lets Orbax delete a checkpointable from a step that Go has saved, and
// die at each of its calls. Go must find no damage in what is left. With -update it
// writes testdata/deleted.zip, which has the stages that differ, a directory each, and
// which the tests of package orbax read.
func TestWriteDeleted(t *testing.T) {
	needPython(t)
	root := t.TempDir()
	c, err := training.New(t.Context(), root, training.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.SaveCheckpointables(t.Context(), 3, map[string]any{
		"state": map[string]any{"w": array.Of([]float32{1, 2}), "n": 7},
		"cfg":   handler.JSON{Value: map[string]any{"lr": 0.5}},
		"opt":   map[string]any{"mu": array.Of([]float32{3})},
	}, orbax.Metrics(map[string]any{"loss": 0.25}), orbax.CustomMetadata(map[string]any{"rate": 1e-7, "text": "ä"})); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	seen := map[string]bool{}
	for at, more := 0, true; more; at++ {
		path := filepath.Join(t.TempDir(), "ck")
		if err := os.CopyFS(path, os.DirFS(filepath.Join(root, "3"))); err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Stopped bool
			Calls   []string
		}
		mustCall(t, "delete_stopped", request{"path": path, "name": "opt", "at": at}, &answer)
		more = answer.Stopped
		if err := orbax.Verify(t.Context(), path); err != nil {
			t.Errorf("stopped at call %d of %q: %v", at, answer.Calls, err)
		}
		var stage bytes.Buffer // its files, to compare
		if err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !isLitter(name) {
				fmt.Fprintln(&stage, name[len(path):])
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		metadata, err := os.ReadFile(filepath.Join(path, "_CHECKPOINT_METADATA"))
		if err != nil {
			t.Fatal(err)
		}
		if stage.Write(metadata); seen[stage.String()] {
			continue
		}
		seen[stage.String()] = true
		if err := addStage(w, fmt.Sprintf("%02d", at), os.DirFS(path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", "deleted.zip"), out.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// isLitter reports whether a file is one that Orbax has left which died before it gave
// it the name of a document.
func isLitter(name string) bool { return strings.HasPrefix(filepath.Base(name), ".orbax-delete-") }

func addStage(w *zip.Writer, stage string, fsys fs.FS) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || isLitter(name) {
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f, err := w.Create(stage + "/" + name)
		if err == nil {
			_, err = f.Write(b)
		}
		return err
	})
}
