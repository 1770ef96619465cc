package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
)

// compare loads the states at two paths and returns the number of their leaves
// and the names of those that differ in any bit.
func compare(ctx context.Context, path1, path2 string) (leaves int, differ []string, err error) {
	one, err := loadLeaves(ctx, path1)
	if err != nil {
		return 0, nil, err
	}
	two, err := loadLeaves(ctx, path2)
	if err != nil {
		return 0, nil, err
	}
	if len(one) != len(two) {
		return 0, nil, fmt.Errorf("%s has %d leaves, %s has %d", path1, len(one), path2, len(two))
	}
	for i, leaf := range one {
		if leaf.Path.Compare(two[i].Path) != 0 || !sameBits(leaf.Value, two[i].Value) {
			differ = append(differ, leaf.Path.String())
		}
	}
	return len(one), differ, nil
}

// loadLeaves loads the state at path and takes it apart.
func loadLeaves(ctx context.Context, path string) ([]tree.Leaf, error) {
	state, err := orbax.LoadAs[State](ctx, path)
	if err != nil {
		return nil, err
	}
	return tree.Flatten(&state)
}

// sameBits compares two leaves of a State.
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
