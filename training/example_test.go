package training_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/training"
	"github.com/go-orbax/orbax/transform"
)

// State is everything that a step needs from the step before.
type State struct {
	Params []float32 `orbax:"params"`
	Step   int       `orbax:"step"`
}

// Numbers is a dataset. It is a handler.Iterator, so that its position is saved with a
// step.
type Numbers struct{ next int }

func (n *Numbers) State() ([]byte, error)      { return json.Marshal(n.next) }
func (n *Numbers) SetState(state []byte) error { return json.Unmarshal(state, &n.next) }

// step learns from the next number.
func step(state *State, data *Numbers) (loss float64) {
	state.Step++
	data.next++
	state.Params[0] += float32(data.next)
	return 1 / float64(state.Step)
}

// fit goes on from the last step in root, or begins, and trains up to steps.
func fit(ctx context.Context, root string, steps int) (err error) {
	state, data := &State{Params: make([]float32, 3)}, &Numbers{}

	checkpoints, err := training.New(ctx, root, training.Options{
		SaveDecision: training.AnySavePolicy{
			training.FixedIntervalPolicy{Interval: 100},
			training.PreemptionCheckpointingPolicy{},
		},
		Preservation: training.AnyPreservationPolicy{
			training.LatestN{N: 2},
			training.EveryNSteps{Interval: 1000},
		},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, checkpoints.Close()) }()

	items := map[string]any{"state": state, "data": handler.DatasetIterator(data)}
	if _, err := checkpoints.ResumeCheckpointables(ctx, items); err != nil && !errors.Is(err, orbax.ErrNotExist) {
		return err
	}
	for ended := false; !ended && state.Step < steps; {
		loss := step(state, data)
		save := []orbax.SaveCheckpointablesOption{orbax.Metrics(map[string]any{"loss": loss})}
		if ended = checkpoints.Preempted(); ended || state.Step == steps {
			save = append(save, training.Force()) // the last one, whatever the policy says
		}
		if _, err := checkpoints.SaveCheckpointablesAsync(ctx, state.Step, items, save...); err != nil {
			return err
		}
	}
	return nil
}

