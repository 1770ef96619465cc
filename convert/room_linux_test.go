package convert_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage/mem"
)

// TestFullDisk makes a file on a disk that has no room for it.
func TestFullDisk(t *testing.T) {
	t.Chdir(t.TempDir())
	orbaxtest.Must(t, os.Mkdir("disk", 0o777))
	if err := syscall.Mount("tmpfs", "disk", "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("this needs the right to mount: ", err)
	}
	defer syscall.Unmount("disk", syscall.MNT_DETACH)
	m := mem.New()
	orbaxtest.Must(t, orbax.Save(t.Context(), "ck", map[string]any{"a": make([]float32, 1<<20)}, orbax.In(m)))
	fill := func() {
		if entries, err := os.ReadDir("disk"); err == nil && len(entries) == 1 { // the hidden file
			_ = os.WriteFile("disk/other", make([]byte, 1<<20), 0o666) // as far as it goes
		}
	}
	_, err := convert.ToSafetensors(t.Context(), "ck", "disk/x.safetensors", convert.Options{From: m})
	if !errors.Is(err, orbax.ErrNoSpace) || !strings.Contains(err.Error(), "disk/x.safetensors: the disk has not enough room: the file takes 4.0 MiB") {
		t.Errorf("before it is written: %v", err)
	}
	orbaxtest.Must(t, orbax.Save(t.Context(), "small", map[string]any{"a": make([]float32, 1<<17)}, orbax.In(m)))
	_, err = convert.ToSafetensors(t.Context(), "small", "disk/x.safetensors", convert.Options{From: onOpen{m, fill}})
	if !errors.Is(err, orbax.ErrNoSpace) || !strings.HasPrefix(err.Error(), "disk/x.safetensors: ") || strings.Contains(err.Error(), "leaf") {
		t.Errorf("while it is written: %v", err)
	}
	if entries, err := os.ReadDir("disk"); err != nil || len(entries) != 1 || entries[0].Name() != "other" {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
