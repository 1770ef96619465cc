package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/tree"
)

// compare loads the steps at two paths. It returns the number of parts (the leaves of the
// state and the position in the data), and the names of the parts that differ in any bit.
func compare(ctx context.Context, path1, path2 string) (parts int, differ []string, err error) {
	one, err := loadParts(ctx, path1)
	if err != nil {
		return 0, nil, err
	}
	two, err := loadParts(ctx, path2)
	if err != nil {
		return 0, nil, err
	}
	if len(one) != len(two) {
		return 0, nil, fmt.Errorf("%s has %d parts, %s has %d", path1, len(one), path2, len(two))
	}
	for i, part := range one {
		if part.Path.Compare(two[i].Path) != 0 || !sameBits(part.Value, two[i].Value) {
			differ = append(differ, part.Path.String())
		}
	}
	return len(one), differ, nil
}

// loadParts loads the step at path and divides it into parts.
func loadParts(ctx context.Context, path string) ([]tree.Leaf, error) {
	var state State
	var data document
	targets := map[string]any{"state": &state, "data": handler.DatasetIterator(&data)}
	if _, err := orbax.LoadCheckpointables(ctx, path, targets); err != nil {
		return nil, err
	}
	return tree.Flatten(map[string]any{"state": &state, "data": []byte(data)})
}

// document is an iterator that consists of its position.
type document []byte

func (d *document) State() ([]byte, error) { return *d, nil }

func (d *document) SetState(state []byte) error {
	*d = bytes.Clone(state)
	return nil
}

// sameBits compares two parts of a step.
func sameBits(v, w any) bool {
	switch v := v.(type) {
	case *array.Array:
		w, ok := w.(*array.Array)
		return ok && v.Equal(w)
	case []byte:
		w, ok := w.([]byte)
		return ok && bytes.Equal(v, w)
	}
	return v == w
}
