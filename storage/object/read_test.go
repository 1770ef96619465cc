package object_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

// line is a bucket whose reads come at a number of bytes per second. Each read ends when its
// context does, or after a time if gives is not 0; the next one goes on.
type line struct {
	object.Bucket
	rate  float64
	gives time.Duration // how long a connection lasts
	reads int
}

func (l *line) Get(ctx context.Context, key, version string, p [][]byte, off int64) (int, object.Info, error) {
	l.reads++
	n, info, err := l.Bucket.Get(ctx, key, version, p, off)
	if err != nil {
		return n, info, err
	}
	needs := time.Duration(float64(n) / l.rate * float64(time.Second))
	has := needs
	if l.gives > 0 {
		has = min(has, l.gives)
	}
	start := time.Now()
	select {
	case <-time.After(has):
	case <-ctx.Done():
	}
	if took := time.Since(start); took < needs {
		came := int(l.rate * took.Seconds())
		if ctx.Err() != nil {
			return came, info, ctx.Err()
		}
		return came, info, &object.Error{Op: "get", Key: key, Temporary: true, Message: "the connection broke"}
	}
	return n, info, nil
}

// A read that drips is given up after the time of Patience, about, wherever the connection
// ends. A slow one that is steady goes on.
func TestSlowReads(t *testing.T) {
	for name, c := range map[string]struct {
		rate  float64
		gives time.Duration
		fails bool
		most  time.Duration
	}{
		"a byte a second":                        {1, 0, true, 10 * time.Minute},
		"a byte a second, and cut":               {1, 25 * time.Second, true, 3 * time.Minute},
		"500 bytes a second, and cut":            {500, 5 * time.Second, true, 3 * time.Minute},
		"2 KiB a second":                         {2 << 10, 0, false, 2 * time.Hour},
		"2 KiB a second, and cut":                {2 << 10, 5 * time.Second, false, 2 * time.Hour},
		"20 KiB a second":                        {20 << 10, 0, false, 20 * time.Minute},
		"10 MiB a second, and cut at each tenth": {10 << 20, 100 * time.Millisecond, false, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 1 << 20
				s := newService(false)
				text := strings.Repeat("0123456789abcdef", size/16)
				if _, err := s.Put(t.Context(), "key", [][]byte{[]byte(text)}, object.PutOptions{}); err != nil {
					t.Fatal(err)
				}
				l := &line{Bucket: s, rate: c.rate, gives: c.gives}
				store := object.New(l, object.Options{})
				start := time.Now()
				got, err := readFile(t.Context(), store, "key")
				took := time.Since(start)
				switch {
				case c.fails && (err == nil || !strings.Contains(err.Error(), "tried for")):
					t.Errorf("got %d bytes, %v; want that the read is given up", len(got), err)
				case !c.fails && (err != nil || got != text):
					t.Errorf("got %d bytes, %v", len(got), err)
				}
				if took > c.most {
					t.Errorf("it took %v, want at most %v", took, c.most)
				}
				t.Logf("%v, %d reads, %v", took, l.reads, err)
			})
		})
	}
}

// readFile returns the contents of a file.
func readFile(ctx context.Context, s storage.Store, name string) (string, error) {
	r, err := s.Open(ctx, name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	p := make([]byte, r.Size())
	err = r.ReadAt(ctx, p, 0)
	return string(p), err
}

// noBucket is a service without the bucket, which answers everything with the same.
type noBucket struct{ object.Bucket }

var errMissing = &object.Error{Op: "test", Status: 404, Err: fs.ErrNotExist}

func (noBucket) List(context.Context, object.ListOptions) (object.Page, error) {
	return object.Page{}, errMissing
}
func (noBucket) Get(context.Context, string, string, [][]byte, int64) (int, object.Info, error) {
	return 0, object.Info{}, errMissing
}
func (noBucket) Stat(context.Context, string) (object.Info, error) {
	return object.Info{}, errMissing
}
func (noBucket) Put(context.Context, string, [][]byte, object.PutOptions) (object.Info, error) {
	return object.Info{}, errMissing
}
func (noBucket) Upload(context.Context, string, int64, object.PutOptions) (object.Upload, error) {
	return nil, errMissing
}
func (noBucket) Delete(context.Context, []object.Ref) error { return errMissing }
func (noBucket) AbortUploads(context.Context, string) error { return errMissing }

// A bucket that is missing does not look like a directory that is.
func TestMissingBucket(t *testing.T) {
	ctx := t.Context()
	store := object.New(noBucket{newService(false)}, object.Options{})
	for what, op := range map[string]func() error{
		"Stat":     func() error { _, err := store.Stat(ctx, "run"); return err },
		"List":     func() error { _, err := store.List(ctx, "run"); return err },
		"the root": func() error { _, err := store.List(ctx, "."); return err },
		"Snapshot": func() error { _, err := store.Snapshot(ctx, "run"); return err },
		"Left":     func() error { _, err := store.Left(ctx, "run"); return err },
		"Edit":     func() error { _, err := store.Edit(ctx, "run"); return err },
		"Begin": func() error {
			_, err := store.Begin(ctx, "run", storage.BeginOptions{Marker: marker})
			return err
		},
	} {
		if err := op(); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "the bucket does not exist") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
