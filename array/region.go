package array

import (
	"cmp"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
)

// CopyRegion copies a box of elements from one row-major array to another. The box has
// size elements along each axis. It begins at srcOffset in src, which has shape srcShape,
// and at dstOffset in dst, which has shape dstShape. Each element takes elemSize bytes.
// The two arrays may differ in shape but not in rank; for rank 0 CopyRegion copies the
// one element. The memory must not overlap.
//
// CopyRegion checks everything before it moves the first byte. If the box does not lie in
// both arrays, or the length of dst or src is not that of its shape, the error matches
// orbax.ErrShape.
func CopyRegion(dst []byte, dstShape, dstOffset []int, src []byte, srcShape, srcOffset []int, size []int, elemSize int) error {
	rank := len(size)
	if elemSize < 1 {
		return fmt.Errorf("%w: elements of %d bytes", fault.ErrShape, elemSize)
	}
	if err := cmp.Or(
		region.CheckBox("the destination", dstShape, dstOffset, size),
		region.CheckMemory("the destination", len(dst), dstShape, elemSize),
		region.CheckBox("the source", srcShape, srcOffset, size),
		region.CheckMemory("the source", len(src), srcShape, elemSize),
	); err != nil {
		return err
	}
	for _, n := range size {
		if n == 0 {
			return nil
		}
	}

	// The trailing axes that the box covers whole in both arrays are contiguous together
	// with the axis before them: one copy moves them all.
	run := elemSize
	axis := rank
	for axis > 0 {
		axis--
		run *= size[axis]
		if size[axis] != dstShape[axis] || size[axis] != srcShape[axis] {
			break
		}
	}

	// The loop walks the axes outside a run like the digits of an odometer.
	digits := make([]digit, 0, 8)
	dstPos, srcPos := 0, 0
	dstStride, srcStride := elemSize, elemSize // bytes between neighbours along axis i
	for i := rank - 1; i >= 0; i-- {
		dstPos += dstOffset[i] * dstStride
		srcPos += srcOffset[i] * srcStride
		if i < axis {
			digits = append(digits, digit{size: size[i], dstStride: dstStride, srcStride: srcStride})
		}
		dstStride *= dstShape[i]
		srcStride *= srcShape[i]
	}
	for {
		copy(dst[dstPos:dstPos+run], src[srcPos:srcPos+run])
		i := 0
		for ; i < len(digits); i++ {
			d := &digits[i]
			d.at++
			dstPos += d.dstStride
			srcPos += d.srcStride
			if d.at < d.size {
				break
			}
			d.at = 0
			dstPos -= d.size * d.dstStride
			srcPos -= d.size * d.srcStride
		}
		if i == len(digits) {
			return nil
		}
	}
}

// digit is an axis that CopyRegion walks, innermost first.
type digit struct{ at, size, dstStride, srcStride int }
