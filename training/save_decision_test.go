package training

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// answer is a save-decision policy that gives always the same one, and counts.
type answer struct {
	yes   bool
	err   error
	asked *int
}

func (a answer) ShouldSave(Step, []Step, DecisionContext) (bool, error) {
	*a.asked++
	return a.yes, a.err
}

func TestSavePolicyErrors(t *testing.T) {
	for _, c := range []struct {
		policy SaveDecisionPolicy
		want   []string
	}{
		{FixedIntervalPolicy{}, []string{"FixedIntervalPolicy: Interval is 0"}},
		{FixedIntervalPolicy{Interval: -5}, []string{"FixedIntervalPolicy: Interval is -5"}},
		{ContinuousCheckpointingPolicy{MinimumInterval: -time.Second}, []string{"MinimumInterval is -1s"}},
		{AnySavePolicy{nil}, []string{"policy 0 is nil"}},
		{AnySavePolicy{SpecificStepsPolicy{}, AnySavePolicy{FixedIntervalPolicy{}}}, []string{"Interval is 0"}},
	} {
		err := validate(c.policy)
		checkMentions(t, err, c.want...)
		yes, asked := c.policy.ShouldSave(Step{Step: 5}, nil, DecisionContext{})
		if yes || asked == nil || !strings.Contains(err.Error(), asked.Error()) {
			t.Errorf("%#v: asked: %t, %v; validated: %v", c.policy, yes, asked, err)
		}
	}
	// All that is wrong is told at once.
	checkMentions(t, validate(AnySavePolicy{FixedIntervalPolicy{}, nil, FixedIntervalPolicy{-1}}),
		"Interval is 0", "policy 1 is nil", "Interval is -1")
}

func checkMentions(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestAnySavePolicyAsksUntilOneSaysYes(t *testing.T) {
	var first, second, third int
	yes, err := AnySavePolicy{
		answer{asked: &first}, answer{yes: true, asked: &second}, answer{asked: &third},
	}.ShouldSave(Step{}, nil, DecisionContext{})
	if !yes || err != nil || first != 1 || second != 1 || third != 0 {
		t.Errorf("%t, %v; asked %d, %d, %d times", yes, err, first, second, third)
	}
	failure := errors.New("no clock")
	yes, err = AnySavePolicy{
		answer{yes: true, err: failure, asked: &first}, answer{yes: true, asked: &third},
	}.ShouldSave(Step{}, nil, DecisionContext{})
	if yes || !errors.Is(err, failure) || third != 0 {
		t.Errorf("%t, %v; asked on %d times", yes, err, third)
	}
}

func TestContinuousWithoutMinimumIgnoresTheClock(t *testing.T) {
	now := time.Now()
	previous := []Step{{Step: 1, Time: now.Add(-time.Second)}}
	for interval, want := range map[time.Duration]bool{0: true, time.Minute: false} {
		yes, err := ContinuousCheckpointingPolicy{interval}.ShouldSave(Step{Step: 2, Time: now}, previous, DecisionContext{})
		if yes != want || err != nil {
			t.Errorf("interval %v: %t, %v", interval, yes, err)
		}
	}
}
