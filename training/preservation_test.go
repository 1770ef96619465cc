package training

import (
	"errors"
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// kept is a preservation policy that gives always the same answer.
type kept struct {
	answer []bool
	err    error
	got    *[]Step // what it was asked about, if set
}

func (k kept) ShouldPreserve(checkpoints []Step, _ PreservationContext) ([]bool, error) {
	if k.got != nil {
		*k.got = checkpoints
	}
	return k.answer, k.err
}

func numbered(steps ...int) []Step {
	var all []Step
	for _, s := range steps {
		all = append(all, Step{Step: s})
	}
	return all
}

func measured(values ...float64) []Step {
	var all []Step
	for i, v := range values {
		all = append(all, Step{Step: i, Metrics: map[string]any{"m": v}})
	}
	return all
}

func TestPreservationPolicyErrors(t *testing.T) {
	checkpoints := numbered(1, 2, 3)
	for _, c := range []struct {
		policy PreservationPolicy
		want   string
	}{
		{LatestN{-1}, "LatestN: N is -1"},
		{EveryNSeconds{}, "EveryNSeconds: Interval is 0s"},
		{EveryNSeconds{-time.Second}, "EveryNSeconds: Interval is -1s"},
		{EveryNSteps{}, "EveryNSteps: Interval is 0"},
		{EveryNSteps{Interval: -2, Inexact: true}, "EveryNSteps: Interval is -2"},
		{EveryNSteps{Interval: 2, MaxToKeep: -1}, "EveryNSteps: MaxToKeep is -1"},
		{EveryNStepsClosest{}, "EveryNStepsClosest: Interval is 0"},
		{EveryNStepsClosest{Interval: 2, MaxToKeep: -1}, "EveryNStepsClosest: MaxToKeep is -1"},
		{BestN{N: 1}, "BestN: Metric is nil"},
		{BestN{N: -1, Metric: metricM}, "BestN: N is -1"},
		{LatestDuration{}, "LatestDuration: Duration is 0s"},
		{AnyPreservationPolicy{}, "has no policies"},
		{AnyPreservationPolicy{PreserveAll{}, nil}, "policy 1 is nil"},
		{AnyPreservationPolicy{AnyPreservationPolicy{LatestN{-1}}}, "LatestN: N is -1"},
	} {
		checkMentions(t, validate(c.policy), c.want)
		keep, err := c.policy.ShouldPreserve(checkpoints, PreservationContext{})
		checkMentions(t, err, c.want)
		if keep != nil {
			t.Errorf("%#v: an error and %v", c.policy, keep)
		}
	}
}

func TestBestNNamesTheStepWhoseMetricFails(t *testing.T) {
	failure := errors.New("no loss")
	failing := func(m any) (float64, error) {
		v, _ := metricM(m)
		if v == 2 {
			return 0, failure
		}
		return v, nil
	}
	_, err := BestN{N: 1, Metric: failing}.ShouldPreserve(measured(1, 2, 3), PreservationContext{})
	checkMentions(t, err, "step 1", "no loss")
	if !errors.Is(err, failure) {
		t.Errorf("%v does not wrap the failure", err)
	}
	for _, reverse := range []bool{false, true} {
		for n, want := range map[int]string{1: []string{"00010", "10000"}[b2i(reverse)], 2: "10010", 3: "10011"} {
			keep, err := BestN{N: n, Metric: metricM, Reverse: reverse}.ShouldPreserve(
				measured(1, math.NaN(), math.NaN(), 2, math.NaN()), PreservationContext{})
			if bits(keep) != want || err != nil {
				t.Errorf("NaN, %d of them, reversed %t: %s, %v", n, reverse, bits(keep), err)
			}
		}
	}
	keep, err := BestN{N: 2, Metric: metricM}.ShouldPreserve(measured(math.Inf(1), -1, math.Inf(-1), 5), PreservationContext{})
	if bits(keep) != "1001" || err != nil {
		t.Errorf("infinities: %s, %v", bits(keep), err)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestMetricAt(t *testing.T) {
	metrics := map[string]any{"loss": 2, "eval": map[string]any{"loss": 0.25, "n": uint8(3), "best": "no"}, "all": []any{1.0}}
	for _, c := range []struct {
		metrics any
		keys    []string
		want    float64
		err     string
	}{
		{metrics, []string{"loss"}, 2, ""},
		{metrics, []string{"eval", "loss"}, 0.25, ""},
		{metrics, []string{"eval", "n"}, 3, ""},
		{1.5, nil, 1.5, ""},
		{metrics, nil, 0, "map[string]interface {}"},
		{metrics, []string{"eval"}, 0, `["eval"], which is no number`},
		{metrics, []string{"eval", "best"}, 0, `a string at ["eval" "best"]`},
		{metrics, []string{"eval", "f1"}, 0, `nothing at ["eval" "f1"]`},
		{metrics, []string{"all", "loss"}, 0, `a []interface {} at ["all"]`},
		{nil, []string{"loss"}, 0, `a <nil> at []`},
		{nil, nil, 0, "no number"},
	} {
		got, err := MetricAt(c.keys...)(c.metrics)
		if c.err != "" {
			checkMentions(t, err, c.err)
		} else if got != c.want || err != nil {
			t.Errorf("%q: %v, %v", c.keys, got, err)
		}
	}
}

func TestPreserve(t *testing.T) {
	failure := errors.New("no policy")
	damaged := numbered(1, 2, 3, 4)
	damaged[1].Err = errors.New("damaged")
	damaged[3].Err = errors.New("damaged")
	for _, c := range []struct {
		name        string
		policy      PreservationPolicy
		checkpoints []Step
		want        string
		err         string
	}{
		{"none", kept{}, nil, "", ""},
		{"too few", kept{answer: []bool{true}}, numbered(1, 2), "", "1 decisions for 2"},
		{"too many", kept{answer: []bool{true, true, true}}, numbered(1, 2), "", "3 decisions for 2"},
		{"nothing", kept{}, numbered(1, 2), "", "0 decisions for 2"},
		{"within another", AnyPreservationPolicy{PreserveAll{}, kept{answer: []bool{true}}}, numbered(1, 2), "", "1 decisions for 2"},
		{"failure", AnyPreservationPolicy{PreserveAll{}, kept{err: failure}}, numbered(1, 2), "", "no policy"},
		{"damaged are kept, and not counted", LatestN{1}, damaged, "0111", ""},
		{"all damaged", LatestN{1}, []Step{damaged[1], damaged[3]}, "11", ""},
	} {
		keep, err := preserve(c.policy, c.checkpoints, PreservationContext{})
		if c.err != "" {
			checkMentions(t, err, c.err)
		} else if bits(keep) != c.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", c.name, bits(keep), err, c.want)
		}
	}
	var got []Step
	if _, err := preserve(kept{answer: []bool{false, false}, got: &got}, damaged, PreservationContext{}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Step != 1 || got[1].Step != 3 {
		t.Errorf("the policy was asked about %v", got)
	}
}

func TestNearestMultiple(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.Int().Draw(t, "step")
		n := rapid.IntMin(1).Draw(t, "n")
		k, distance := nearestMultiple(step, n)

		// |step - k*n| is at most n/2, and if it is that, k is even.
		gap := new(big.Int).Mul(big.NewInt(int64(k)), big.NewInt(int64(n)))
		gap.Abs(gap.Sub(gap, big.NewInt(int64(step))))
		if !gap.IsInt64() || gap.Int64() != int64(distance) {
			t.Fatalf("distance %d of %d*%d, and it is %v", distance, k, n, gap)
		}
		switch gap.Lsh(gap, 1).Cmp(big.NewInt(int64(n))) {
		case 1:
			t.Fatalf("%d is not nearest: its distance is %d", k, distance)
		case 0:
			if k%2 != 0 {
				t.Fatalf("in the middle, and %d is odd", k)
			}
		}
	})
	// A float has no room for these.
	for _, c := range []struct{ step, n, k int }{
		{1<<62 + 1, 2, 1 << 61},
		{1<<62 + 3, 2, 1<<61 + 2},
		{math.MaxInt, 1, math.MaxInt},
		{math.MaxInt, math.MaxInt, 1},
	} {
		if k, _ := nearestMultiple(c.step, c.n); k != c.k {
			t.Errorf("nearestMultiple(%d, %d) = %d, want %d", c.step, c.n, k, c.k)
		}
	}
}

// drawPreservation returns any policy of the package.
func drawPreservation(depth int) *rapid.Generator[PreservationPolicy] {
	return rapid.Custom(func(t *rapid.T) PreservationPolicy {
		n := rapid.IntRange(1, 20)
		d := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(n.Draw(t, "seconds")) * time.Second })
		switch kind := rapid.IntRange(0, 7+min(depth, 1)).Draw(t, "kind"); kind {
		case 0:
			return PreserveAll{}
		case 1:
			return LatestN{n.Draw(t, "n")}
		case 2:
			return EveryNSeconds{d.Draw(t, "interval")}
		case 3:
			return EveryNSteps{n.Draw(t, "interval"), rapid.Bool().Draw(t, "inexact"), n.Draw(t, "max")}
		case 4:
			return EveryNStepsClosest{n.Draw(t, "interval"), n.Draw(t, "max")}
		case 5:
			return CustomSteps{rapid.SliceOf(n).Draw(t, "steps")}
		case 6:
			return BestN{n.Draw(t, "n"), metricM, rapid.Bool().Draw(t, "reverse"), rapid.Bool().Draw(t, "drop")}
		case 7:
			return LatestDuration{d.Draw(t, "duration")}
		default:
			return AnyPreservationPolicy(rapid.SliceOfN(drawPreservation(depth-1), 1, 3).Draw(t, "policies"))
		}
	})
}

