package training_test

import (
	"fmt"
	"time"

	"github.com/go-orbax/orbax/training"
)

// This policy saves at most one step every ten minutes, none while the last one is still
// being written, and one more when the program is about to be ended.
func ExampleAnySavePolicy() {
	policy := training.AnySavePolicy{
		training.InitialSavePolicy{},
		training.ContinuousCheckpointingPolicy{MinimumInterval: 10 * time.Minute},
		training.PreemptionCheckpointingPolicy{},
	}
	start := time.Now()
	saved := []training.Step{{Step: 0, Time: start}}
	step := training.Step{Step: 50, Time: start.Add(time.Minute)}

	save, err := policy.ShouldSave(step, saved, training.DecisionContext{})
	fmt.Println(save, err)
	save, err = policy.ShouldSave(step, saved, training.DecisionContext{Preempted: true})
	fmt.Println(save, err)
	// Output:
	// false <nil>
	// true <nil>
}

// This policy keeps the last three steps to fall back on, the two steps with the smallest
// loss, and every thousandth step for good.
func ExampleAnyPreservationPolicy() {
	policy := training.AnyPreservationPolicy{
		training.LatestN{N: 3},
		training.BestN{
			N:       2,
			Reverse: true, // the least is the best
			Metric:  training.MetricAt("loss"),
		},
		training.EveryNSteps{Interval: 1000},
	}
	var checkpoints []training.Step
	for i, loss := range []float64{9, 4, 2, 5, 1, 6, 3, 8, 7} {
		checkpoints = append(checkpoints, training.Step{Step: 250 * i, Metrics: map[string]any{"loss": loss}})
	}
	keep, err := policy.ShouldPreserve(checkpoints, training.PreservationContext{Now: time.Now()})
	if err != nil {
		panic(err)
	}
	for i, k := range keep {
		if k {
			fmt.Print(checkpoints[i].Step, " ")
		}
	}
	// Output: 0 500 1000 1500 1750 2000
}

// This format is for a run whose first steps were written without padding.
func ExampleCompositeNameFormat() {
	format := training.CompositeNameFormat{
		Write: training.StandardNameFormat{Prefix: "ck", Length: 6},
		Read:  []training.NameFormat{training.StandardNameFormat{}},
	}
	fmt.Println(format.Name(120))
	for _, name := range []string{"ck_000120", "90", "metadata"} {
		step, ok := format.Step(name)
		fmt.Println(name, step, ok)
	}
	// Output:
	// ck_000120
	// ck_000120 120 true
	// 90 90 true
	// metadata 0 false
}
