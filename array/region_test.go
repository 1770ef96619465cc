package array

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"pgregory.net/rapid"
)

// copyNaive is CopyRegion one element at a time.
func copyNaive(dst []byte, dstShape, dstOffset []int, src []byte, srcShape, srcOffset, size []int, elemSize int) {
	total := 1
	for _, n := range size {
		total *= n
	}
	for k := range total {
		d, s, dStride, sStride := 0, 0, elemSize, elemSize
		for i := len(size) - 1; i >= 0; i-- {
			at := k % size[i]
			k /= size[i]
			d += (dstOffset[i] + at) * dStride
			s += (srcOffset[i] + at) * sStride
			dStride *= dstShape[i]
			sStride *= srcShape[i]
		}
		copy(dst[d:d+elemSize], src[s:s+elemSize])
	}
}

func TestCopyRegionModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rank := rapid.IntRange(0, 5).Draw(t, "rank")
		elemSize := rapid.SampledFrom([]int{1, 2, 3, 4, 8, 16}).Draw(t, "element size")
		var size, dstShape, dstOffset, srcShape, srcOffset []int
		dstLen, srcLen := elemSize, elemSize
		// Margins are rare, so that whole rows and planes come up often.
		margin := rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2})
		for range rank {
			n := rapid.SampledFrom([]int{1, 2, 3, 4, 1, 2, 3, 4, 0}).Draw(t, "size")
			do, so := margin.Draw(t, "before"), margin.Draw(t, "before")
			size, dstOffset, srcOffset = append(size, n), append(dstOffset, do), append(srcOffset, so)
			dstShape = append(dstShape, do+n+margin.Draw(t, "after"))
			srcShape = append(srcShape, so+n+margin.Draw(t, "after"))
			dstLen *= dstShape[len(dstShape)-1]
			srcLen *= srcShape[len(srcShape)-1]
		}
		src := make([]byte, srcLen)
		for i := range src {
			src[i] = byte(i*7 + 1)
		}
		got, want := bytes.Repeat([]byte{0xee}, dstLen), bytes.Repeat([]byte{0xee}, dstLen)
		copyNaive(want, dstShape, dstOffset, src, srcShape, srcOffset, size, elemSize)
		if err := CopyRegion(got, dstShape, dstOffset, src, srcShape, srcOffset, size, elemSize); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}

func TestCopyRegionErrors(t *testing.T) {
	type box struct {
		shape, offset []int
		n             int
	}
	ok := box{[]int{4, 4}, []int{0, 0}, 16}
	tests := []struct {
		name     string
		dst, src box
		size     []int
		elemSize int
	}{
		{"past the end", box{[]int{4, 4}, []int{3, 0}, 16}, ok, []int{2, 2}, 1},
		{"past the end of the source", ok, box{[]int{4, 4}, []int{0, 3}, 16}, []int{2, 2}, 1},
		{"negative offset", box{[]int{4, 4}, []int{-1, 0}, 16}, ok, []int{2, 2}, 1},
		{"negative size", ok, ok, []int{2, -1}, 1},
		{"negative dimension", box{[]int{-4, -4}, []int{0, 0}, 16}, ok, []int{2, 2}, 1},
		{"overflowing offset", box{[]int{4, 4}, []int{math.MaxInt, 0}, 16}, ok, []int{2, 2}, 1},
		{"overflowing shape", box{[]int{math.MaxInt, 4}, []int{0, 0}, 16}, ok, []int{2, 2}, 1},
		{"overflowing bytes", box{[]int{math.MaxInt}, []int{0}, 16}, box{[]int{16}, []int{0}, 16}, []int{1}, 16},
		{"rank", box{[]int{4}, []int{0}, 4}, ok, []int{2, 2}, 1},
		{"rank of the offset", box{[]int{4, 4}, []int{0}, 16}, ok, []int{2, 2}, 1},
		{"short memory", box{[]int{4, 4}, []int{0, 0}, 15}, ok, []int{2, 2}, 1},
		{"long memory", ok, box{[]int{4, 4}, []int{0, 0}, 17}, []int{2, 2}, 1},
		{"empty box outside", box{[]int{4, 4}, []int{5, 0}, 16}, ok, []int{0, 2}, 1},
		{"element size", ok, ok, []int{2, 2}, 0},
		{"rank 0 without memory", box{}, box{n: 1}, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dst, src := make([]byte, tt.dst.n), bytes.Repeat([]byte{1}, tt.src.n)
			err := CopyRegion(dst, tt.dst.shape, tt.dst.offset, src, tt.src.shape, tt.src.offset, tt.size, tt.elemSize)
			if !errors.Is(err, fault.ErrShape) {
				t.Errorf("%v, want an error that matches ErrShape", err)
			}
			if bytes.Contains(dst, []byte{1}) {
				t.Error("bytes moved before the error")
			}
		})
	}
}

func TestCopyRegionDoesNotAllocate(t *testing.T) {
	dst, src := make([]byte, 4*4*4), make([]byte, 8*8*8)
	shape, big, at, size := []int{4, 4, 4}, []int{8, 8, 8}, []int{1, 2, 3}, []int{2, 2, 1}
	if n := testing.AllocsPerRun(10, func() {
		if err := CopyRegion(dst, shape, at, src, big, at, size, 1); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCopyRegion(b *testing.B) {
	for _, bb := range []struct {
		name     string
		dst, src []int
	}{
		{"whole", []int{1024, 1024}, []int{1024, 1024}},
		{"rows", []int{1024, 1024}, []int{4096, 1024}},
		{"tile", []int{1024, 1024}, []int{1024, 4096}},
		{"column", []int{1024 * 1024, 1}, []int{1024 * 1024, 4}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			dst, src := make([]byte, 4*bb.dst[0]*bb.dst[1]), make([]byte, 4*bb.src[0]*bb.src[1])
			b.SetBytes(int64(len(dst)))
			for b.Loop() {
				if err := CopyRegion(dst, bb.dst, []int{0, 0}, src, bb.src, []int{0, 0}, bb.dst, 4); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
