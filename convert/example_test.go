package convert_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/handler"
)

// saved saves a state in a temporary directory. It returns the directory and the
// checkpoint's path.
func saved(state any) (dir, ckpt string) {
	dir, err := os.MkdirTemp("", "convert")
	if err != nil {
		log.Fatal(err)
	}
	ckpt = filepath.Join(dir, "step_100")
	if err := orbax.Save(context.Background(), ckpt, state); err != nil {
		log.Fatal(err)
	}
	return dir, ckpt
}

// A state goes to a safetensors file and back. The file's entry __orbax__ has the data
// that safetensors cannot express, such as lists and numbers.
func Example() {
	ctx := context.Background()
	dir, ckpt := saved(map[string]any{
		"layers": []any{map[string]any{"w": array.Of([]float32{1, 2, 3}, 3)}},
		"step":   int64(100),
	})
	defer os.RemoveAll(dir)
	file, again := filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "imported")
	if _, err := convert.ToSafetensors(ctx, ckpt, file, convert.Options{}); err != nil {
		log.Fatal(err)
	}
	report, err := convert.FromSafetensors(ctx, file, again, convert.Options{})
	if err != nil {
		log.Fatal(err)
	}
	var state struct {
		Layers []struct {
			W []float32 `orbax:"w"`
		} `orbax:"layers"`
		Step int `orbax:"step"`
	}
	if err := orbax.LoadInto(ctx, again, &state); err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Leaves, state.Layers[0].W, state.Step)
	// Output: 2 [1 2 3] 100
}

// The report counts the elements that a smaller dtype could not hold.
func ExampleCopy() {
	ctx := context.Background()
	dir, ckpt := saved(map[string]any{"w": array.Of([]float32{1, 1e6, 1e-9, 2}, 4)})
	defer os.RemoveAll(dir)
	report, err := convert.Copy(ctx, ckpt, filepath.Join(dir, "half"), convert.Options{
		Storage: handler.StorageOptions{ArrayOptions: handler.ArrayOptions{DType: array.Float16}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, loss := range report.Losses {
		fmt.Printf("%s: %v\n", loss.Leaf, loss)
	}
	// Output: w: 1 element became infinite, 1 element became 0
}

// ToSafetensors refuses a dtype that safetensors does not have before it writes anything.
func ExampleToSafetensors() {
	ctx := context.Background()
	dir, ckpt := saved(map[string]any{"z": array.Of([]complex128{1i}, 1)})
	defer os.RemoveAll(dir)
	_, err := convert.ToSafetensors(ctx, ckpt, filepath.Join(dir, "z.safetensors"), convert.Options{})
	fmt.Println(errors.Is(err, orbax.ErrDType))
	// Output: true
}
