package orbax_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

// mappable is a state of which everything but "bools" can be mapped: "chunks" is
// stored in three chunks that begin on pages.
func mappable() map[string]any {
	random := func(n int, seed uint32) []float32 {
		f := make([]float32, n)
		for i := range f {
			seed = seed*1664525 + 1013904223
			f[i] = float32(seed>>8) + 1
		}
		return f
	}
	bools := make([]bool, 1<<17)
	for i := range bools {
		bools[i] = i%3 == 0
	}
	return map[string]any{
		"one":    array.Of(random(1<<15, 1), 1<<5, 1<<10),
		"chunks": array.Of(random(9<<18-10, 2)),
		"small":  array.Of(random(1000, 3)),
		"bools":  array.Of(bools),
		"step":   7,
	}
}

// mappableBytes is what is mapped of it.
const mappableBytes = 4 * (1<<15 + 9<<18 - 10 + 1000)

func saveMappable(t testing.TB) (path string, state map[string]any) {
	t.Helper()
	path, state = filepath.Join(t.TempDir(), "ck"), mappable()
	if err := orbax.Save(t.Context(), path, state); err != nil {
		t.Fatal(err)
	}
	return path, state
}

// loadMapped opens a checkpoint and loads it. The test is skipped where nothing
// can be mapped.
func loadMapped(t testing.TB, path string, o orbax.LoadOption) (*orbax.Checkpoint, map[string]any) {
	t.Helper()
	ck, err := orbax.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	var s orbax.Stats
	v, err := ck.Load(t.Context(), o, orbax.Report(&s))
	if err != nil {
		t.Fatal(err)
	}
	if s.Mapped != mappableBytes {
		if runtime.GOOS == "linux" && os.Getpagesize() == 4096 {
			t.Errorf("%d bytes are mapped, want %d", s.Mapped, mappableBytes)
		}
		t.Skipf("%d bytes are mapped", s.Mapped)
	}
	return ck, v.(map[string]any)
}

func arrayOf(v any, leaf string) *array.Array { return v.(map[string]any)[leaf].(*array.Array) }

// faults reports whether reading memory does.
func faults(memory []byte) (yes bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if err, ok := recover().(runtime.Error); ok {
			_, yes = err.(interface{ Addr() uintptr })
		}
	}()
	return bytes.Clone(memory) == nil
}

