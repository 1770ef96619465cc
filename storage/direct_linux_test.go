package storage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

// Where the device refuses the alignment that it was said to accept, everything
// is written all the same.
func TestRefusedAlignment(t *testing.T) {
	buf := make([]byte, 4*PageSize)
	at := int(-uintptr(unsafe.Pointer(unsafe.SliceData(buf)))%PageSize) + 1
	page := buf[at : at+PageSize]
	for i := range page {
		page[i] = byte(i)
	}
	name := t.TempDir() + "/f"
	f, err := osSystem{}.create(entry{name: name}, false)
	if err != nil {
		t.Fatal(err)
	}
	file := f.(*osFile)
	if file.direct == nil {
		t.Skip("the page cache cannot be bypassed here")
	}
	file.align = 1
	if err := f.write(0, page, page); err != nil {
		t.Fatal(err)
	}
	if err := f.write(2*PageSize, page); err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, bytes.Repeat(page, 3)) {
		t.Errorf("%d bytes, or they differ; %v", len(got), err)
	}
}

func TestWriteVectorErrors(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	n, err := writeVector(f, 0, [][]byte{make([]byte, 5)}) // open for reading
	if n != 0 || !errors.Is(err, syscall.EBADF) {
		t.Errorf("%d, %v", n, err)
	}
	f.Close()
	if _, err := writeVector(f, 0, [][]byte{make([]byte, 5)}); err == nil {
		t.Error("a closed file was written")
	}
}

func TestSkip(t *testing.T) {
	all := []byte("abcdefghij")
	bufs := [][]byte{nil, all[:3], {}, all[3:4], all[4:], nil}
	for n := range len(all) + 1 {
		rest := skip(bufs, int64(n))
		if got := bytes.Join(rest, nil); string(got) != string(all[n:]) {
			t.Errorf("after %d: %q", n, got)
		}
		if n == len(all) && len(rest) > 0 {
			t.Errorf("at the end %d buffers are left", len(rest))
		}
	}
	if string(bytes.Join(bufs, nil)) != string(all) {
		t.Error("the buffers changed")
	}
}

func TestBytesOf(t *testing.T) {
	for _, tc := range []struct {
		n, unit uint64
		want    int64
	}{{3, 4096, 12288}, {0, 4096, 0}, {1 << 63, 1, 1<<63 - 1}, {1 << 62, 2, 1<<63 - 1}, {1<<64 - 1, 1<<64 - 1, 1<<63 - 1}} {
		if got := bytesOf(tc.n, tc.unit); got != tc.want {
			t.Errorf("%d × %d: %d", tc.n, tc.unit, got)
		}
	}
}

func TestReadBuffers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(i * i >> 4)
	}
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := Local().Open(t.Context(), filepath.ToSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var bufs [][]byte // more than one call takes, some of them empty
	for i := range 3000 {
		bufs = append(bufs, make([]byte, i%60))
	}
	whole := bufs[7]
	if err := r.(BuffersReader).ReadBuffers(t.Context(), 5, bufs...); err != nil {
		t.Fatal(err)
	}
	if got := bytes.Join(bufs, nil); !bytes.Equal(got, data[5:5+len(got)]) || len(whole) != 7 {
		t.Error("the buffers are not what the file has")
	}
	if err := r.(BuffersReader).ReadBuffers(t.Context(), 99_990, make([]byte, 4), make([]byte, 7)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("beyond the end: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.(BuffersReader).ReadBuffers(ctx, 0, bufs...); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Another file that has taken the name of a new file is not opened for writes past the
// page cache.
func TestDirectIsTheSameFile(t *testing.T) {
	dir := t.TempDir()
	victim, name := filepath.Join(dir, "victim"), filepath.Join(dir, "f")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for how, swap := range map[string]func() error{
		"kept":      func() error { return nil },
		"link":      func() error { return os.Symlink(victim, name) },
		"hard link": func() error { return os.Link(victim, name) },
		"FIFO":      func() error { return syscall.Mkfifo(name, 0o600) },
	} {
		os.Remove(name)
		e := entry{name: name}
		f, err := e.openFile(os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		if how != "kept" {
			if err := errors.Join(os.Remove(name), swap()); err != nil {
				t.Fatal(err)
			}
		}
		direct, _, err := openDirect(e, f)
		if direct != nil {
			direct.Close()
		}
		if (direct == nil) != (err != nil) || how != "kept" && direct != nil {
			t.Errorf("%s: opened %v, %v", how, direct != nil, err)
		}
		f.Close()
	}
}
