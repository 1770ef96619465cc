package strided

import (
	"fmt"
	"testing"
)

// BenchmarkScatter is one box that is the whole source, against copy of as many
// bytes.
func BenchmarkScatter(b *testing.B) {
	of := func(shape ...int) View { return must(b)(Of(shape)) }
	transpose := func(v View, perm ...int) View { return must(b)(v.Transpose(perm...)) }
	for _, bm := range []struct {
		name string
		v    View
		item int
	}{
		{"leading slice/float32", must(b)(of(8, 1024, 4096).Box([]int{2, 0, 0}, []int{4, 1024, 4096})), 4},
		{"columns/float32", must(b)(of(8192, 4096).Box([]int{0, 0}, []int{8192, 2048})), 4},
		{"every other/float32", must(b)(of(8192, 4096).Slice(1, 0, 4096, 2)), 4},
		{"flat range/float32", must(b)(must(b)(of(8192, 2000).Reshape(-1)).Slice(0, 77, 16000077, 1)), 4},
		{"transpose/1", transpose(of(8192, 8192)), 1},
		{"transpose/2", transpose(of(4096, 8192)), 2},
		{"transpose/4", transpose(of(4096, 4096)), 4},
		{"transpose of 4000x4000/4", transpose(of(4000, 4000)), 4},
		{"transpose/8", transpose(of(2048, 4096)), 8},
		{"transpose/16", transpose(of(2048, 2048)), 16},
		{"transpose/12", transpose(of(2048, 2048)), 12},
		{"heads/2", transpose(of(2048, 16, 128), 1, 0, 2), 2},
		{"heads of 8/4", transpose(of(65536, 16, 8), 1, 0, 2), 4},
		{"NHWC to NCHW/4", transpose(of(64, 224, 224, 3), 0, 3, 1, 2), 4},
		{"NCHW to NHWC/4", transpose(of(64, 3, 224, 224), 0, 2, 3, 1), 4},
		{"HWIO to OIHW/4", transpose(of(3, 3, 1024, 1024), 3, 2, 0, 1), 4},
		{"small transpose/4", transpose(of(16, 16)), 4},
	} {
		dst, src := numbered(bm.v.Len()*bm.item), numbered(product(bm.v.source)*bm.item)
		off, size, dstOff, shape := make([]int, len(bm.v.source)), bm.v.source, make([]int, len(bm.v.shape)), bm.v.Shape()
		b.Run(bm.name, func(b *testing.B) {
			b.SetBytes(int64(len(dst)))
			for b.Loop() {
				if err := bm.v.Scatter(dst, shape, dstOff, src, off, size, bm.item); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("copy of %d KiB", len(dst)>>10), func(b *testing.B) {
			b.SetBytes(int64(len(dst)))
			for b.Loop() {
				copy(dst, src[bm.v.offset*bm.item:])
			}
		})
	}
}
