package training

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// SaveDecisionPolicy decides which steps of a run are saved. The policies of this package
// have the names of Orbax's and decide in the same way, and are given by value; a program
// can have its own. Only one goroutine at a time calls a policy.
type SaveDecisionPolicy interface {
	// ShouldSave reports whether step is to be saved. step has only its number and its
	// time, which is the present. previous has the steps that the run has saved,
	// ascending; it must not be changed. If ShouldSave returns an error, the save fails.
	ShouldSave(step Step, previous []Step, c DecisionContext) (bool, error)
}

// DecisionContext holds facts, other than the steps, for the decision of a
// [SaveDecisionPolicy].
type DecisionContext struct {
	SavingInProgress bool // an earlier step is still being written
	Preempted        bool // the program is about to be ended
}

// FixedIntervalPolicy saves the steps that are multiples of Interval, including 0. An
// Interval below 1 is an error.
type FixedIntervalPolicy struct {
	Interval int
}

// ShouldSave implements [SaveDecisionPolicy].
func (p FixedIntervalPolicy) ShouldSave(step Step, _ []Step, _ DecisionContext) (bool, error) {
	if err := p.validate(); err != nil {
		return false, err
	}
	return step.Step%p.Interval == 0, nil
}

func (p FixedIntervalPolicy) validate() error {
	return atLeastOne("FixedIntervalPolicy", "Interval", p.Interval)
}

// SpecificStepsPolicy saves the listed steps.
type SpecificStepsPolicy struct {
	Steps []int
}

// ShouldSave implements [SaveDecisionPolicy].
func (p SpecificStepsPolicy) ShouldSave(step Step, _ []Step, _ DecisionContext) (bool, error) {
	return slices.Contains(p.Steps, step.Step), nil
}

// ContinuousCheckpointingPolicy saves as often as it can without making the program wait:
// whenever no save is in progress.
type ContinuousCheckpointingPolicy struct {
	// MinimumInterval is the shortest time from the newest saved step to the next; 0
	// means none, and a negative one is an error. If the clock was ahead, so that the
	// time of the newest step lies in the future, that step counts as old enough.
	MinimumInterval time.Duration
}

// ShouldSave implements [SaveDecisionPolicy].
func (p ContinuousCheckpointingPolicy) ShouldSave(step Step, previous []Step, c DecisionContext) (bool, error) {
	switch err := p.validate(); {
	case err != nil:
		return false, err
	case c.SavingInProgress:
		return false, nil
	case len(previous) == 0 || p.MinimumInterval == 0:
		return true, nil
	}
	since := step.Time.Sub(previous[len(previous)-1].Time)
	return since < 0 || since >= p.MinimumInterval, nil
}

func (p ContinuousCheckpointingPolicy) validate() error {
	return notNegative("ContinuousCheckpointingPolicy", "MinimumInterval", p.MinimumInterval)
}

// PreemptionCheckpointingPolicy saves when the program is about to be ended; see
// [Options.Preempted].
type PreemptionCheckpointingPolicy struct{}

// ShouldSave implements [SaveDecisionPolicy].
func (PreemptionCheckpointingPolicy) ShouldSave(_ Step, _ []Step, c DecisionContext) (bool, error) {
	return c.Preempted, nil
}

// InitialSavePolicy saves when the run has no step yet.
type InitialSavePolicy struct{}

// ShouldSave implements [SaveDecisionPolicy].
func (InitialSavePolicy) ShouldSave(_ Step, previous []Step, _ DecisionContext) (bool, error) {
	return len(previous) == 0, nil
}

// AnySavePolicy saves every step that one of its policies saves. It asks them in order
// until one returns true. Without policies it saves nothing.
type AnySavePolicy []SaveDecisionPolicy

// ShouldSave implements [SaveDecisionPolicy].
func (p AnySavePolicy) ShouldSave(step Step, previous []Step, c DecisionContext) (bool, error) {
	for i, policy := range p {
		if policy == nil {
			return false, fmt.Errorf("AnySavePolicy: policy %d is nil", i)
		}
		if yes, err := policy.ShouldSave(step, previous, c); yes || err != nil {
			return yes && err == nil, err
		}
	}
	return false, nil
}

func (p AnySavePolicy) validate() error { return validateAll("AnySavePolicy", p) }

// validate returns the mistakes in a policy or name format that can be found before it is
// used. Types of the program are accepted as they are, unless they are nil inside the
// interface. Pointers to types of this package are refused.
func validate(v any) error {
	switch r := reflect.ValueOf(v); {
	case (r.Kind() == reflect.Pointer || r.Kind() == reflect.Func) && r.IsNil():
		return fmt.Errorf("%T is nil", v)
	case r.Kind() == reflect.Pointer && r.Type().Elem().PkgPath() == reflect.TypeFor[Step]().PkgPath():
		// The types of this package are recognised by value.
		return fmt.Errorf("%T is a pointer; give a %s by value", v, r.Type().Elem())
	}
	if v, ok := v.(interface{ validate() error }); ok {
		return v.validate()
	}
	return nil
}

// validateAll is validate for the parts of the policy called name. They must not be nil.
func validateAll[P any](name string, parts []P) error {
	var errs []error
	for i, part := range parts {
		if any(part) == nil {
			errs = append(errs, fmt.Errorf("%s: policy %d is nil", name, i))
		} else if err := validate(part); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// atLeastOne returns an error if v, a field of a policy, is below 1.
func atLeastOne(policy, field string, v int) error {
	if v < 1 {
		return fmt.Errorf("%s: %s is %d, which must be at least 1", policy, field, v)
	}
	return nil
}

// positive returns an error if v, a field of a policy, is 0 or negative.
func positive(policy, field string, v time.Duration) error {
	if v <= 0 {
		return fmt.Errorf("%s: %s is %v, which must be positive", policy, field, v)
	}
	return nil
}

// notNegative returns an error if v, a field of a policy or a name format, is
// below 0.
func notNegative[T int | time.Duration](policy, field string, v T) error {
	if v < 0 {
		return fmt.Errorf("%s: %s is %v, which must not be negative", policy, field, v)
	}
	return nil
}