// This example begins a run and later continues it, with the same loop.
func Example() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "orbax-run-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	for _, steps := range []int{250, 1350} {
		if err := fit(ctx, root, steps); err != nil {
			log.Fatal(err)
		}
		step, err := training.Latest(ctx, root, training.ReadOptions{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("latest:", step.Step, step.Metrics)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range entries {
		fmt.Print(e.Name(), " ")
	}
	// Output:
	// latest: 250 map[loss:0.004]
	// latest: 1350 map[loss:0.0007407407407407407]
	// 1000 1300 1350
}

// A background save reports its outcome through its response. If a program does not ask
// the response, the next save or Close returns a failure.
func ExampleCheckpointer_SaveAsync() {
	save := func(ctx context.Context, checkpoints *training.Checkpointer, state *State) error {
		resp, err := checkpoints.SaveAsync(ctx, state.Step, state)
		if earlier, ok := errors.AsType[*training.EarlierError](err); ok {
			log.Print(earlier) // a step is missing; this one is being saved
		} else if err != nil {
			return err
		}
		// ...
		saved, err := resp.Result(ctx) // of this step
		fmt.Println(saved, err)
		return nil
	}

	ctx := context.Background()
	root, err := os.MkdirTemp("", "orbax-run-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	checkpoints, err := training.New(ctx, root, training.Options{
		SaveDecision: training.FixedIntervalPolicy{Interval: 2},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoints.Close()
	for n := 1; n <= 2; n++ {
		if err := save(ctx, checkpoints, &State{Params: make([]float32, 3), Step: n}); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// false <nil>
	// true <nil>
}

// This example shows three actions that the policies do not decide: saving a step in any
// case, replacing a step, and removing one.
func ExampleForce() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "orbax-run-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	checkpoints, err := training.New(ctx, root, training.Options{
		SaveDecision: training.FixedIntervalPolicy{Interval: 100},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoints.Close()
	state := &State{Params: make([]float32, 3)}

	fmt.Println(checkpoints.Save(ctx, 100, state))
	fmt.Println(checkpoints.Save(ctx, 130, state))
	fmt.Println(checkpoints.Save(ctx, 130, state, training.Force()))
	fmt.Println(checkpoints.Save(ctx, 130, state, training.Force(), orbax.Overwrite()))
	_, err = checkpoints.Save(ctx, 130, state)
	fmt.Println("again:", errors.Is(err, orbax.ErrExist))
	_, err = checkpoints.Save(ctx, 120, state)
	fmt.Println("an older one:", errors.Is(err, training.ErrOlderStep))
	fmt.Println(checkpoints.Delete(ctx, 100))
	for _, step := range checkpoints.Checkpoints() {
		fmt.Println(step.Step)
	}
	// Output:
	// true <nil>
	// false <nil>
	// true <nil>
	// true <nil>
	// again: true
	// an older one: true
	// <nil>
	// 130
}

// Steps share the bytes of arrays that have not changed, here of one that is frozen.
func ExampleSharing() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "orbax-run-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	checkpoints, err := training.New(ctx, root, training.Options{
		Sharing: training.Sharing{FreshEvery: 20},
		Progress: func(step int, s orbax.Stats) {
			if s.Phase == orbax.PhaseDone {
				fmt.Printf("step %d: %d bytes, of which %d are shared\n", step, s.Bytes, s.Shared)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoints.Close()
	frozen, head := make([]float32, 1<<20), make([]float32, 1<<10)
	for n := range 3 {
		head[0]++
		if _, err := checkpoints.Save(ctx, n, map[string]any{"frozen": frozen, "head": head}); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// step 0: 4198400 bytes, of which 0 are shared
	// step 1: 4198400 bytes, of which 4194304 are shared
	// step 2: 4198400 bytes, of which 4194304 are shared
}

// This server loads the model again whenever there is a new step. It needs no
// Checkpointer and disturbs none.
func ExampleWatch() {
	serve := func(ctx context.Context, root string, use func(step int, model *State)) error {
		var model *State
		for step, err := range training.Watch(ctx, root, training.ReadOptions{
			Load: func(ctx context.Context, ck *orbax.Checkpoint) error {
				model = new(State)
				return ck.LoadInto(ctx, model)
			},
		}) {
			if err != nil {
				log.Print(err) // the model that is in use stays
				continue
			}
			use(step.Step, model)
		}
		return ctx.Err()
	}

	root, err := os.MkdirTemp("", "orbax-run-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	if err := fit(context.Background(), root, 300); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = serve(ctx, root, func(step int, model *State) {
		fmt.Println("serving step", step)
		cancel()
	})
	fmt.Println(err)
	// Output:
	// serving step 300
	// context canceled
}

// This example computes the age of the last intact step.
func ExampleLatest() {
	age := func(ctx context.Context, root string) (time.Duration, error) {
		step, err := training.Latest(ctx, root, training.ReadOptions{})
		if err != nil {
			return 0, err
		}
		return time.Since(step.Time), nil
	}

	ctx := context.Background()
	root, err := os.MkdirTemp("", "orbax-run-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	_, err = age(ctx, root)
	fmt.Println("a step:", !errors.Is(err, orbax.ErrNotExist))
	if err := fit(ctx, root, 100); err != nil {
		log.Fatal(err)
	}
	old, err := age(ctx, root)
	fmt.Println(old < time.Hour, err)
	// Output:
	// a step: false
	// true <nil>
}

// This program learns from a channel, and not from SIGTERM, that it is about to be ended.
func ExampleOptions_preempted() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "orbax-run-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	notice := make(chan struct{})
	checkpoints, err := training.New(ctx, root, training.Options{
		SaveDecision: training.AnySavePolicy{
			training.FixedIntervalPolicy{Interval: 1000},
			training.PreemptionCheckpointingPolicy{},
		},
		Preempted: notice,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoints.Close()
	state := &State{Params: make([]float32, 3)}
	fmt.Println(checkpoints.Save(ctx, 120, state))
	close(notice)
	fmt.Println(checkpoints.Save(ctx, 121, state))
	fmt.Println(checkpoints.Preempted())
	// Output:
	// false <nil>
	// true <nil>
	// true
}

// The state has gained a field, and lost one, since the run began.
func ExampleCheckpointer_Resume_changed() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	checkpoints, err := training.New(ctx, root, training.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoints.Close()
	before := map[string]any{"w": []float32{1, 2}, "old": 3}
	items := map[string]any{"state": before, "data": handler.DatasetIterator(&Numbers{next: 7})}
	if _, err := checkpoints.SaveCheckpointables(ctx, 1, items); err != nil {
		log.Fatal(err)
	}

	type State struct {
		W   []float32 `orbax:"w"`
		EMA float64   `orbax:"ema"`
	}
	state, data := &State{}, &Numbers{}
	step, err := checkpoints.Resume(ctx, state, orbax.Name("state"),
		orbax.Transform(transform.Default("ema", 0.999)), // a new field, where a step does not have it
		orbax.Partial()) // fields that the state has lost
	if err == nil {
		_, err = checkpoints.LoadCheckpointables(ctx, step, map[string]any{"data": handler.DatasetIterator(data)})
	}
	fmt.Println(step, *state, data.next, err)
	// Output: 1 {[1 2] 0.999} 7 <nil>
}

// In this state one field has got another name, and another field another shape. The
// rules work for the step before the change and for the step after it.
func ExampleCheckpointer_Resume_renamed() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	checkpoints, err := training.New(ctx, root, training.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoints.Close()
	before := map[string]any{"lr": 0.5, "w": array.Of([]float32{1, 2, 3, 4}, 2, 2), "old": 3}
	if _, err := checkpoints.Save(ctx, 1, before); err != nil {
		log.Fatal(err)
	}

	type State struct {
		Rate float64   `orbax:"rate"`
		W    []float32 `orbax:"w"`
	}
	for range 2 { // as the program is started again
		state := &State{}
		step, err := checkpoints.Resume(ctx, state, orbax.Transform(
			transform.Optional(
				transform.Rename(map[string]string{"lr": "rate"}), // where a step still has lr
				transform.Drop("old"),
			),
			transform.Set("w", transform.Leaf("w").Reshape(4)), // from either shape
		))
		fmt.Println(step, *state, err)
		if _, err := checkpoints.Save(ctx, step+1, state); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 1 {0.5 [1 2 3 4]} <nil>
	// 2 {0.5 [1 2 3 4]} <nil>
}
