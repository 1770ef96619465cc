package orbax_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/zarr"
)

// formats are the storage options that lead to different files.
var formats = map[string]handler.StorageOptions{
	"ocdbt+zarr3":      {},
	"ocdbt+zarr3+zstd": {ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(3)}},
	"ocdbt+zarr2":      {Zarr2: true},
	"ocdbt+zarr2+zstd": {ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(3)}, Zarr2: true},
	"files+zarr3":      {PlainFiles: true},
	"files+zarr3+zstd": {ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(3)}, PlainFiles: true},
	"files+zarr2":      {PlainFiles: true, Zarr2: true},
	"files+zarr2+zstd": {ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(3)}, PlainFiles: true, Zarr2: true},
}

// longTests asks for the tests that take minutes, allBits for each bit of what these sample.
var longTests, allBits = testenv.Long(), testenv.EveryBit()

// smallItems are checkpointables with every kind of leaf and every kind of
// document, in few bytes. The chunk of "long" is stored out of line.
func smallItems(t testing.TB) map[string]any {
	t.Helper()
	key, err := array.PRNGKey("threefry2x32", array.Of([]uint32{1, 2}))
	if err != nil {
		t.Fatal(err)
	}
	long := make([]float32, 266) // noise, so that it stays long when compressed
	for i, x := 0, uint32(1); i < len(long); i++ {
		x = x*1664525 + 1013904223
		long[i] = float32(x) / 7
	}
	return map[string]any{
		"state": map[string]any{
			"w":    array.Of([]int16{1, -2, 3}, 3).WithSharding(sharding.SingleDevice("cpu:0")),
			"long": array.Of(long),
			"key":  key,
			"n":    7,
			"s":    "text",
			"b":    []byte("bytes"),
			"e":    []any{nil},
		},
		"cfg": handler.JSON{Value: map[string]any{"lr": 0.5}},
	}
}

// save writes items and returns what is on disk and what loading gives.
func save(t testing.TB, items map[string]any, s handler.StorageOptions) (files, map[string]any) {
	t.Helper()
	path := t.TempDir() + "/ckpt"
	if err := orbax.SaveCheckpointables(t.Context(), path, items, orbax.Storage(s),
		orbax.CustomMetadata(map[string]any{"epoch": 3})); err != nil {
		t.Fatal(err)
	}
	f := readFiles(t, path)
	got, err := loadFiles(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyFiles(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	return f, got
}

func loadFiles(ctx context.Context, f files) (map[string]any, error) {
	return orbax.LoadCheckpointables(ctx, "ckpt", nil, f.in())
}

func verifyFiles(ctx context.Context, f files) error {
	return orbax.Verify(ctx, "ckpt", f.in())
}

// TestEveryBitIsCovered flips each bit of each file, one at a time: Verify must
// find it, and a load that succeeds must give what was saved.
func TestEveryBitIsCovered(t *testing.T) {
	const sample = 293 // no multiple of 8, so that it meets all bits of bytes
	every := []string{"ocdbt+zarr3", "ocdbt+zarr2+zstd", "files+zarr3+zstd", "files+zarr2"}
	items := smallItems(t)
	done := map[string]bool{}
	documents := map[string]bool{} // those that had all their bits flipped
	for _, name := range slices.Concat(every, slices.Sorted(maps.Keys(formats))) {
		if done[name] {
			continue
		}
		done[name] = true
		t.Run(name, func(t *testing.T) {
			f, want := save(t, items, formats[name])
			flips, total := 0, 0
			for _, file := range f.names() {
				stride := 1
				if !longTests {
					stride = sample
				}
				documents[file] = true
				total += len(f[file])
				padding := len(f[file]) - len(bytes.TrimRight(f[file], "\x00"))
				flips += flipBits(t, f, file, stride, want, padding > 1000 && name != every[0])
			}
			if total > 20<<10 {
				t.Errorf("the checkpoint has %d bytes; keep it small", total)
			}
			t.Logf("%d bytes, %d flips", total, flips)
		})
	}
}

// unread reports whether a bit has no part in what a chunk decodes to, so that
// no checksum covers it. They are in the header of a zstd frame (RFC 8878,
// 3.1.1.1), behind its magic number: the single-segment flag and the window
// descriptor, which say how much memory a decoder needs at most.
func unread(data []byte, bit int) bool {
	header := func(at int) bool {
		return at >= 4 && bytes.HasPrefix(data[at-4:], []byte{0x28, 0xb5, 0x2f, 0xfd})
	}
	const singleSegment = 5
	switch at := bit / 8; {
	case header(at):
		return bit%8 == singleSegment
	case header(at - 1):
		return data[at-1]&(1<<singleSegment) == 0
	}
	return false
}

// flipBits flips every stride-th bit of a file, and verifies and loads it. A quick run
// leaves out its trailing zeros if trim is true.
func flipBits(t *testing.T, f files, file string, stride int, want map[string]any, trim bool) int {
	var next atomic.Int64
	var wg sync.WaitGroup
	bits := 8 * len(f[file])
	if trim && !longTests {
		bits = 8 * len(bytes.TrimRight(f[file], "\x00"))
	}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				bit := int(next.Add(1)-1) * stride
				if bit >= bits {
					return
				}
				data := bytes.Clone(f[file])
				data[bit/8] ^= 1 << (bit % 8)
				damaged := f.with(file, data)
				if err := verifyFiles(t.Context(), damaged); err == nil && !unread(f[file], bit) {
					t.Errorf("%s: Verify does not see bit %d of byte %d of %d", file, bit%8, bit/8, len(data))
				}
				if got, err := loadFiles(t.Context(), damaged); err == nil && !same(got, want) {
					t.Errorf("%s: bit %d of byte %d of %d changes what is loaded, without an error", file, bit%8, bit/8, len(data))
				}
			}
		})
	}
	wg.Wait()
	return (bits + stride - 1) / stride
}

