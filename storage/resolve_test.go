package storage_test

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
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

func init() {
	storage.Register("resolved", func(_ context.Context, u *url.URL) (storage.Store, string, error) {
		return storage.Local(), u.Host, nil
	})
}

// A URL that has lost a slash is no path of this machine. A file of such a name can be named.
func TestResolveCutURL(t *testing.T) {
	for path, want := range map[string]string{
		"gs:/bucket/run":                    "write gs://bucket/run;",
		"gs:bucket/run":                     "write gs://bucket/run;",
		"s3:/bucket":                        "write s3://bucket;",
		"S3:/bucket":                        "write s3://bucket;",
		"azblob:/box/a?sv=1&sig=secret":     "write azblob://box/a?sv=xxxxx&sig=xxxxx;",
		"registered:/x":                     "write registered://x;",
		"gcs:/bucket":                       "write gcs://bucket;",
		"file:/ckpt/run":                    "write file:///ckpt/run;",
		"s3:":                               "write s3://;",
		filepath.Clean("gs://bucket/run"):   "write gs://bucket/run;",
		filepath.Clean("s3://bucket//a/.."): "write s3://bucket;",
	} {
		at, err := storage.Resolve(t.Context(), path)
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s is %q, %v; want an error with %q", path, at.Name, err, want)
		}
	}
	for _, path := range []string{"./gs:/bucket/run", "run:1/gs:/x", "a/s3:/b", "other:/x", "step:1", ":x", "c:/x"} {
		at, err := storage.Resolve(t.Context(), path)
		if _, local := at.LocalPath(); err != nil || !local {
			t.Errorf("%s is %q, %v; want a path of this machine", path, at.Name, err)
		}
	}
}

// Schemes may be in capital letters, and those of other programs are explained.
func TestResolveSchemes(t *testing.T) {
	at, err := storage.Resolve(t.Context(), "RESOLVED://x")
	if err != nil || at.Called != "RESOLVED://x" || at.Name != "x" {
		t.Errorf("got %+v, %v", at, err)
	}
	for scheme, cure := range map[string]string{"gcs": "begin with gs://", "S3A": "begin with s3://", "abfss": "begin with azblob://", "GS": "storage/cloud/gcs"} {
		if _, err := storage.Resolve(t.Context(), scheme+"://bucket/x"); !errors.Is(err, fault.ErrUnsupported) || !strings.Contains(err.Error(), cure) {
			t.Errorf("%s: got %v, want an error with %q", scheme, err, cure)
		}
	}
	if _, err := storage.Resolve(t.Context(), "resolved://bucket/100%"); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "write %25 for %") {
		t.Errorf("a percent sign alone: got %v", err)
	}
}
