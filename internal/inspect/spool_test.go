package inspect

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
)

// TestSparse compares a preview's elements with those of the whole array.
func TestSparse(t *testing.T) {
	data := make([]byte, 1000*4)
	for i := range data {
		data[i] = byte(i * 7)
	}
	s := newSparse(4)
	p := &printer{shape: []int{10, 100}, edge: 2}
	p.visit(s.want)
	if len(s.wanted) != 16 || p.count() != 16 {
		t.Fatalf("%d elements are wanted, %d counted, want 16", len(s.wanted), p.count())
	}
	for off := 0; off < len(data); off += 200 {
		if _, err := s.WriteAt(data[off:off+200], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range s.wanted {
		var b [4]byte
		if _, err := s.ReadAt(b[:], i*4); err != nil || !bytes.Equal(b[:], data[i*4:][:4]) {
			t.Errorf("element %d: %v, %v", i, b, err)
		}
	}
}

// TestSpoolLeavesOthers checks that the end of a spool does not remove a file that another
// program has made under the name of its file, which was given back.
func TestSpoolLeavesOthers(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := newSpool(spoolMemory + 1)
	if err != nil {
		t.Fatal(err)
	}
	if s.named {
		t.Skip("this system does not remove an open file")
	}
	if err := os.WriteFile(s.file.Name(), []byte("another program's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.file.Name()); err != nil {
		t.Errorf("the other program's file: %v", err)
	}
}

// TestSpoolHint checks that a temporary file that cannot be written is not taken for
// damage to the checkpoint, and that the error says what to do.
func TestSpoolHint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	if err := orbax.Save(t.Context(), path, map[string]any{"a": []float32{1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	ck, err := Inspector{}.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	c, err := Inspector{}.Find(t.Context(), ck, path, "", "a")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(path, "_CHECKPOINT_METADATA")) // which cannot be written
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	err = c.(*storedLeaf).fill(t.Context(), &spool{file: file})
	hint, ok := HintOf(err)
	if !ok || hint.Kind != NeedsTemporary || hint.Bytes != 12 || errors.As(err, new(*orbax.Error)) {
		t.Errorf("hint %+v, %v for: %v", hint, ok, err)
	}
}
