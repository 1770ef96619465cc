package training

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// PreservationPolicy decides which steps of a run are kept; the others are removed after
// the next save. The policies of this package have the names of Orbax's and decide in the
// same way, and are given by value; a program can have its own. Only one goroutine at a
// time calls a policy.
//
// Whatever a policy decides, the newest intact step is never removed. Damaged steps (see
// [Step.Err]) are not removed either, and the policy does not see them.
type PreservationPolicy interface {
	// ShouldPreserve returns, for each of the checkpoints, whether it is kept. They are
	// in the order of their steps and must not be changed. If it returns an error,
	// nothing is removed.
	ShouldPreserve(checkpoints []Step, c PreservationContext) ([]bool, error)
}

// PreservationContext holds facts, other than the steps, for the decision of a
// [PreservationPolicy].
type PreservationContext struct {
	Now time.Time
}

// PreserveAll keeps every step.
type PreserveAll struct{}

// ShouldPreserve implements [PreservationPolicy].
func (PreserveAll) ShouldPreserve(checkpoints []Step, _ PreservationContext) ([]bool, error) {
	return keepAll(checkpoints), nil
}

// LatestN keeps the newest N steps, or all of them if N is 0 (Orbax's None).
type LatestN struct {
	N int
}

// ShouldPreserve implements [PreservationPolicy].
func (p LatestN) ShouldPreserve(checkpoints []Step, _ PreservationContext) ([]bool, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	keep := keepAll(checkpoints)
	keepNewest(keep, p.N)
	return keep, nil
}

func (p LatestN) validate() error { return notNegative("LatestN", "N", p.N) }

// EveryNSeconds keeps the oldest step, and then each step that is at least Interval
// younger than the last one it kept. Interval must be positive. If the time of a step
// lies in the future, the time of the next step counts instead, or the present. A step
// whose time is unknown is kept.
type EveryNSeconds struct {
	Interval time.Duration
}

// ShouldPreserve implements [PreservationPolicy].
func (p EveryNSeconds) ShouldPreserve(checkpoints []Step, c PreservationContext) ([]bool, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	keep := make([]bool, len(checkpoints))
	last := 0
	times := timesOf(checkpoints, c.Now)
	for i := range checkpoints {
		if i == 0 || times[i].IsZero() || times[i].Sub(times[last]) >= p.Interval {
			keep[i], last = true, i
		}
	}
	return keep, nil
}

func (p EveryNSeconds) validate() error { return positive("EveryNSeconds", "Interval", p.Interval) }

// EveryNSteps keeps the steps that are multiples of Interval, which must be at least 1.
type EveryNSteps struct {
	Interval int
	// Inexact keeps the first step, and then each that is at least Interval steps after
	// the last one it kept. It is Orbax's exact_interval=False.
	Inexact bool
	// MaxToKeep is the largest number of these steps that are kept, the newest ones; 0
	// keeps all.
	MaxToKeep int
}

// ShouldPreserve implements [PreservationPolicy].
func (p EveryNSteps) ShouldPreserve(checkpoints []Step, _ PreservationContext) ([]bool, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	keep := make([]bool, len(checkpoints))
	last := 0
	for i, step := range checkpoints {
		if p.Inexact {
			keep[i] = i == 0 || step.Step-checkpoints[last].Step >= p.Interval
		} else {
			keep[i] = step.Step%p.Interval == 0
		}
		if keep[i] {
			last = i
		}
	}
	keepNewest(keep, p.MaxToKeep)
	return keep, nil
}

func (p EveryNSteps) validate() error {
	return errors.Join(
		atLeastOne("EveryNSteps", "Interval", p.Interval),
		notNegative("EveryNSteps", "MaxToKeep", p.MaxToKeep))
}

// EveryNStepsClosest keeps, for each multiple of Interval, the step that is closest to
// it, and the newest step. A step belongs to the nearest multiple; a step in the middle
// of two belongs to the even one. Of two steps that are equally close the later is kept.
// Interval must be at least 1.
type EveryNStepsClosest struct {
	Interval int
	// MaxToKeep is the largest number of these steps that are kept, the newest ones; 0
	// keeps all.
	MaxToKeep int
}

// ShouldPreserve implements [PreservationPolicy].
func (p EveryNStepsClosest) ShouldPreserve(checkpoints []Step, _ PreservationContext) ([]bool, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	type best struct{ index, distance int }
	closest := map[int]best{} // by multiple
	for i, step := range checkpoints {
		multiple, distance := nearestMultiple(step.Step, p.Interval)
		if b, ok := closest[multiple]; !ok || distance <= b.distance {
			closest[multiple] = best{i, distance}
		}
	}
	keep := make([]bool, len(checkpoints))
	for _, b := range closest {
		keep[b.index] = true
	}
	if len(keep) > 0 {
		keep[len(keep)-1] = true
	}
	keepNewest(keep, p.MaxToKeep)
	return keep, nil
}

