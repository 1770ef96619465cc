package array_test

import (
	"fmt"

	"github.com/go-orbax/orbax/array"
)

func Example() {
	a := array.Of([]float32{0.1, 2, 3.14159, -4, 5, 6}, 2, 3)
	b, err := a.Cast(array.BFloat16)
	if err != nil {
		fmt.Println(err)
		return
	}
	values, err := array.Values[array.BF16](b)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a, b, values[2].Float32(), b.FormatElement(0))
	// Output: float32[2 3] bfloat16[2 3] 3.140625 0.100097656
}

func ExampleCopyRegion() {
	src := []byte("abcdefghijkl") // 3 rows of 4
	dst := []byte("......")       // 2 rows of 3
	err := array.CopyRegion(
		dst, []int{2, 3}, []int{0, 1},
		src, []int{3, 4}, []int{1, 2},
		[]int{2, 2}, 1,
	)
	fmt.Printf("%s %v\n", dst, err)
	// Output: .gh.kl <nil>
}
