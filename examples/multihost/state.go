package main

import (
	"context"
	"fmt"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
)

// State is the state of a model that several processes train. The arrays of params lie
// over the devices of all processes, and each process has the shards of its own devices.
// All processes have the rest.
type State struct {
	Params map[string]*array.Sharded `orbax:"params"`
	Order  *array.Array              `orbax:"order"` // of the pictures in this epoch
	Step   int                       `orbax:"step"`
}

// params describes the arrays: how long their axes are, and which axes of the mesh divide
// them.
var params = map[string]struct {
	shape []int
	spec  sharding.PartitionSpec
}{
	"embed":  {[]int{16384, 512}, sharding.PartitionSpec{{"model"}}},
	"kernel": {[]int{2048, 2048}, sharding.PartitionSpec{{"data"}, {"model"}}},
	"scale":  {[]int{1024, 1024}, nil}, // every device has all of it
}

// newState returns a state with the shards of this process, which are zero.
func newState(mesh sharding.Mesh, group *coord.Group) (*State, error) {
	s := &State{Params: map[string]*array.Sharded{}, Order: array.Of(make([]int32, 1<<20))}
	for name, p := range params {
		what := array.ShapeDtypeStruct{Shape: p.shape, DType: array.Float32, Sharding: sharding.Named(mesh, p.spec)}
		a, err := array.AllocSharded(what, multihost.Together{Group: group}.Process())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		s.Params[name] = a
	}
	return s, nil
}

// save saves the state. All processes of the group call it.
func save(ctx context.Context, group *coord.Group, path string, s *State, options ...orbax.SaveOption) (done orbax.Stats, err error) {
	err = orbax.Save(ctx, path, s, append(options, multihost.Together{Group: group}, orbax.Report(&done))...)
	return done, err
}

// load fills the shards of this process from a checkpoint, whatever group and mesh have
// saved it.
func load(ctx context.Context, path string, s *State) (done orbax.Stats, err error) {
	err = orbax.LoadInto(ctx, path, s, orbax.Report(&done))
	return done, err
}

// train gives each element the value that it has after a step: one that depends on its
// place in the whole array and on the step.
func (s *State) train(step int) error {
	s.Step = step
	return s.each(func(v []float32, first int) error {
		for i := range v {
			v[i] = value(first+i, step)
		}
		return nil
	})
}

// check fails if an element that this process has differs from what train gives it.
func (s *State) check() error {
	return s.each(func(v []float32, first int) error {
		for i := range v {
			if want := value(first+i, s.Step); v[i] != want {
				return fmt.Errorf("element %d is %v, want %v", first+i, v[i], want)
			}
		}
		return nil
	})
}

func value(i, step int) float32 { return float32((7*i + 13*step) % 65521) }

// each calls f with each row of the shards, and with the number of its first element in
// the whole array.
func (s *State) each(f func(row []float32, first int) error) error {
	for name, a := range s.Params {
		for _, shard := range a.Shards() {
			v, err := array.Values[float32](shard.Array)
			if err != nil {
				return err
			}
			rows, columns := shard.Array.Shape()[0], shard.Array.Shape()[1]
			for r := range rows {
				first := (shard.Offset[0]+r)*a.Shape()[1] + shard.Offset[1]
				if err := f(v[r*columns:(r+1)*columns], first); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
	}
	return nil
}

// held returns how many bytes of the state are in this process.
func (s *State) held() (n int64) {
	for _, a := range s.Params {
		for _, shard := range a.Shards() {
			n += int64(len(shard.Array.Bytes()))
		}
	}
	return n + int64(len(s.Order.Bytes()))
}
