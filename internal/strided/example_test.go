package strided_test

import (
	"fmt"

	"github.com/go-orbax/orbax/internal/strided"
)

// Layer 1 of a stack of two, transposed, from stored chunks of one row each.
func Example() {
	v, err := strided.Of([]int{2, 2, 3})
	if err != nil {
		panic(err)
	}
	if v, err = v.Index(0, 1); err != nil {
		panic(err)
	}
	if v, err = v.Transpose(1, 0); err != nil {
		panic(err)
	}
	off, size := v.Bounds()
	fmt.Println("read", size, "at", off)

	dst := make([]byte, v.Len())
	for row, chunk := range []string{"abc", "def"} {
		err := v.Scatter(dst, v.Shape(), []int{0, 0}, []byte(chunk), []int{1, row, 0}, []int{1, 1, 3}, 1)
		if err != nil {
			panic(err)
		}
	}
	fmt.Printf("%v %s\n", v.Shape(), dst)
	// Output:
	// read [1 2 3] at [1 0 0]
	// [3 2] adbecf
}