// What is mapped is good until Close, and faults afterwards, whatever else the
// program has allocated since.
func TestMappedUntilClose(t *testing.T) {
	path, want := saveMappable(t)
	ck, got := loadMapped(t, path, orbax.Mapped())
	if !same(got, want) {
		t.Fatal("what is mapped differs from what was saved")
	}
	bools := arrayOf(got, "bools").Bytes()
	must(t, ck.Close())
	must(t, ck.Close())
	others, err := orbax.Open(t.Context(), path)
	must(t, err)
	defer others.Close()
	for range 3 {
		_, err := others.Load(t.Context(), orbax.MappedUnverified())
		must(t, err)
	}
	for _, leaf := range []string{"one", "chunks", "small"} {
		b := arrayOf(got, leaf).Bytes()
		if !faults(b[:1]) || !faults(b[len(b)-1:]) {
			t.Errorf("%s can be read after Close", leaf)
		}
	}
	if faults(bools) {
		t.Error("what was read is gone after Close")
	}
	for what, err := range map[string]error{
		"Load":         errorOf(ck.Load(t.Context(), orbax.Mapped())),
		"VerifyMapped": ck.VerifyMapped(t.Context()),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

func errorOf(_ any, err error) error { return err }

// A write to mapped memory is seen by nobody else.
func TestMappedWrites(t *testing.T) {
	path, want := saveMappable(t)
	before := everything(t, path)
	ck, got := loadMapped(t, path, orbax.Mapped())
	again, err := ck.Load(t.Context(), orbax.Mapped())
	must(t, err)
	for _, leaf := range []string{"one", "chunks", "small"} {
		clear(arrayOf(got, leaf).Bytes())
	}
	if !same(again, want) {
		t.Error("another load sees what was written")
	}
	if now := everything(t, path); !reflect.DeepEqual(now, before) {
		t.Error("the files have changed")
	}
	must(t, orbax.Verify(t.Context(), path))
	must(t, ck.VerifyMapped(t.Context(), arrayOf(again, "one"), arrayOf(again, "chunks"), arrayOf(again, "bools"), nil))
	var e *orbax.Error
	err = ck.VerifyMapped(t.Context())
	if !errors.As(err, &e) || !errors.Is(err, orbax.ErrCorrupt) ||
		!slices.Equal(leafNames(e), []string{"chunks", "one", "small"}) {
		t.Errorf("what was written to is verified: %v", err)
	}
}

// A checkpoint that is deleted or overwritten stays as it was for those who have
// mapped it.
func TestMappedOutlivesItsPath(t *testing.T) {
	for what, change := range map[string]func(path string) error{
		"deleted":     func(path string) error { return orbax.Delete(t.Context(), path) },
		"removed":     os.RemoveAll,
		"overwritten": func(path string) error { return orbax.Save(t.Context(), path, 1, orbax.Overwrite()) },
	} {
		path, want := saveMappable(t)
		ck, got := loadMapped(t, path, orbax.MappedUnverified())
		must(t, change(path))
		if !same(got, want) {
			t.Errorf("%s: the memory has changed", what)
		}
		must(t, ck.VerifyMapped(t.Context()))
		must(t, ck.Close())
	}
}

// Memory that the target has is filled, what it lacks is mapped, of whatever type.
func TestMappedInto(t *testing.T) {
	type into struct {
		One    *array.Array `orbax:"one"`
		Chunks []float32    `orbax:"chunks"`
		Small  []float32    `orbax:"small"`
		Bools  []bool       `orbax:"bools"`
		Step   int          `orbax:"step"`
	}
	path, want := saveMappable(t)
	_, _ = loadMapped(t, path, orbax.Mapped()) // or the test is skipped
	one := array.Of(make([]float32, 1<<15), 1<<5, 1<<10)
	target := into{One: one}
	ck, err := orbax.Open(t.Context(), path)
	must(t, err)
	defer ck.Close()
	must(t, ck.LoadInto(t.Context(), &target, orbax.MappedUnverified()))
	if target.One != one || !one.Equal(arrayOf(want, "one")) {
		t.Error("an array of the target was not filled")
	}
	chunks := array.Of(target.Chunks)
	if !chunks.Equal(arrayOf(want, "chunks")) || !array.Of(target.Small).Equal(arrayOf(want, "small")) ||
		len(target.Bools) != 1<<17 || target.Step != 7 {
		t.Error("the target differs")
	}
	clear(target.Chunks)
	if err := ck.VerifyMapped(t.Context(), chunks); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("the slice is not mapped: %v", err)
	}
	must(t, ck.Close())
	if !faults(chunks.Bytes()) || faults(one.Bytes()) {
		t.Error("the slice is not mapped, or the array is")
	}
}

// Safetensors files are mapped as one; they have no checksums.
func TestMappedSafetensors(t *testing.T) {
	state := mappable()
	delete(state, "step")
	tensors := map[string]*array.Array{}
	for name, v := range state {
		tensors[name] = v.(*array.Array)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	writeTensors(t, path, tensors)
	ck, got := loadMapped(t, path, orbax.Mapped())
	if !same(got, state) {
		t.Error("what is mapped differs")
	}
	clear(arrayOf(got, "one").Bytes())
	must(t, ck.VerifyMapped(t.Context()))
	must(t, ck.Close())
	if !faults(arrayOf(got, "one").Bytes()) {
		t.Error("it is not mapped")
	}
}
