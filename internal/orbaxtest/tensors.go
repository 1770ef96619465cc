package orbaxtest

import (
	"os"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/safetensors"
)

// Tensors returns a safetensors file that has the arrays as tensors.
func Tensors(t testing.TB, tensors map[string]*array.Array) []byte {
	t.Helper()
	var list []safetensors.Tensor
	for name, a := range tensors {
		list = append(list, safetensors.Tensor{Name: name, DType: a.DType(), Shape: a.Shape()})
	}
	h, b, err := safetensors.Layout(list, nil)
	Must(t, err)
	for _, s := range h.Tensors { // in the order of the file
		b = append(b, tensors[s.Name].Bytes()...)
	}
	return b
}

// WriteTensors writes a file of [Tensors].
func WriteTensors(t testing.TB, path string, tensors map[string]*array.Array) {
	t.Helper()
	Must(t, os.WriteFile(path, Tensors(t, tensors), 0o666))
}
