package inspect

import (
	"bytes"
	"testing"
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