func TestPreservationProperties(t *testing.T) {
	start := time.Unix(1e9, 0)
	checkpoint := rapid.Custom(func(t *rapid.T) Step {
		ck := Step{Step: rapid.IntRange(0, 60).Draw(t, "step"), Time: start.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "time")) * time.Second)}
		if rapid.Bool().Draw(t, "measured") {
			ck.Metrics = map[string]any{"m": float64(rapid.IntRange(-3, 3).Draw(t, "m"))}
		}
		return ck
	})
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfNDistinct(checkpoint, 0, 30, func(c Step) int { return c.Step }).Draw(t, "checkpoints")
		slices.SortFunc(all, func(a, b Step) int { return a.Step - b.Step })
		c := PreservationContext{Now: start.Add(time.Minute)}
		before := slices.Clone(all)

		one := drawPreservation(2).Draw(t, "one")
		other := drawPreservation(2).Draw(t, "other")
		keep, err := preserve(one, all, c)
		if err != nil {
			t.Fatal(err)
		}
		more, err := preserve(other, all, c)
		if err != nil {
			t.Fatal(err)
		}
		either, err := preserve(AnyPreservationPolicy{one, other}, all, c)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if either[i] != (keep[i] || more[i]) {
				t.Fatalf("step %d: %t and %t, any of them: %t", all[i].Step, keep[i], more[i], either[i])
			}
			if all[i].Step != before[i].Step {
				t.Fatal("the checkpoints were changed")
			}
		}
		if p, ok := one.(LatestN); ok && count(keep) != min(p.N, len(all)) {
			t.Fatalf("%v keeps %d", p, count(keep))
		}
		if p, ok := one.(BestN); ok && p.DropWithoutMetrics && len(all) > p.N && count(keep) > p.N {
			t.Fatalf("%v keeps %d", p, count(keep))
		}
	})
}

func count(flags []bool) (n int) {
	for _, f := range flags {
		if f {
			n++
		}
	}
	return n
}
