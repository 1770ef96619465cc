package ocdbt

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

func TestNumberedManifests(t *testing.T) {
	src, _ := golden(t, "numbered")
	files := fstest.MapFS{}
	names, err := src.List(t.Context(), "manifest.")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := src.Read(t.Context(), name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: b}
	}
	last := numberedPrefix + "0000000000000005"
	generation := func() (uint64, error) {
		db, err := Open(t.Context(), FS(files))
		if err != nil {
			return 0, err
		}
		return db.Version().Generation, nil
	}
	for _, junk := range []string{"manifest.00000000000000ff.tmp", "manifest.ff", "manifest.zzzzzzzzzzzzzzzz", "manifest.+00000000000000f"} {
		files[junk] = &fstest.MapFile{}
	}
	if g, err := generation(); g != 5 || err != nil {
		t.Errorf("generation %d, %v, want 5", g, err)
	}
	if _, err := Open(t.Context(), readFunc(FS(files).Read)); !errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("source without List: error %v, want unsupported", err)
	}
	good := files[last]
	files[last] = files[ManifestName]
	if _, err := generation(); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("numbered manifest without versions: error %v, want corrupt", err)
	}
	files[last] = &fstest.MapFile{Data: Manifest(Root{}, [16]byte{1}, time.Unix(1, 0))}
	if _, err := generation(); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("numbered manifest of another database: error %v, want corrupt", err)
	}
	files[last] = &fstest.MapFile{Data: good.Data[:20]}
	if _, err := generation(); !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), last) {
		t.Errorf("numbered manifest cut: error %v, want corrupt", err)
	}
	names, err = FS(files).List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	vanishing := listed{FS(files), append(names, numberedPrefix+"0000000000000006")}
	if _, err := Open(t.Context(), vanishing); !errors.Is(err, fault.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("newest manifest vanishes: error %v, want incomplete", err)
	}
	for name := range files {
		if name != ManifestName {
			delete(files, name)
		}
	}
	if _, err := generation(); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("no numbered manifest: error %v, want incomplete", err)
	}
}

// listed lists fixed names.
type listed struct {
	Source
	names []string
}

func (l listed) List(context.Context, string) ([]string, error) { return l.names, nil }

func TestCancelled(t *testing.T) {
	src, _ := golden(t, "levels_none")
	db := open(t, src)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := list(ctx, db, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Entries: error %v", err)
	}
	if _, _, err := db.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: error %v", err)
	}
	if _, err := Open(ctx, src); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: error %v", err)
	}
}

// onlyRead hides that a file can be read at any offset.
type onlyRead struct{ fs.FS }

func (o onlyRead) Open(name string) (fs.File, error) {
	f, err := o.FS.Open(name)
	return struct{ fs.File }{f}, err
}

func TestFSRanges(t *testing.T) {
	files := fstest.MapFS{"d/x": {Data: []byte("0123456789")}}
	for _, fsys := range []fs.FS{files, onlyRead{files}} {
		for _, c := range []struct {
			off, n int64
			want   string
		}{
			{0, -1, "0123456789"}, {0, 3, "012"}, {4, 2, "45"}, {8, 5, "89"}, {8, math.MaxInt64, "89"},
			{10, 1, ""}, {11, 1, ""}, {11, -1, ""}, {math.MaxInt64, 1, ""}, {3, 0, ""},
		} {
			got, err := FS(fsys).Read(t.Context(), "d/x", c.off, c.n)
			if err != nil || string(got) != c.want {
				t.Errorf("Read(%d, %d) = %q, %v, want %q", c.off, c.n, got, err, c.want)
			}
		}
	}
}
