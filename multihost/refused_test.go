package multihost_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
)

// A save that one process refuses fails in all of them, and leaves nothing behind.
func TestRefusedTogether(t *testing.T) {
	split := sharding.Named(mesh(2, 2), sharding.PartitionSpec{{"x", "y"}})
	same := map[string]any{"w": []float32{1, 2}, "step": 3}
	for _, c := range []struct {
		name  string
		state func(rank int) any
		opts  func(rank int) []orbax.SaveOption
		want  error
		texts []string // in the error of every process
	}{
		{name: "a value differs", state: func(rank int) any { return map[string]any{"step": 7 + rank/2} }, want: orbax.ErrStructure, texts: []string{`leaf step in "state": process 0 has`, "process 2 has"}},
		{name: "a shape differs", state: func(rank int) any { return map[string]any{"w": make([]float32, 3+rank/3)} }, want: orbax.ErrStructure, texts: []string{"float32[3]", "float32[4]", "process 3"}},
		{name: "a leaf is missing", state: func(rank int) any {
			if rank == 1 {
				return map[string]any{"w": 1, "more": 2}
			}
			return map[string]any{"w": 1}
		}, want: orbax.ErrStructure, texts: []string{"more", "process 1 has", "process 0 has no such leaf"}},
		{name: "a leaf cannot be stored", state: func(rank int) any {
			if rank == 2 {
				return map[string]any{"w": func() {}}
			}
			return same
		}, want: orbax.ErrLeafType, texts: []string{"leaf w"}},
		{name: "an option differs", state: func(int) any { return same }, opts: func(rank int) []orbax.SaveOption {
			if rank == 3 {
				return []orbax.SaveOption{orbax.Overwrite()}
			}
			return nil
		}, want: orbax.ErrStructure, texts: []string{"overwrite false", "overwrite true"}},
		{name: "an option of the storage differs", state: func(int) any { return same }, opts: func(rank int) []orbax.SaveOption {
			return []orbax.SaveOption{orbax.Storage(handler.StorageOptions{PlainFiles: rank == 2})}
		}, want: orbax.ErrStructure, texts: []string{"process 2 has", "plain files", "the database"}},
		{name: "another sharding", state: func(rank int) any {
			on := split
			if rank == 1 {
				on = sharding.Named(mesh(4, 1), sharding.PartitionSpec{{"x", "y"}})
			}
			a, _ := array.AllocSharded(array.ShapeDtypeStruct{Shape: []int{8}, DType: array.Int8, Sharding: on}, sharding.Process{Rank: rank, Size: 4})
			return map[string]any{"w": a}
		}, want: orbax.ErrStructure, texts: []string{"'x': 4", "'x': 2"}},
		{name: "a shard is missing", state: func(rank int) any {
			a, _ := array.AllocSharded(array.ShapeDtypeStruct{Shape: []int{8}, DType: array.Int8, Sharding: split}, sharding.Process{Rank: rank, Size: 4})
			if rank == 3 {
				a, _ = array.NewSharded(array.Int8, []int{8}, split)
			}
			return map[string]any{"w": a}
		}, want: orbax.ErrShape, texts: []string{"process 3", "w", "device 3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for i, err := range together(4, func(g *coord.Group) error {
				opts := []orbax.SaveOption{multihost.Together{Group: g}}
				if c.opts != nil {
					opts = append(opts, c.opts(g.Rank())...)
				}
				return orbax.Save(t.Context(), filepath.Join(dir, "ckpt"), c.state(g.Rank()), opts...)
			}) {
				if !errors.Is(err, c.want) {
					t.Errorf("process %d: %v", i, err)
				}
				for _, text := range c.texts {
					if !strings.Contains(fmt.Sprint(err), text) {
						t.Errorf("process %d does not say %q: %v", i, text, err)
					}
				}
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Error(left, err)
			}
		})
	}
}
