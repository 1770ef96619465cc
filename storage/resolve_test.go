package storage_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

func TestResolveFileURL(t *testing.T) {
	for url, want := range map[string]string{
		"file:///ckpt/step_1":          "/ckpt/step_1",
		"file://localhost/ckpt/step_1": "/ckpt/step_1",
		"FILE:///ckpt//a/../b/":        "/ckpt/b",
		"file:///with%20space/100%25":  "/with space/100%",
		"file:///what%3F%23":           "/what?#",
		"file:///a b/ü":                "/a b/ü",
	} {
		at, err := storage.Resolve(t.Context(), url)
		got := at.Name
		if abs, aerr := filepath.Abs(filepath.FromSlash(want)); err != nil || aerr != nil || got != filepath.ToSlash(abs) {
			t.Errorf("%s: %q, %v", url, got, err)
		}
	}
	for _, url := range []string{"file://", "file://relative/path", "file://host", "file://./x", "file:///a?b", "file:///a#b", "file:///%zz", "file://user@localhost/x", "file://localhost"} {
		if _, err := storage.Resolve(t.Context(), url); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A checkpoint is saved and loaded by a URL, and is where the path is.
func TestFileURL(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b")
	url := "file://" + strings.ReplaceAll(filepath.ToSlash(dir), " ", "%20") + "/ckpt"
	must(t, orbax.Save(t.Context(), url, map[string]any{"a": 1}))
	for _, path := range []string{url, filepath.Join(dir, "ckpt")} {
		if v, err := orbax.Load(t.Context(), path); err != nil || v.(map[string]any)["a"] != 1 {
			t.Errorf("%s: %v, %v", path, v, err)
		}
	}
	must(t, orbax.Delete(t.Context(), url))
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left %q", got)
	}
}

func TestUnknownScheme(t *testing.T) {
	_, err := storage.Resolve(t.Context(), "gs://bucket/ckpt")
	if !errors.Is(err, orbax.ErrUnsupported) || !strings.Contains(err.Error(), "registered://") || !strings.Contains(err.Error(), `storage.Register("gs"`) {
		t.Error(err)
	}
}
