package region

// Chunks returns how many chunks an array is divided into. The number may be
// beyond every integer.
func Chunks(shape, chunk []int) float64 {
	n := 1.0
	for i, d := range shape {
		n *= float64((max(1, d)-1)/chunk[i] + 1)
	}
	return n
}
