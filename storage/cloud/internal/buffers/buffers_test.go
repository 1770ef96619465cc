package buffers

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"
)

// random returns buffers, and their bytes as one.
func random(seed uint64) (buffers [][]byte, all []byte, r *rand.Rand) {
	r = rand.New(rand.NewPCG(seed, 1))
	for range r.IntN(6) {
		p := make([]byte, r.IntN(9))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		buffers, all = append(buffers, p), append(all, p...)
	}
	return buffers, all, r
}

// A Reader reads and seeks as that of one buffer does, and leaves the buffers as they are.
func TestReader(t *testing.T) {
	for seed := range uint64(200) {
		buffers, all, rand := random(seed)
		given := slices.Clone(buffers)
		r := NewReader(buffers)
		if err := iotest.TestReader(r, all); err != nil {
			t.Fatalf("seed %d, buffers %v: %v", seed, buffers, err)
		}
		if r.Size() != int64(len(all)) || Size(buffers) != r.Size() {
			t.Errorf("the size is %d, want %d", r.Size(), len(all))
		}
		off := rand.IntN(len(all) + 1)
		if n, err := r.Seek(int64(off), io.SeekStart); n != int64(off) || err != nil {
			t.Errorf("Seek to %d: %d, %v", off, n, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, all[off:]) {
			t.Errorf("from %d: got %v, %v; want %v", off, got, err, all[off:])
		}
		for _, to := range []int64{-1, int64(len(all)) + 1} {
			if _, err := r.Seek(to, io.SeekStart); err == nil {
				t.Errorf("Seek to %d of %d got no error", to, len(all))
			}
		}
		r.Seek(0, io.SeekStart)
		r.Detach()
		if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errDetached) {
			t.Errorf("Read after Detach: %d, %v", n, err)
		}
		for i := range given {
			if len(given[i]) != len(buffers[i]) {
				t.Errorf("seed %d: buffer %d has %d bytes now, and had %d", seed, i, len(buffers[i]), len(given[i]))
			}
		}
	}
}

// Fill fills the buffers in their order, and fails if there are not enough bytes.
func TestFill(t *testing.T) {
	for seed := range uint64(200) {
		buffers, all, rand := random(seed)
		source := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, 10)
		for _, p := range buffers {
			clear(p)
		}
		most := rand.IntN(len(all) + 5)
		want := min(most, len(all))
		have := rand.IntN(len(all) + 5)
		n, err := Fill(buffers, bytes.NewReader(source[:have]), int64(most))
		if have >= want && (n != want || err != nil) || have < want && (n != have || !errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Errorf("seed %d: Fill of %d bytes of %d into %d: %d, %v", seed, most, have, len(all), n, err)
		}
		got := bytes.Join(buffers, nil)
		if !bytes.Equal(got[:n], source[:n]) || !bytes.Equal(got[n:], make([]byte, len(got)-n)) {
			t.Errorf("seed %d: got %v after %d bytes", seed, got, n)
		}
	}
}
