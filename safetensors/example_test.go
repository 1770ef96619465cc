package safetensors_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/safetensors"
)

// This example writes a file tensor by tensor, then reads one tensor of it.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	data := map[string][]byte{
		"mask":  {1, 0, 1},
		"bias":  {0, 0, 0x80, 0x3f}, // 1.0, little-endian
		"scale": {0, 0x3c, 0, 0x40}, // 1.0 and 2.0
	}
	h, head, err := safetensors.Layout([]safetensors.Tensor{
		{Name: "mask", DType: array.Bool, Shape: []int{3}},
		{Name: "bias", DType: array.Float32},
		{Name: "scale", DType: array.Float16, Shape: []int{2}},
	}, map[string]string{"format": "pt"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := f.Write(head); err != nil {
		log.Fatal(err)
	}
	for _, t := range h.Tensors {
		if _, err := f.Write(data[t.Name]); err != nil {
			log.Fatal(err)
		}
	}

	info, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	h, err = safetensors.ReadHeader(f, info.Size())
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range h.Tensors {
		fmt.Println(t.Name, t.DType, t.Shape, t.Length)
	}
	b := make([]byte, h.Tensors[1].Length)
	if _, err := f.ReadAt(b, h.Tensors[1].Offset); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%x\n", b)
	// Output:
	// bias float32 [] 4
	// scale float16 [2] 4
	// mask bool [3] 3
	// 003c0040
}
