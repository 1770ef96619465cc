package transfer

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

func write(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func lfsPointer() []byte {
	return []byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 9\n")
}

func TestReadErrors(t *testing.T) {
	dir := write(t, map[string][]byte{"short": noise(100, 1), "lfs": lfsPointer(), "d/f": noise(100, 2)})
	bad := errors.New("bad chunk")
	for name, c := range map[string]struct {
		e    Extent
		dst  int
		done error
		want error
		text string
	}{
		"missing":     {Extent{"none", 0, 4}, 0, nil, fault.ErrCorrupt, "missing file none"},
		"directory":   {Extent{"d", 0, 4}, 0, nil, nil, ""},
		"short":       {Extent{"short", 90, 11}, 0, nil, fault.ErrCorrupt, "has 100 bytes, 101 are needed"},
		"beyond":      {Extent{"short", 1 << 40, 11}, 0, nil, fault.ErrCorrupt, "100 bytes"},
		"huge":        {Extent{"short", 0, 1 << 60}, 0, nil, fault.ErrCorrupt, "100 bytes"},
		"pointer":     {Extent{"lfs", 0, 1000}, 0, nil, fault.ErrIncomplete, "git lfs pull"},
		"pointer 2":   {Extent{"lfs", 0, 20}, 4, bad, fault.ErrIncomplete, "git lfs pull"},
		"decoder":     {Extent{"short", 0, 20}, 0, bad, bad, "bad chunk"},
		"decoder 2":   {Extent{"short", 0, 20}, 20, bad, bad, "bad chunk"},
		"negative":    {Extent{"short", -1, 20}, 0, nil, fault.ErrCorrupt, ""},
		"negative 2":  {Extent{"short", 0, -20}, 0, nil, fault.ErrCorrupt, ""},
		"overflow":    {Extent{"short", 1 << 62, 1 << 62}, 0, nil, fault.ErrCorrupt, ""},
		"destination": {Extent{"short", 0, 4}, 5, nil, fault.ErrCorrupt, ""},
		"escape":      {Extent{"../x", 0, 4}, 0, nil, fault.ErrCorrupt, "leads out"},
		"escape 2":    {Extent{"d/../../x", 0, 4}, 0, nil, fault.ErrCorrupt, "leads out"},
		"absolute":    {Extent{"/etc/passwd", 0, 4}, 0, nil, fault.ErrCorrupt, "leads out"},
		"empty":       {Extent{"", 0, 4}, 0, nil, fault.ErrCorrupt, "leads out"},
	} {
		t.Run(name, func(t *testing.T) {
			// One that is good beside it, joined with it where the file is the same.
			read := func(failed func(error) error) (ok int32, err error) {
				var good atomic.Int32
				reads := []Read{
					{Leaf: "x.y", Extent: c.e, Dst: make([]byte, c.dst), Done: func([]byte) error { return c.done }, Failed: failed},
					{Leaf: "good", Extent: Extent{"d/f", 10, 10}, Done: func([]byte) error { good.Add(1); return nil }},
				}
				err = new(Engine).ReadAll(t.Context(), storage.At(storage.Local(), dir), reads)
				return good.Load(), err
			}
			_, err := read(nil)
			var leaf *fault.Leaf
			if !errors.As(err, &leaf) || leaf.Path != "x.y" || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Error(err)
			}
			var seen []error
			good, err := read(func(err error) error { seen = append(seen, err); return nil })
			if err != nil || len(seen) != 1 || !errors.As(seen[0], &leaf) || leaf.Path != "x.y" {
				t.Errorf("Failed was told %v; result %v", seen, err)
			}
			if good != 1 {
				t.Errorf("another read was done %d times", good)
			}
			stop := errors.New("stop")
			if _, err := read(func(error) error { return stop }); !errors.Is(err, stop) {
				t.Errorf("Failed says %v, result %v", stop, err)
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	data := noise(100, 1)
	dir := write(t, map[string][]byte{"f": data, "lfs": lfsPointer(), "empty": {}})
	for _, c := range []struct {
		name   string
		off, n int64
		want   []byte
		err    error
	}{
		{"f", 0, -1, data, nil}, {"f", 10, -1, data[10:], nil}, {"f", 10, 5, data[10:15], nil}, {"f", 100, 0, nil, nil}, {"empty", 0, -1, nil, nil},
		{"f", 100, -1, nil, nil}, {"f", 101, -1, nil, fault.ErrCorrupt}, {"f", 0, 101, nil, fault.ErrCorrupt}, {"f", -1, 5, nil, fault.ErrCorrupt},
		{"f", 1 << 62, 1 << 62, nil, fault.ErrCorrupt}, {"f", 0, 1 << 62, nil, fault.ErrCorrupt},
		{"lfs", 0, -1, nil, fault.ErrIncomplete}, {"lfs", 500, 10, nil, fault.ErrIncomplete},
		{"none", 0, -1, nil, os.ErrNotExist}, {"../f", 0, -1, nil, fault.ErrCorrupt}, {"/f", 0, -1, nil, fault.ErrCorrupt},
	} {
		got, err := ReadFile(t.Context(), storage.At(storage.Local(), dir), c.name, c.off, c.n)
		if !bytes.Equal(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%s %d+%d: %d bytes, %v; want %d, %v", c.name, c.off, c.n, len(got), err, len(c.want), c.err)
		}
	}
}

func TestCancelRead(t *testing.T) {
	before := runtime.NumGoroutine()
	dir := write(t, map[string][]byte{"f": noise(4<<20, 1)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var called, failed atomic.Int32
	var reads []Read
	for i := range 4000 {
		reads = append(reads, Read{
			Leaf: "x", Extent: Extent{"f", int64(i) * 1000, 990},
			Failed: func(error) error { failed.Add(1); return nil },
			Done: func([]byte) error {
				if called.Add(1) == 20 {
					cancel()
				}
				return nil
			},
		})
	}
	if err := new(Engine).ReadAll(ctx, storage.At(storage.Local(), dir), reads); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := failed.Load(); n > 0 {
		t.Errorf("%d reads count as failed", n)
	}
	settle(t, before)
}

func TestReadOverlapping(t *testing.T) {
	data := noise(200_000, 1)
	dir := write(t, map[string][]byte{"f": data})
	rapid.Check(t, func(t *rapid.T) {
		var reads []Read
		type want struct {
			dst        []byte
			off, len   int
			wasCorrect bool
		}
		wants := make([]want, rapid.IntRange(1, 20).Draw(t, "n"))
		for i := range wants {
			w := &wants[i]
			w.off = rapid.SampledFrom([]int{0, 100, 40_000, 40_004, 100_000}).Draw(t, "off")
			w.len = rapid.SampledFrom([]int{0, 4, 36, 39_900, 40_000, 60_000}).Draw(t, "len")
			w.dst = make([]byte, rapid.SampledFrom([]int{0, w.len, w.len / 2, max(0, w.len-4)}).Draw(t, "dst"))
			reads = append(reads, Read{Leaf: "x", Extent: Extent{"f", int64(w.off), int64(w.len)}, Dst: w.dst, Done: func(rest []byte) error {
				w.wasCorrect = bytes.Equal(w.dst, data[w.off:][:len(w.dst)]) && bytes.Equal(rest, data[w.off+len(w.dst):w.off+w.len])
				return nil
			}})
		}
		if err := new(Engine).ReadAll(context.Background(), storage.At(storage.Local(), dir), reads); err != nil {
			t.Fatal(err)
		}
		for i, w := range wants {
			if !w.wasCorrect {
				t.Errorf("read %d of %d+%d, %d bytes of it into place, is wrong", i, w.off, w.len, len(w.dst))
			}
		}
	})
}
