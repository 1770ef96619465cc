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

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// onRead is a store that calls f before a request for the bytes of a file.
type onRead struct {
	*failstore.Remote
	f func(name string)
}

func (s onRead) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	in, err := s.Remote.Snapshot(ctx, dir)
	if in == nil || err != nil {
		return nil, err
	}
	return onReadSnapshot{in, s}, nil
}

type onReadSnapshot struct {
	storage.Store
	s onRead
}

func (s onReadSnapshot) Confined(string, bool) storage.Store { return nil }

func (s onReadSnapshot) Open(ctx context.Context, name string) (storage.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	return onReadReader{r, s.s, name}, err
}

type onReadReader struct {
	storage.Reader
	s    onRead
	name string
}

func (r onReadReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.s.f(r.name)
	return r.Reader.ReadAt(ctx, p, off)
}

// A checkpoint that is replaced or deleted between two reads is never a mixture, whichever
// reads they are. A load by path is then that of the new checkpoint.
func TestChangedSinceSnapshot(t *testing.T) {
	ctx := t.Context()
	state := func(x float32) map[string]any {
		return map[string]any{"a": []float32{x, x}, "b": []float32{x}, "big": make([]float32, 40_000), "s": fmt.Sprint(x)}
	}
	names := []string{"_CHECKPOINT_METADATA", "digests.sha256", "state/_METADATA", "manifest.ocdbt", "d/", "go-orbax.places", "_strings.json", "b/zarr.json"}
	for _, again := range []bool{true, false} {
		for _, at := range names {
			files := handler.StorageOptions{PlainFiles: at == "b/zarr.json"}
			remote := failstore.NewRemote(mem.New(), 0)
			in := orbax.In(remote)
			save := func(x float32) {
				t.Helper()
				if err := orbax.Save(ctx, "ck", state(x), in, orbax.Atomicity(orbax.CommitFile), orbax.Storage(files)); err != nil {
					t.Fatal(err)
				}
			}
			var once sync.Once
			changed := false
			store := onRead{remote, func(name string) {
				if !strings.HasSuffix(name, at) && !strings.HasPrefix(path.Dir(name)+"/", "ck/state/"+at) {
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
			}}
			save(1)
			ck, err := orbax.Open(ctx, "ck", orbax.In(store))
			if err == nil {
				_, err = ck.Tree(ctx)
			}
			if err == nil && !files.PlainFiles { // else only the description of the leaf would show it
				_, err = ck.Load(ctx)
			}
			switch {
			case !changed:
				t.Errorf("%s is not read", at)
			case again && at != "_CHECKPOINT_METADATA" && at != "digests.sha256" && !errors.Is(err, orbax.ErrBusy):
				t.Errorf("%s: replaced before that is read of an open checkpoint: %v", at, err)
			case !again && (!errors.Is(err, orbax.ErrNotExist) || !errors.Is(err, fs.ErrNotExist)):
				t.Errorf("%s: deleted before that is read: %v", at, err)
			}
			if !again {
				continue
			}
			once, changed = sync.Once{}, false
			got, err := orbax.Load(ctx, "ck", orbax.In(store), orbax.Name("state"))
			if err != nil || !changed || fmt.Sprint(got.(map[string]any)["s"]) != "2" {
				t.Errorf("%s: replaced before that is read: %v, %v", at, got, err)
			}
		}
	}
}
