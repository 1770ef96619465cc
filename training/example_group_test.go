package training_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/training"
)

// Part is the part of the state that one process has.
type Part struct {
	Params *array.Sharded `orbax:"params"` // the shards of the process
	Step   int            `orbax:"step"`   // the same in all processes
}

// newPart allocates the shards that the process of a group has. There is one device for
// each of four processes.
func newPart(group *coord.Group) (*Part, error) {
	devices := sharding.Mesh{Shape: []int{4}, AxisNames: []string{"x"}, DeviceIDs: []int{0, 1, 2, 3}}
	params, err := array.AllocSharded(array.ShapeDtypeStruct{
		Shape: []int{8, 3}, DType: array.Float32,
		Sharding: sharding.Named(devices, sharding.PartitionSpec{{"x"}}),
	}, multihost.Together{Group: group}.Process())
	return &Part{Params: params}, err
}

// stepPart learns from the next number.
func stepPart(state *Part, data *Numbers) error {
	state.Step++
	data.next++
	for _, shard := range state.Params.Shards() {
		values, err := array.Values[float32](shard.Array)
		if err != nil {
			return err
		}
		values[0] += float32(data.next)
	}
	return nil
}

// fitTogether is fit in one process of a group.
func fitTogether(ctx context.Context, root string, group *coord.Group, steps int) (err error) {
	data := &Numbers{}
	checkpoints, err := training.New(ctx, root, training.Options{
		Together:     multihost.Together{Group: group}, // for example that of package coord/etcd
		SaveDecision: training.AnySavePolicy{training.FixedIntervalPolicy{Interval: 100}, training.PreemptionCheckpointingPolicy{}},
		Preservation: training.LatestN{N: 2},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, checkpoints.Close()) }()

	state, err := newPart(group) // has the shards of this process
	if err != nil {
		return err
	}
	items := map[string]any{"state": state, "data": handler.DatasetIteratorOf(data, group.Rank(), group.Size())}
	if _, err := checkpoints.ResumeCheckpointables(ctx, items); err != nil && !errors.Is(err, orbax.ErrNotExist) {
		return err
	}
	for ended := false; !ended && state.Step < steps; {
		if err := stepPart(state, data); err != nil {
			return err
		}
		var save []orbax.SaveCheckpointablesOption
		if state.Step == steps {
			save = append(save, training.Force()) // the last one, whatever the policy says
		}
		if _, err := checkpoints.SaveCheckpointablesAsync(ctx, state.Step, items, save...); err != nil {
			return err
		}
		ended = checkpoints.Preempted() // after the save: that save was for the notice
	}
	return nil
}

// resumeParts loads the newest step, which any number of processes may have saved.
func resumeParts(ctx context.Context, checkpoints *training.Checkpointer, state *Part, data *Numbers, group *coord.Group) (err error) {
	step, err := checkpoints.Resume(ctx, state, orbax.Name("state"))
	if err == nil {
		position := handler.DatasetIteratorOf(data, group.Rank(), group.Size())
		_, err = checkpoints.LoadCheckpointables(ctx, step, map[string]any{"data": position})
		if errors.Is(err, orbax.ErrNotExist) { // another number of processes has saved the step, or it has no data
			data.next, err = state.Step, nil // the program knows where to begin
		}
	}
	if err != nil && !errors.Is(err, orbax.ErrNotExist) { // there is no step: a new run
		return err
	}
	return nil
}

// A step with the positions of four processes is resumed by four and by two.
func ExampleOptions_togetherAnother() {
	root, err := os.MkdirTemp("", "orbax-run-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	inEach := func(n int, run func(ctx context.Context, group *coord.Group) error) {
		var processes sync.WaitGroup
		for _, group := range coord.InProcess(n) {
			processes.Go(func() {
				defer group.Close()
				if err := run(context.Background(), group); err != nil {
					log.Fatal(err)
				}
			})
		}
		processes.Wait()
	}
	inEach(4, func(ctx context.Context, group *coord.Group) error { return fitTogether(ctx, root, group, 100) })
	for _, n := range []int{4, 2} {
		found := make([]string, n)
		inEach(n, func(ctx context.Context, group *coord.Group) (err error) {
			checkpoints, err := training.New(ctx, root, training.Options{Together: multihost.Together{Group: group}})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, checkpoints.Close()) }()
			state, err := newPart(group)
			if err != nil {
				return err
			}
			data := &Numbers{}
			err = resumeParts(ctx, checkpoints, state, data, group)
			found[group.Rank()] = fmt.Sprint(state.Step, " at ", data.next, " with ", len(state.Params.Shards()), " shards")
			return err
		})
		fmt.Println(found)
	}
	// Output:
	// [100 at 100 with 1 shards 100 at 100 with 1 shards 100 at 100 with 1 shards 100 at 100 with 1 shards]
	// [100 at 100 with 2 shards 100 at 100 with 2 shards]
}

// Four processes, here goroutines, have one run together. Each saves its own shards and its
// own position in the data.
func ExampleOptions_together() {
	root, err := os.MkdirTemp("", "orbax-run-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	for _, steps := range []int{250, 420} {
		var processes sync.WaitGroup
		for _, group := range coord.InProcess(4) {
			processes.Go(func() {
				defer group.Close()
				if err := fitTogether(context.Background(), root, group, steps); err != nil {
					log.Fatal(err)
				}
			})
		}
		processes.Wait()
		saved, err := training.Steps(context.Background(), root, training.ReadOptions{})
		if err != nil {
			log.Fatal(err)
		}
		for _, step := range saved {
			fmt.Println("saved", step.Step)
		}
	}
	// Output:
	// saved 200
	// saved 250
	// saved 400
	// saved 420
}
