package handler_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/view"
)

// tempDir returns a directory for an example's checkpoint.
func tempDir() string {
	dir, err := os.MkdirTemp("", "orbax-example-")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

// Vocabulary is a handler that stores a []string as a text file.
type Vocabulary struct{}

func (Vocabulary) Type() string                                            { return "example.com/vocabulary.Handler" }
func (Vocabulary) CanSave(v any) bool                                      { _, ok := v.([]string); return ok }
func (Vocabulary) CanLoad(target any) bool                                 { _, ok := target.(*[]string); return ok }
func (Vocabulary) Metadata(context.Context, *handler.ReadDir) (any, error) { return nil, nil }

func (Vocabulary) Save(_ context.Context, v any, _ handler.SaveOptions) (handler.WriteFunc, error) {
	words, ok := v.([]string)
	if !ok {
		return nil, fmt.Errorf("a vocabulary is a []string, not %T", v)
	}
	text := []byte(strings.Join(words, "\n")) // a copy: words may change
	return func(ctx context.Context, dir *handler.WriteDir) error {
		return dir.WriteFile(ctx, "vocab.txt", text)
	}, nil
}

func (Vocabulary) Load(ctx context.Context, dir *handler.ReadDir, target any, _ handler.LoadOptions) (any, error) {
	text, err := dir.ReadFile(ctx, "vocab.txt")
	if err != nil {
		return nil, err
	}
	words := strings.Split(string(text), "\n")
	if into, ok := target.(*[]string); ok {
		*into = words
		return target, nil
	}
	return words, nil
}

// A program can bind a handler of its own to the name of a checkpointable.
func ExampleRegistry_Bind() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")

	var r handler.Registry
	r.Bind("vocab", Vocabulary{})
	err := orbax.SaveCheckpointables(ctx, path, map[string]any{
		"state": map[string]any{"step": 7},
		"vocab": []string{"the", "cat"},
	}, orbax.Handlers(&r))
	if err != nil {
		log.Fatal(err)
	}
	loaded, err := orbax.LoadCheckpointables(ctx, path, nil, orbax.Handlers(&r))
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(path, "vocab", "vocab.txt"))
	fmt.Printf("%v %q %v\n", loaded["vocab"], text, err)
	// Output: [the cat] "the\ncat" <nil>
}

// counter is an endless dataset.
type counter struct{ next int }

func (c *counter) State() ([]byte, error)      { return json.Marshal(c.next) }
func (c *counter) SetState(state []byte) error { return json.Unmarshal(state, &c.next) }

// The position in the data is saved with the model, so that training continues with the
// next example.
func ExampleDatasetIterator() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")

	err := orbax.SaveCheckpointables(ctx, path, map[string]any{
		"state":   map[string]any{"step": 7},
		"dataset": handler.DatasetIterator(&counter{next: 224}),
	})
	if err != nil {
		log.Fatal(err)
	}
	data := &counter{}
	_, err = orbax.LoadCheckpointables(ctx, path, map[string]any{"dataset": handler.DatasetIterator(data)})
	fmt.Println(data.next, err)
	// Output: 224 <nil>
}

// CopyTo writes arrays of any size to a file, one after the other, with a few chunks in
// memory at a time.
func ExampleTree_CopyTo() {
	ctx := context.Background()
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ckpt")
	err := orbax.Save(ctx, path, map[string]any{"a": array.Of([]int32{1, 2}), "b": array.Of([]int32{3}), "name": "x"})
	if err != nil {
		log.Fatal(err)
	}

	c, err := orbax.Open(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	t, err := c.Tree(ctx)
	if err != nil {
		log.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "arrays"))
	if err != nil {
		log.Fatal(err)
	}
	defer out.Close()

	offsets := map[string]int64{}
	end := int64(0)
	for _, l := range t.Metadata().Leaves {
		if l.DType != array.Invalid { // "name" has no elements
			offsets[l.Path.String()] = end
			end += l.Bytes
		}
	}
	err = t.CopyTo(ctx, out, func(l *view.LeafMetadata) (int64, bool) {
		offset, ok := offsets[l.Path.String()]
		return offset, ok
	})
	if err != nil {
		log.Fatal(err)
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		log.Fatal(err)
	}
	for ; len(b) > 0; b = b[4:] {
		fmt.Println(binary.LittleEndian.Uint32(b))
	}
	// Output:
	// 1
	// 2
	// 3
}
