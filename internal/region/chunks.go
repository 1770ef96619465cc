package region

// Chunks returns the number of chunks of an array. The number may exceed every integer
// type.
func Chunks(shape, chunk []int) float64 {
	n := 1.0
	for i, d := range shape {
		n *= float64((max(1, d)-1)/chunk[i] + 1)
	}
	return n
}
