package buffers

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
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

// drip is a body that gives some bytes at a time, with a pause before each.
type drip struct {
	io.Reader
	most  int
	pause time.Duration
}

func (d drip) Read(p []byte) (int, error) {
	time.Sleep(d.pause)
	return d.Reader.Read(p[:min(len(p), d.most)])
}

// An answer that comes too slowly ends with an error that is a timeout, after the window. One
// that is steady is read to its end, however long that takes.
func TestFillSlowly(t *testing.T) {
	for name, c := range map[string]struct {
		most  int
		pause time.Duration
		slow  bool
	}{
		"a byte a second":        {1, time.Second, true},
		"1,000 bytes a second":   {1000, time.Second, true},
		"1,100 bytes a second":   {1100, time.Second, false},
		"60 KiB in 19 seconds":   {60 << 10, 19 * time.Second, false},
		"60 KiB in 2 minutes":    {60 << 10, 2 * time.Minute, true},
		"8 KiB in a millisecond": {8 << 10, time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := bytes.Repeat([]byte("0123456789abcdef"), 16<<10)
				got := [][]byte{make([]byte, 100), make([]byte, len(want))}
				start := time.Now()
				n, err := Fill(got, drip{bytes.NewReader(want), c.most, c.pause}, int64(len(want)))
				took := time.Since(start)
				var slow *SlowError
				var timeout net.Error
				switch {
				case c.slow && (!errors.As(err, &slow) || !errors.As(err, &timeout) || !timeout.Timeout() || n == 0 || took > window+c.pause):
					t.Errorf("got %d bytes, %v, after %v", n, err, took)
				case !c.slow && (err != nil || n != len(want)):
					t.Errorf("got %d bytes of %d, %v, after %v", n, len(want), err, took)
				}
				if all := slices.Concat(got...); !bytes.Equal(all[:n], want[:n]) {
					t.Error("the bytes differ")
				}
			})
		})
	}
}
