package mmap

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"
)

// file makes a file of n bytes.
func file(t *testing.T, n int) (*os.File, []byte) {
	t.Helper()
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i*7 + i/251)
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, data
}

func space(t *testing.T, size, maps int) *Space {
	t.Helper()
	s, err := Reserve(size, maps)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Release() })
	return s
}

// faults reports whether touching memory does.
func faults(t *testing.T, memory []byte) (yes bool) {
	t.Helper()
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if err, ok := recover().(runtime.Error); ok {
			if at, ok := err.(interface{ Addr() uintptr }); !ok || at.Addr() == 0 {
				t.Errorf("panic without an address: %v", err)
			}
			yes = true
		}
	}()
	for _, b := range memory {
		sink += b
	}
	return false
}

var sink byte

func TestMap(t *testing.T) {
	page := PageSize()
	f, data := file(t, 3*page+100)
	s := space(t, 8*page, 2)
	// The last two pages in the place of the first, and all behind them.
	if err := s.Map(0, f, int64(2*page), page+100); err != nil {
		t.Fatal(err)
	}
	if err := s.Map(3*page, f, 0, len(data)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	head, all := s.Bytes(0, page+100), s.Bytes(3*page, len(data))
	if !bytes.Equal(head, data[2*page:]) || !bytes.Equal(all, data) {
		t.Fatal("the memory is not the file")
	}
	if cap(all) != len(all) {
		t.Errorf("a capacity of %d", cap(all))
	}
	if !faults(t, s.Bytes(2*page, 1)) || !faults(t, s.Bytes(7*page, page)) {
		t.Error("what nothing is mapped to can be read")
	}

	all[2*page]++
	if head[0] != data[2*page] {
		t.Error("another mapping sees what was written to this one")
	}
	if b, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(b, data) {
		t.Errorf("the file has changed (%v)", err)
	}

	for range 2 {
		if err := s.Retire(); err != nil {
			t.Fatal(err)
		}
	}
	if !faults(t, head[:1]) || !faults(t, all[len(all)-1:]) {
		t.Error("retired memory can be read")
	}
	// Nothing else gets the addresses.
	for range 50 {
		other := space(t, 8*page, 0)
		size := 8 * uintptr(page)
		if address(other) < address(s)+size && address(s) < address(other)+size {
			t.Fatal("the addresses were used again")
		}
	}
}

func TestRelease(t *testing.T) {
	was, free := reserved.Load(), Free()
	s := space(t, 1, 3)
	if got := reserved.Load() - was; got != int64(PageSize()) || Free() != free-3 {
		t.Errorf("%d bytes reserved, %d of %d mappings free", got, Free(), free)
	}
	for range 2 {
		if err := s.Release(); err != nil {
			t.Fatal(err)
		}
	}
	s = space(t, 1, 3)
	if err := s.Retire(); err != nil || Free() != free || reserved.Load() == was {
		t.Errorf("%v; retired: %d of %d mappings free, %d bytes more", err, Free(), free, reserved.Load()-was)
	}
	if err := s.Release(); err != nil || Free() != free || reserved.Load() != was {
		t.Errorf("%v; %d of %d mappings free, %d bytes more", err, Free(), free, reserved.Load()-was)
	}
}

func TestLimits(t *testing.T) {
	space(t, 1, 0).Release()
	was, free := reserved.Load(), Free()
	for _, c := range []struct{ size, maps int }{{MaxSpace + 1, 0}, {MaxSpace, free + 1}, {1, free + 1}} {
		if _, err := Reserve(c.size, c.maps); !errors.Is(err, ErrAddresses) && !errors.Is(err, errMappings) {
			t.Errorf("%v: %v", c, err)
		}
	}
	for _, c := range []struct{ size, maps int }{{0, 0}, {-1, 0}, {1, -1}} {
		if _, err := Reserve(c.size, c.maps); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
	if reserved.Load() != was || Free() != free {
		t.Error("what was refused is counted")
	}
	f, _ := file(t, PageSize())
	s := space(t, 2*PageSize(), 1)
	for _, c := range []struct {
		at  int
		off int64
		n   int
	}{
		{-PageSize(), 0, 1}, {1, 0, 1}, {0, 1, 1}, {0, -int64(PageSize()), 1},
		{0, 0, 0}, {0, 0, 2*PageSize() + 1}, {PageSize(), 0, PageSize() + 1},
	} {
		if err := s.Map(c.at, f, c.off, c.n); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
	f.Close()
	if err := s.Map(0, f, 0, 1); err == nil {
		t.Error("a closed file was mapped")
	}
}

// Pages that are gone are an error to Populate, and a fault to others.
func TestPopulate(t *testing.T) {
	page := PageSize()
	f, data := file(t, 4*page)
	s := space(t, 4*page, 1)
	if err := s.Map(0, f, 0, 4*page); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{nil, s.Bytes(10, 1), s.Bytes(page-1, 2), s.Bytes(0, 4*page)} {
		if err := Populate(b); err != nil {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	if !slices.Equal(s.Bytes(0, 4*page), data) {
		t.Error("the memory is not the file")
	}
	if err := os.Truncate(f.Name(), int64(page)); err != nil {
		t.Fatal(err)
	}
	if !faults(t, s.Bytes(2*page, 1)) {
		t.Error("a page that the file has no more can be read")
	}
	if err := Populate(s.Bytes(2*page, 1)); err == nil && canPopulate() {
		t.Error("a page that the file has no more was populated")
	}
	if faults(t, s.Bytes(0, page)) {
		t.Error("a page that the file still has cannot be read")
	}
}

// canPopulate reports whether the system is Linux 5.14 or later.
func canPopulate() bool {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	var major, minor int
	_, _ = fmt.Sscanf(string(release), "%d.%d", &major, &minor)
	return err == nil && (major > 5 || major == 5 && minor >= 14)
}

func address(s *Space) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(s.memory))) }
