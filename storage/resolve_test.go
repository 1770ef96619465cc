package storage_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
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

func TestUnknownScheme(t *testing.T) {
	for scheme, cure := range map[string]string{"hdfs": `storage.Register("hdfs"`, "gs": "imports github.com/go-orbax/orbax/storage/cloud/gcs"} {
		_, err := storage.Resolve(t.Context(), scheme+"://bucket/ckpt")
		if !errors.Is(err, fault.ErrUnsupported) || !strings.Contains(err.Error(), "registered://") || !strings.Contains(err.Error(), cure) {
			t.Error(err)
		}
	}
}
