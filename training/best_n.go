package training

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
)

// BestN keeps the N steps with the greatest metric, and the steps without metrics. If two
// metrics are equal, the later step is better. NaN is worse than all other metrics, with
// Reverse too. If there are at most N steps, or N is 0 (Orbax's None), BestN keeps all
// steps and does not ask for their metrics.
type BestN struct {
	N int
	// Metric returns the number by which steps are compared, from the metrics that the
	// step was saved with. It must be set; [MetricAt] makes one. An error of Metric is an
	// error of the policy.
	Metric func(metrics any) (float64, error)
	// Reverse makes the smallest metric the best one.
	Reverse bool
	// DropWithoutMetrics removes steps without metrics. It is Orbax's
	// keep_checkpoints_without_metrics=False.
	DropWithoutMetrics bool
}

// ShouldPreserve implements [PreservationPolicy].
func (p BestN) ShouldPreserve(checkpoints []Step, _ PreservationContext) ([]bool, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	if p.N == 0 || len(checkpoints) <= p.N {
		return keepAll(checkpoints), nil
	}
	type rated struct {
		index  int
		metric float64
	}
	keep := make([]bool, len(checkpoints))
	var order []rated
	for i, step := range checkpoints {
		if step.Metrics == nil {
			keep[i] = !p.DropWithoutMetrics
			continue
		}
		metric, err := p.Metric(step.Metrics)
		if err != nil {
			return nil, fmt.Errorf("BestN: metric of step %d: %w; nothing is removed until step %d is deleted, or Metric returns NaN for it", step.Step, err, step.Step)
		}
		order = append(order, rated{i, metric})
	}
	slices.SortStableFunc(order, func(a, b rated) int {
		if p.Reverse && !math.IsNaN(a.metric) && !math.IsNaN(b.metric) {
			a, b = b, a
		}
		return cmp.Compare(a.metric, b.metric) // NaN is less than all others
	})
	for _, r := range order[max(0, len(order)-p.N):] {
		keep[r.index] = true
	}
	return keep, nil
}

func (p BestN) validate() error {
	if p.Metric == nil {
		return errors.Join(errors.New("BestN: Metric is nil, which must be set"), notNegative("BestN", "N", p.N))
	}
	return notNegative("BestN", "N", p.N)
}

// MetricAt returns a function for [BestN] that takes a number out of metrics:
// MetricAt("eval", "loss") returns 0.25 for {"eval": {"loss": 0.25}}, and MetricAt() is
// for metrics that consist of a number. If the metrics of a step have no such number,
// [BestN] fails, and nothing is removed until that step has been deleted.
func MetricAt(keys ...string) func(metrics any) (float64, error) {
	return func(metrics any) (float64, error) {
		v := metrics
		for i, key := range keys {
			object, ok := v.(map[string]any)
			if !ok {
				return 0, fmt.Errorf("metrics have a %T at %q, which is no object with a key %q", v, keys[:i], key)
			}
			if v, ok = object[key]; !ok {
				return 0, fmt.Errorf("metrics have nothing at %q", keys[:i+1])
			}
		}
		if n, ok := v.(*big.Int); ok && n != nil {
			f, _ := n.Float64()
			return f, nil
		}
		switch n := reflect.ValueOf(v); {
		case n.CanFloat():
			return n.Float(), nil
		case n.CanInt():
			return float64(n.Int()), nil
		case n.CanUint():
			return float64(n.Uint()), nil
		}
		return 0, fmt.Errorf("metrics have a %T at %q, which is no number", v, keys)
	}
}
