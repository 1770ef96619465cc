package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// onGet is a bucket that calls f before bytes of an object are read.
type onGet struct {
	object.Bucket
	f func(key string)
	// copied makes it a bucket into which another program has copied the objects, one after
	// the other, the marker first.
	copied bool
}

func (b onGet) Get(ctx context.Context, key, version string, p [][]byte, off int64) (int, object.Info, error) {
	b.f(key)
	return b.Bucket.Get(ctx, key, version, p, off)
}

func (b onGet) List(ctx context.Context, o object.ListOptions) (object.Page, error) {
	page, err := b.Bucket.List(ctx, o)
	for i := range page.Objects {
		if at := &page.Objects[i]; b.copied && path.Base(at.Key) != "commit_success.txt" {
			at.Modified = at.Modified.Add(time.Hour)
		}
	}
	return page, err
}

// A checkpoint that is replaced or deleted between two reads is never a mixture, whichever
// reads they are. A load by path is then that of the new checkpoint.
func TestChangedSinceSnapshot(t *testing.T) {
	state := func(x float32) map[string]any {
		return map[string]any{"a": []float32{x, x}, "b": []float32{x}, "big": make([]float32, 40_000), "s": fmt.Sprint(x)}
	}
	test := func(t *testing.T, copied, again bool, at string) {
		ctx := t.Context()
		bucket := membucket.New()
		in := orbax.In(object.New(bucket, object.Options{}))
		files := handler.StorageOptions{PlainFiles: at == "state/b/zarr.json"}
		save := func(x float32) {
			t.Helper()
			if err := orbax.Save(ctx, "ck", state(x), in, orbax.Storage(files)); err != nil {
				t.Fatal(err)
			}
		}
		var once sync.Once
		changed := false
		hooked := object.New(onGet{bucket, func(key string) {
			if key != "ck/"+at && path.Dir(key)+"/" != "ck/"+at {
				return
			}
			once.Do(func() {
				changed = true
				if err := orbax.Delete(ctx, "ck", in); err != nil {
					t.Error(err)
				}
				if again {
					save(2)
				}
			})
		}, copied}, object.Options{})
		save(1)
		ck, err := orbax.Open(ctx, "ck", orbax.In(hooked))
		opened := err == nil && !changed
		if err == nil {
			_, err = ck.Tree(ctx)
		}
		if err == nil && !files.PlainFiles { // else only the description of the leaf would show it
			_, err = ck.Load(ctx)
		}
		switch {
		case !changed:
			t.Error("it is not read")
		case again && opened && !errors.Is(err, orbax.ErrBusy):
			t.Errorf("replaced before it is read of an open checkpoint: %v", err)
		case again && !opened && err != nil:
			t.Errorf("replaced while it is opened: %v", err)
		case !again && (!errors.Is(err, orbax.ErrNotExist) || !errors.Is(err, fs.ErrNotExist)):
			t.Errorf("deleted before it is read: %v", err)
		}
		if !again {
			return
		}
		once, changed = sync.Once{}, false
		got, err := orbax.Load(ctx, "ck", orbax.In(hooked))
		if err != nil || !changed || fmt.Sprint(got.(map[string]any)["s"]) != "2" {
			t.Errorf("replaced before it is read: %v, %v", got, err)
		}
	}
	for _, copied := range []bool{false, true} {
		names := []string{"digests.sha256", "state/d/"}
		if copied {
			names = append(names, "_CHECKPOINT_METADATA", "state/manifest.ocdbt", "state/_METADATA", "state/go-orbax.places", "state/_strings.json", "state/_sharding", "state/b/zarr.json")
		}
		for _, name := range names {
			t.Run(fmt.Sprint(strings.ReplaceAll(name, "/", "_"), copied), func(t *testing.T) {
				test(t, copied, false, name)
				test(t, copied, true, name)
			})
		}
	}
}
