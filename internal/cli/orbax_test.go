package cli

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/safetensors"
)

func TestShown(t *testing.T) {
	for name, want := range map[string]string{
		"params.w": "params.w", "größe 1": "größe 1", "": `""`, " x": `" x"`,
		"a\x1b[31m": `"a\x1b[31m"`, "a\nb": `"a\nb"`,
	} {
		if got := fault.Shown(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

// writeLarge writes a safetensors file of n bytes without holding them in memory.
func writeLarge(t *testing.T, path string, n int) {
	t.Helper()
	var tensors []safetensors.Tensor
	for _, name := range []string{"a", "b", "c"} {
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: array.Float32, Shape: []int{4, n / 48}})
	}
	h, head, err := safetensors.Layout(tensors, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	w.Write(head)
	var b [4]byte
	for _, tensor := range h.Tensors {
		for i := range tensor.Length / 4 {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(float32(i)*1.25))
			w.Write(b[:])
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestInterrupt checks that an interrupted conversion leaves no files.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	file, src := filepath.Join(dir, "in"+tensorSuffix), filepath.Join(dir, "ck")
	writeLarge(t, file, 96<<20)
	if got := Run(t.Context(), []string{"convert", file, src}, Config{Out: os.Stdout, Err: os.Stderr}); got != exitOK {
		t.Fatalf("exit status %d", got)
	}
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(out, "x"+tensorSuffix)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil { // until there is a file that could be left
			if entries, _ := os.ReadDir(out); len(entries) > 0 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := convert.ToSafetensors(ctx, src, dst, convert.Options{})
	entries, _ := os.ReadDir(out)
	switch {
	case err == nil && len(entries) == 1: // the conversion was faster
	case !errors.Is(err, context.Canceled):
		t.Fatal(err)
	case len(entries) > 0:
		t.Fatalf("left behind: %v", entries)
	}
	if got := Run(ctx, []string{"ls", src}, Config{Out: os.Stdout, Err: os.Stderr}); got != exitInterrupted {
		t.Errorf("exit status %d, want %d", got, exitInterrupted)
	}
}

// An error that matches ErrUsage is bad usage and not damage.
func TestExitStatusOfUsage(t *testing.T) {
	if got := exitStatus(fmt.Errorf("a: %w: b", orbax.ErrUsage)); got != exitFailed {
		t.Errorf("exit status %d, want %d", got, exitFailed)
	}
}
