package azure

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// A body reads and seeks as one buffer does.
func TestBody(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var buffers [][]byte
		var all []byte
		for range r.IntN(6) {
			p := make([]byte, r.IntN(9))
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			buffers, all = append(buffers, p), append(all, p...)
		}
		b := newBody(buffers)
		if err := iotest.TestReader(b, all); err != nil {
			t.Fatalf("seed %d, buffers %v: %v", seed, buffers, err)
		}
		if b.size != int64(len(all)) {
			t.Errorf("the size is %d, want %d", b.size, len(all))
		}
		off := r.IntN(len(all) + 1)
		if n, err := b.Seek(int64(off), io.SeekStart); n != int64(off) || err != nil {
			t.Errorf("Seek to %d: %d, %v", off, n, err)
		}
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, all[off:]) {
			t.Errorf("from %d: got %v, %v; want %v", off, got, err, all[off:])
		}
		for _, to := range []int64{-1, int64(len(all)) + 1} {
			if _, err := b.Seek(to, io.SeekStart); err == nil {
				t.Errorf("Seek to %d of %d got no error", to, len(all))
			}
		}
		b.Seek(0, io.SeekStart)
		b.detach()
		if n, err := b.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errDetached) {
			t.Errorf("Read after detach: %d, %v", n, err)
		}
	}
}
