package object_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// deaf is a bucket that does not compare the version of an object that is read. It spells
// the versions of its answers in its own way.
type deaf struct {
	*membucket.Bucket
	spell func(version string) string
	// cut, if not nil, is called once, when half of an answer has come.
	cut func()
}

func (d *deaf) Get(ctx context.Context, key, _ string, p [][]byte, off int64) (int, object.Info, error) {
	n, info, err := d.Bucket.Get(ctx, key, "", p, off)
	info.Version = d.spell(info.Version)
	if cut := d.cut; cut != nil && err == nil {
		d.cut = nil
		cut()
		return n / 2, info, &object.Error{Op: "get", Key: key, Temporary: true}
	}
	return n, info, err
}

// What is read of one file is of one version, also where the service, or a proxy, ignores
// the version that is asked for and only says which one it sends.
func TestOneVersionIsRead(t *testing.T) {
	const size = 300 << 10
	old, other := bytes.Repeat([]byte("a"), size), bytes.Repeat([]byte("b"), size)
	for name, c := range map[string]struct {
		spell func(version string) string
		mixes bool
	}{
		"as asked":        {func(version string) string { return version }, false},
		"in quotes":       {func(version string) string { return `"` + version + `"` }, false},
		"weak":            {func(version string) string { return `W/"` + version + `"` }, false},
		"without version": {func(string) string { return "" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := &deaf{Bucket: &membucket.Bucket{}, spell: c.spell}
			write := func(text []byte) {
				t.Helper()
				_, err := b.Bucket.Put(t.Context(), "dir/file", [][]byte{text}, object.PutOptions{})
				must(t, err)
			}
			write(old)
			store := object.New(b, object.Options{})
			snapshot, err := store.Snapshot(t.Context(), "dir")
			must(t, err)
			opened, err := store.Open(t.Context(), "dir/file")
			must(t, err)
			listed, err := snapshot.Open(t.Context(), "dir/file")
			must(t, err)
			got := make([]byte, size)
			must(t, listed.ReadAt(t.Context(), got, 0))
			must(t, opened.ReadAt(t.Context(), got, 0))
			if !bytes.Equal(got, old) {
				t.Error("other bytes are read")
			}
			b.cut = func() { write(other) }
			errs := []error{opened.ReadAt(t.Context(), got[:size-1], 1), opened.ReadAt(t.Context(), got, 0), listed.ReadAt(t.Context(), got, 0)}
			for i, err := range errs {
				if !c.mixes && !errors.Is(err, fault.ErrBusy) {
					t.Errorf("read %d of a file that was replaced: %v", i, err)
				}
			}
		})
	}
}