func (p EveryNStepsClosest) validate() error {
	return errors.Join(
		atLeastOne("EveryNStepsClosest", "Interval", p.Interval),
		notNegative("EveryNStepsClosest", "MaxToKeep", p.MaxToKeep))
}

// nearestMultiple returns the k for which k*n is nearest to step, and the distance. If
// two are equally near, k is even. n is at least 1. The result is exact, while Python's
// round(step / n), which goes through a float, is not.
func nearestMultiple(step, n int) (k, distance int) {
	k, below := step/n, step%n
	if below < 0 {
		k, below = k-1, below+n
	}
	above := n - below
	if below > above || below == above && k&1 != 0 {
		return k + 1, above
	}
	return k, below
}

// CustomSteps keeps the listed steps.
type CustomSteps struct {
	Steps []int
}

// ShouldPreserve implements [PreservationPolicy].
func (p CustomSteps) ShouldPreserve(checkpoints []Step, _ PreservationContext) ([]bool, error) {
	listed := make(map[int]bool, len(p.Steps))
	for _, step := range p.Steps {
		listed[step] = true
	}
	keep := make([]bool, len(checkpoints))
	for i, step := range checkpoints {
		keep[i] = listed[step.Step]
	}
	return keep, nil
}

// LatestDuration keeps the first step that is at most Duration old, and all steps after
// it. Duration must be positive. Times in the future, and unknown ones, count as with
// [EveryNSeconds].
type LatestDuration struct {
	Duration time.Duration
}

// ShouldPreserve implements [PreservationPolicy].
func (p LatestDuration) ShouldPreserve(checkpoints []Step, c PreservationContext) ([]bool, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	keep := make([]bool, len(checkpoints))
	young := false
	for i, at := range timesOf(checkpoints, c.Now) {
		young = young || c.Now.Sub(at) <= p.Duration
		keep[i] = young || at.IsZero()
	}
	return keep, nil
}

func (p LatestDuration) validate() error { return positive("LatestDuration", "Duration", p.Duration) }

// AnyPreservationPolicy keeps every step that one of its policies keeps. An empty one is
// an error, because it would keep nothing.
type AnyPreservationPolicy []PreservationPolicy

// ShouldPreserve implements [PreservationPolicy].
func (p AnyPreservationPolicy) ShouldPreserve(checkpoints []Step, c PreservationContext) ([]bool, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	keep := make([]bool, len(checkpoints))
	for _, policy := range p {
		kept, err := preserve(policy, checkpoints, c)
		if err != nil {
			return nil, err
		}
		for i, k := range kept {
			keep[i] = keep[i] || k
		}
	}
	return keep, nil
}

func (p AnyPreservationPolicy) validate() error {
	if len(p) == 0 {
		return errors.New("AnyPreservationPolicy: it has no policies and would keep nothing; PreserveAll keeps all")
	}
	return validateAll("AnyPreservationPolicy", p)
}

// timesOf returns the times at which the checkpoints were saved. A time in the future
// comes from a clock that was ahead, and is not used: such a step was saved before the
// present, and before the step that follows it.
func timesOf(checkpoints []Step, now time.Time) []time.Time {
	times := make([]time.Time, len(checkpoints))
	next := now
	for i, step := range slices.Backward(checkpoints) {
		if now.IsZero() || !step.Time.After(now) {
			next = step.Time
		}
		times[i] = next
	}
	return times
}

// preserve asks p which of the checkpoints are kept. It keeps damaged ones without
// asking. An answer of the wrong length is an error.
func preserve(p PreservationPolicy, checkpoints []Step, c PreservationContext) ([]bool, error) {
	sound := make([]Step, 0, len(checkpoints))
	for _, step := range checkpoints {
		if step.Err == nil {
			sound = append(sound, step)
		}
	}
	kept, err := p.ShouldPreserve(sound, c)
	if err != nil {
		return nil, err
	}
	if len(kept) != len(sound) {
		return nil, fmt.Errorf("preservation policy %T returned %d decisions for %d checkpoints", p, len(kept), len(sound))
	}
	keep := keepAll(checkpoints)
	next := 0
	for i, step := range checkpoints {
		if step.Err == nil {
			keep[i] = kept[next]
			next++
		}
	}
	return keep, nil
}

// keepAll returns true for each checkpoint.
func keepAll(checkpoints []Step) []bool {
	return slices.Repeat([]bool{true}, len(checkpoints))
}

// keepNewest sets all but the last n true values to false; 0 is no limit.
func keepNewest(keep []bool, n int) {
	if n == 0 {
		return
	}
	for i := len(keep) - 1; i >= 0; i-- {
		if keep[i] && n == 0 {
			keep[i] = false
		} else if keep[i] {
			n--
		}
	}
}
