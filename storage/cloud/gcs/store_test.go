package gcs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/storetest"
	"github.com/go-orbax/orbax/training"
)

// TestStore runs the tests of all stores.
func TestStore(t *testing.T) {
	store := object.New(newBucket(t, nil), object.Options{Lease: 3 * time.Second, PartSize: 64 << 10})
	storetest.Run(t, func(t *testing.T) (storage.Store, string) { return store, t.Name() })
}

// A gs:// path is a bucket and a name in it.
func TestURLs(t *testing.T) {
	t.Setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:1")
	for path, want := range map[string]string{
		"gs://bucket/run/step_1": "run/step_1", "gs://bucket": ".", "gs://bucket/": ".", "gs://bucket//a/../b/": "b", "gs://my_b.c-d/a%20b%3F": "a b?",
	} {
		loc, err := storage.Resolve(t.Context(), path)
		if err != nil || loc.Name != want || loc.Path() != path {
			t.Errorf("%s: got the name %q, the path %q, %v; want the name %q", path, loc.Name, loc.Path(), err, want)
		}
	}
	for _, path := range []string{"gs://", "gs:///a", "gs://Bucket/a", "gs://bucket:80/a", "gs://user:password1@bucket/a", "gs://bucket/a?x=password1", "gs://bucket/a#1", "gs://bucket/a?"} {
		if _, err := storage.Resolve(t.Context(), path); err == nil || strings.Contains(err.Error(), "password1") {
			t.Errorf("%s: got the error %v", path, err)
		}
	}
	for _, u := range []*url.URL{{Scheme: "gs", Host: "bucket", Fragment: "x"}} {
		if _, err := storage.Resolve(t.Context(), u.String()); !strings.Contains(fmt.Sprint(err), fs.ErrInvalid.Error()) {
			t.Errorf("%s: got the error %v", u, err)
		}
	}
}

// One store serves all URLs of a bucket, as long as they lead to the same service.
func TestOneStore(t *testing.T) {
	t.Setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:1")
	store := func(text string) storage.Store {
		t.Helper()
		l, err := storage.Resolve(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		return l.Store
	}
	a := store("gs://one-store/run")
	for _, text := range []string{"gs://one-store/run/", "gs://one-store//run", "gs://one-store", "GS://one-store/other"} {
		if store(text) != a {
			t.Errorf("%s has a store of its own", text)
		}
	}
	if store("gs://one-store-2/run") == a {
		t.Error("two buckets have one store")
	}
	root := training.Options{Mirror: training.Mirror{Root: "gs://one-store//run/"}}
	if _, err := training.New(t.Context(), "gs://one-store/run", root); !errors.Is(err, orbax.ErrUsage) || !strings.Contains(err.Error(), "one directory") {
		t.Errorf("a run that is its own mirror: %v", err)
	}
	t.Setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:2")
	if store("gs://one-store/run") == a {
		t.Error("two services have one store")
	}
}

// emulate makes gs:// paths lead to the server that the tests share, and returns that of a
// new bucket.
func emulate(t *testing.T) (url string) {
	t.Helper()
	addr := servers.GCS.Shared(t)
	t.Setenv("STORAGE_EMULATOR_HOST", addr)
	name := fmt.Sprintf("test-%d", made.Add(1))
	servers.MakeGCSBucket(t, addr, name)
	return "gs://" + name
}
