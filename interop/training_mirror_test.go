package interop

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// TestTrainingMirror has Python read the mirror of a run that both have written: in a
// directory, and in a bucket whose objects were downloaded.
func TestTrainingMirror(t *testing.T) {
	needPython(t)
	for _, api := range []string{"v1", "v0"} {
		for _, kind := range []string{"directory", "bucket"} {
			t.Run(api+"/"+kind, func(t *testing.T) {
				r := newRun(t, api, nil, request{})
				r.python(r.one(0, "python").save(0, nil))
				mirror := training.Mirror{Root: filepath.Join(t.TempDir(), "mirror")}
				bucket := membucket.New()
				if kind == "bucket" {
					mirror = training.Mirror{Root: "run", Store: object.New(bucket, object.Options{})}
				}
				r.golang(training.Options{Mirror: mirror}, func(c *training.Checkpointer) {
					r.one(1, "go")
					r.saveGo(c, 1, orbax.Name(r.item()))
					if err := c.WaitMirror(t.Context()); err != nil {
						t.Error(err)
					}
				})
				r.root = mirror.Root
				if kind == "bucket" {
					r.root = filepath.Join(t.TempDir(), "run")
					download(t, mirror.Store.(*object.Store), bucket.Keys(), filepath.Dir(r.root))
				}
				r.check()
			})
		}
	}
}

// download writes the objects of the run in a bucket to a directory.
func download(t *testing.T, s *object.Store, keys []string, dir string) {
	t.Helper()
	ctx := context.Background()
	for _, key := range keys {
		f, err := s.Open(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, f.Size())
		if err := f.ReadAt(ctx, data, 0); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
