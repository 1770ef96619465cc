package training_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// bytesBucket counts the bytes that are sent to a bucket.
type bytesBucket struct {
	failstore.Bucket
	sent atomic.Int64
	// copying, if not nil, is called for each copy of a data file. do makes it.
	copying func(from string, do func() error) error
}

func (b *bytesBucket) add(body [][]byte) {
	for _, p := range body {
		b.sent.Add(int64(len(p)))
	}
}

func (b *bytesBucket) Put(ctx context.Context, key string, body [][]byte, o object.PutOptions) (object.Info, error) {
	b.add(body)
	return b.Bucket.Put(ctx, key, body, o)
}

func (b *bytesBucket) Copy(ctx context.Context, from object.Ref, to string, o object.PutOptions) (object.Info, error) {
	if b.copying == nil || path.Base(path.Dir(to)) != "d" {
		return b.Bucket.Copy(ctx, from, to, o)
	}
	var info object.Info
	err := b.copying(from.Key, func() (err error) {
		info, err = b.Bucket.Copy(ctx, from, to, o)
		return err
	})
	return info, err
}

func (b *bytesBucket) Upload(ctx context.Context, key string, size int64, o object.PutOptions) (object.Upload, error) {
	u, err := b.Bucket.Upload(ctx, key, size, o)
	if err != nil {
		return nil, err
	}
	return &bytesUpload{u, b}, nil
}

type bytesUpload struct {
	object.Upload
	b *bytesBucket
}

func (u *bytesUpload) Part(ctx context.Context, number int, off int64, body [][]byte) error {
	u.b.add(body)
	return u.Upload.Part(ctx, number, off, body)
}

// partlyFrozen returns a state of which 24 MiB do not change from step to step, and 1 MiB does.
func partlyFrozen(step int) map[string]any {
	frozen := make([]int64, 3<<20)
	for i := range frozen {
		frozen[i] = int64(i) * 0x9E3779B9
	}
	changing := make([]int32, 256<<10)
	for i := range changing {
		changing[i] = int32(i * (step + 1))
	}
	return map[string]any{"frozen": array.Of(frozen, 3<<20), "changing": array.Of(changing, 256<<10), "step": step}
}

// hasStep fails the test unless a step of a run is whole and has the state of the step.
func hasStep(t *testing.T, store *object.Store, step int) {
	t.Helper()
	at := fmt.Sprint("run/", step)
	if err := orbax.Verify(t.Context(), at, orbax.In(store)); err != nil {
		t.Error(err)
	}
	got, err := orbax.Load(t.Context(), at, orbax.In(store))
	if err != nil {
		t.Fatal(err)
	}
	m, want := got.(map[string]any), partlyFrozen(step)
	for _, name := range []string{"frozen", "changing"} {
		if !m[name].(*array.Array).Equal(want[name].(*array.Array)) {
			t.Errorf("step %d: %s is another", step, name)
		}
	}
	if m["step"] != step {
		t.Errorf("step %d has the state of step %v", step, m["step"])
	}
}

// copiesOf returns the keys of the data files that were copied.
func copiesOf(made failstore.Requests) (keys []string) {
	for _, q := range made.All {
		if op, key, _ := strings.Cut(q, " "); op == "Copy" && path.Base(path.Dir(key)) == "d" {
			keys = append(keys, key)
		}
	}
	return keys
}

