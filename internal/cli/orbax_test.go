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
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
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

// TestExtraRoundTrip checks that the reserved entry gives back what it was made
// of.
func TestExtraRoundTrip(t *testing.T) {
	kinds := []tree.Kind{tree.KindArray, tree.KindScalar, tree.KindString, tree.KindBytes, tree.KindEmpty}
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.Custom(func(t *rapid.T) tree.Key {
			if rapid.Bool().Draw(t, "seq") {
				return tree.Key{Name: rapid.StringMatching(`0|[1-9][0-9]{0,5}`).Draw(t, "position"), Seq: true}
			}
			return tree.Key{Name: rapid.String().Draw(t, "name")}
		})
		m := view.LeafMetadata{
			Path: rapid.SliceOfN(key, 0, 4).Draw(t, "path"),
			Kind: rapid.SampledFrom(kinds).Draw(t, "kind"),
		}
		if m.Kind == tree.KindEmpty {
			m.Empty = rapid.SampledFrom(emptyKinds).Draw(t, "empty")
		}
		var e extraTree
		e.add(&m)
		text, err := e.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if text == "" {
			if m.Kind != tree.KindArray || !slices.Equal(m.Path, nestedPath(m.Path.String(), dot)) {
				t.Fatalf("%+v is not listed", m)
			}
			return
		}
		got, err := parseExtra(text)
		if err != nil {
			t.Fatal(err)
		}
		l := got.Leaves[0]
		if !slices.Equal(l.path, m.Path) {
			t.Fatalf("path %v, want %v", l.path, m.Path)
		}
		if i := l.empty(); (i >= 0) != (m.Kind == tree.KindEmpty) || i >= 0 && emptyKinds[i] != m.Empty {
			t.Fatalf("kind %q of %+v", l.Kind, m)
		}
	})
}

func FuzzParseExtra(f *testing.F) {
	f.Add(`{"version":1,"leaves":[{"keys":["a",0],"kind":"scalar"},{"keys":[],"prng":"rbg"}],"custom":{"x":1}}`)
	f.Add(`{"version":2}`)
	f.Add(`{"version":1,"leaves":[{"keys":[-1,1.5,null]}]}`)
	f.Add(`{"version":1} x`)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseExtra(text)
		if err != nil {
			if !errors.Is(err, orbax.ErrCorrupt) && !errors.Is(err, orbax.ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		again, err := e.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if again == "" {
			return
		}
		e2, err := parseExtra(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if !reflect.DeepEqual(e.Leaves, e2.Leaves) && len(e.Leaves)+len(e2.Leaves) > 0 {
			t.Fatalf("%v, then %v", e.Leaves, e2.Leaves)
		}
	})
}

// writeLarge writes a safetensors file of n bytes without holding them.
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

// TestInterrupt checks that a conversion that is interrupted leaves nothing.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	file, src := filepath.Join(dir, "in"+tensorSuffix), filepath.Join(dir, "ck")
	writeLarge(t, file, 96<<20)
	if got := Run(t.Context(), []string{"convert", file, src}, Stdio{Out: os.Stdout, Err: os.Stderr}); got != exitOK {
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
		for ctx.Err() == nil { // until there is something to leave behind
			if entries, _ := os.ReadDir(out); len(entries) > 0 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	c := &conversion{src: src, dst: dst, compression: "none", separator: dot, warnings: os.Stderr}
	_, err := c.run(ctx)
	entries, _ := os.ReadDir(out)
	switch {
	case err == nil && len(entries) == 1: // it was faster
	case !errors.Is(err, context.Canceled):
		t.Fatal(err)
	case len(entries) > 0:
		t.Fatalf("left behind: %v", entries)
	}
	if got := Run(ctx, []string{"ls", src}, Stdio{Out: os.Stdout, Err: os.Stderr}); got != exitInterrupted {
		t.Errorf("exit status %d, want %d", got, exitInterrupted)
	}
}

// What a verb asks of the library and cannot be asked for is bad usage, and no damage.
func TestExitStatusOfUsage(t *testing.T) {
	if got := exitStatus(fmt.Errorf("a: %w: b", orbax.ErrUsage)); got != exitFailed {
		t.Errorf("exit status %d, want %d", got, exitFailed)
	}
}
