package object_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// slowAssembly is a bucket that makes the object of an upload some time after the answer to
// its Complete was lost, and meanwhile answers another Complete as if it had made it.
type slowAssembly struct{ *membucket.Bucket }

func (b slowAssembly) Upload(ctx context.Context, key string, size int64, o object.PutOptions) (object.Upload, error) {
	u, err := b.Bucket.Upload(ctx, key, size, o)
	return &slowUpload{Upload: u}, err
}

type slowUpload struct {
	object.Upload
	calls atomic.Int32
}

func (u *slowUpload) Complete(ctx context.Context) (object.Info, error) {
	if u.calls.Add(1) > 1 {
		return object.Info{}, nil
	}
	time.AfterFunc(time.Second, func() { u.Upload.Complete(context.WithoutCancel(ctx)) })
	return object.Info{}, &object.Error{Op: "complete", Temporary: true, Message: "no answer"}
}

// A save waits until the service has made an object whose completion it has answered.
func TestSlowAssembly(t *testing.T) {
	in := orbax.In(object.New(slowAssembly{membucket.New()}, object.Options{}))
	state := map[string][]float32{"a": make([]float32, 10<<20)}
	if err := orbax.Save(t.Context(), "ck", state, in); err != nil {
		t.Fatal(err)
	}
	if err := orbax.LoadInto(t.Context(), "ck", &state, in); err != nil {
		t.Fatal(err)
	}
}