// A step in a bucket has server-side copies of the data files that did not change: one
// request for each, and none of their bytes. The copies outlive the earlier step.
func TestBucketShares(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := &bytesBucket{Bucket: failstore.Bucket{Bucket: membucket.New()}}
	store := object.New(b, object.Options{})
	var mu sync.Mutex
	var stats orbax.Stats
	c, err := training.New(ctx, "run", training.Options{Store: store, Progress: func(_ int, s orbax.Stats) {
		mu.Lock()
		defer mu.Unlock()
		stats = s
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for step := range 4 {
		b.Take()
		b.sent.Store(0)
		if _, err := c.Save(ctx, step, partlyFrozen(step)); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		made, sent := b.Take(), b.sent.Load()
		copied := copiesOf(made)
		t.Logf("step %d: %d bytes are sent, %d of %d are shared, %d files are copied, %d requests", step, sent, stats.Shared, stats.Bytes, len(copied), len(made.All))
		if step == 0 {
			if len(copied) > 0 || sent < 25<<20 {
				t.Errorf("the first step: %d copies, %d bytes are sent", len(copied), sent)
			}
			continue
		}
		if len(copied) != 1 || sent > 1<<20+128<<10 || stats.Shared < 24<<20 {
			t.Errorf("step %d: %d copies, want 1; %d bytes are sent, want about 1 MiB; %d are shared, want 24 MiB", step, len(copied), sent, stats.Shared)
		}
		// A writer looks at its claim before it makes a file, at most once a second.
		made.All = slices.DeleteFunc(made.All, func(q string) bool { return strings.HasPrefix(q, "Stat ") && strings.Contains(q, storage.TempMarker) })
		if len(made.All) > 32 {
			t.Errorf("step %d: want at most 32 requests, got %v", step, made)
		}
	}
	for step := range 3 {
		if err := c.Delete(ctx, step); err != nil {
			t.Error(err)
		}
	}
	hasStep(t, store, 3)
}

// A state that is too small for copies is not compared with the step before.
func TestBucketSharesNoSmallFiles(t *testing.T) {
	t.Parallel()
	b := &failstore.Bucket{Bucket: membucket.New()}
	c, err := training.New(t.Context(), "run", training.Options{Store: object.New(b, object.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	state := map[string]any{"w": make([]float32, 200<<10)} // 800 KiB
	for step := range 2 {
		if _, err := c.Save(t.Context(), step, state); err != nil {
			t.Fatal(err)
		}
	}
	made := b.Take()
	if copied := copiesOf(made); len(copied) > 0 || strings.Contains(made.String(), "go-orbax.chunks") {
		t.Errorf("%d copies, or a record of chunks; %v", len(copied), made)
	}
}

// Whatever happens to the earlier step or to the requests to copy, the save succeeds, and the step is
// whole.
func TestBucketSharesOrWrites(t *testing.T) {
	type request = func() error
	for what, c := range map[string]struct {
		copying func(bucket object.Bucket, n int, from string, do request) error // copy n, from 1 on
		shares  bool
	}{
		"the earlier step goes": {func(b object.Bucket, _ int, _ string, do request) error {
			return errors.Join(removeBelow(b, "run/0/"), do())
		}, false},
		"the file goes": {func(b object.Bucket, _ int, from string, do request) error {
			return errors.Join(removeBelow(b, from), do())
		}, false},
		"the file is replaced": {func(b object.Bucket, _ int, from string, do request) error {
			_, err := b.Put(context.Background(), from, [][]byte{make([]byte, 30<<20)}, object.PutOptions{})
			return errors.Join(err, do())
		}, false},
		"the service is busy": {func(_ object.Bucket, n int, from string, do request) error {
			if n < 3 {
				return &object.Error{Op: "copy", Key: from, Status: 503, Code: "SlowDown", Temporary: true, Throttled: true}
			}
			return do()
		}, true},
		"an answer is lost": {func(_ object.Bucket, n int, from string, do request) error {
			err := do()
			if n == 1 {
				err = errors.Join(err, &object.Error{Op: "copy", Key: from, Message: "the connection broke", Temporary: true})
			}
			return err
		}, true},
		"an answer is lost, and the step goes": {func(b object.Bucket, n int, from string, do request) error {
			if n > 1 {
				return errors.Join(removeBelow(b, "run/0/"), do())
			}
			return errors.Join(do(), &object.Error{Op: "copy", Key: from, Message: "the connection broke", Temporary: true})
		}, true},
		"the service forbids it": {func(_ object.Bucket, _ int, from string, _ request) error {
			return &object.Error{Op: "copy", Key: from, Status: 403, Code: "AccessDenied", Err: fs.ErrPermission}
		}, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := &bytesBucket{Bucket: failstore.Bucket{Bucket: membucket.New()}}
			store := object.New(b, object.Options{})
			run, err := training.New(t.Context(), "run", training.Options{Store: store})
			if err != nil {
				t.Fatal(err)
			}
			defer run.Close()
			if _, err := run.Save(t.Context(), 0, partlyFrozen(0)); err != nil {
				t.Fatal(err)
			}
			n := 0
			b.copying = func(from string, do func() error) error {
				n++
				return c.copying(b.Bucket.Bucket, n, from, do)
			}
			b.sent.Store(0)
			if _, err := run.Save(t.Context(), 1, partlyFrozen(1)); err != nil {
				t.Fatal(err)
			}
			if sent := b.sent.Load(); n == 0 || (sent < 2<<20) != c.shares {
				t.Errorf("%d copies, %d bytes are sent; the step before is shared: want %v", n, sent, c.shares)
			}
			hasStep(t, store, 1)
		})
	}
}

// removeBelow removes all objects whose keys begin with a prefix.
func removeBelow(bucket object.Bucket, prefix string) error {
	page, err := bucket.List(context.Background(), object.ListOptions{Prefix: prefix, Flat: true})
	if err != nil {
		return err
	}
	var refs []object.Ref
	for _, o := range page.Objects {
		refs = append(refs, object.Ref{Key: o.Key})
	}
	return bucket.Delete(context.Background(), refs)
}