// optional are the files whose absence no reader can know to be damage: Orbax
// writes checkpoints without them.
func optional(file string) bool { return file == "digests.sha256" }

// TestMissingFiles removes each file in turn.
func TestMissingFiles(t *testing.T) {
	for name, s := range formats {
		f, want := save(t, smallItems(t), s)
		for _, file := range f.names() {
			damaged := f.with(file, nil)
			if err := verifyFiles(t.Context(), damaged); err == nil && !optional(file) {
				t.Errorf("%s: Verify does not miss %s", name, file)
			}
			if got, err := loadFiles(t.Context(), damaged); err == nil && !same(got, want) {
				t.Errorf("%s: a load without %s gives something else, without an error", name, file)
			}
		}
	}
}

// TestTruncatedFiles cuts each file at its beginning, end, middle, and at pages.
func TestTruncatedFiles(t *testing.T) {
	for name, s := range formats {
		f, want := save(t, smallItems(t), s)
		for _, file := range f.names() {
			n := len(f[file])
			lengths := []int{0, n / 2, n - 1, n + 4096, 1, n / 3, n - 5, n + 1, 1024, 4096}
			for _, to := range testenv.Pick(lengths, lengths[:4]) {
				if to < 0 || to == n || n == 0 && to > n+1 {
					continue
				}
				data := append(bytes.Clone(f[file]), make([]byte, 4096)...)[:max(0, min(to, n+4096))]
				damaged := f.with(file, data)
				err := verifyFiles(t.Context(), damaged)
				if err == nil {
					t.Errorf("%s: Verify does not see that %s has %d bytes instead of %d", name, file, to, n)
				}
				if got, err := loadFiles(t.Context(), damaged); err == nil && !same(got, want) {
					t.Errorf("%s: %s with %d bytes instead of %d gives something else, without an error", name, file, to, n)
				}
			}
		}
	}
}

// TestLFSPointers puts what a clone without its large files has in the place
// of each file.
func TestLFSPointers(t *testing.T) {
	pointer := []byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("a", 64) + "\nsize 12345\n")
	for name, s := range formats {
		f, _ := save(t, smallItems(t), s)
		for _, file := range f.names() {
			damaged := f.with(file, pointer)
			errs := []error{verifyFiles(t.Context(), damaged)}
			if _, err := loadFiles(t.Context(), damaged); err != nil || readByLoad(file) {
				errs = append(errs, err)
			}
			for _, err := range errs {
				if !errors.Is(err, orbax.ErrIncomplete) || !strings.Contains(fmt.Sprint(err), "git lfs pull") {
					t.Errorf("%s: with a pointer for %s: %v", name, file, err)
				}
			}
		}
	}
}

// readByLoad reports whether a load looks into the file.
func readByLoad(file string) bool {
	return file != "orbax.checkpoint" && file != "commit_success.txt"
}
