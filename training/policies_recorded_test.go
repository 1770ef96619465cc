package training

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// policyRecord is testdata/policies.json: what Orbax's policies and name formats
// decide. policies.py beside it says what the fields are.
type policyRecord struct {
	Sequences []struct {
		Steps   []int
		Times   []int64
		Metrics []*float64
		Now     int64
	}
	Preservation []struct {
		Policy policySpec
		Keeps  []string
	}
	Runs []struct {
		Steps             []int
		Times             []int64
		Saving, Preempted string
	}
	Saves []struct {
		Policy policySpec
		Saves  []string
	}
	Entries []string
	Names   []struct {
		Prefix string
		Length int
		Names  map[int]string
		Found  map[string]int
	}
}

// policySpec is a policy of the record: one name, and its parameters or parts.
type policySpec map[string]json.RawMessage

// policyArgs has the parameters of all policies. Orbax's None is 0.
type policyArgs struct {
	Interval     int     `json:"interval"`
	IntervalN    int     `json:"interval_steps"`
	IntervalSecs float64 `json:"interval_secs"`
	MinimumSecs  float64 `json:"minimum_interval_secs"`
	Duration     float64 `json:"duration"`
	N            int     `json:"n"`
	MaxToKeep    int     `json:"max_to_keep"`
	Exact        bool    `json:"exact_interval"`
	Reverse      bool    `json:"reverse"`
	KeepWithout  bool    `json:"keep_checkpoints_without_metrics"`
	Steps        []int   `json:"steps"`
}

func seconds(s float64) time.Duration {
	return (time.Duration(s*1e9 + 0.5)).Round(time.Microsecond)
}

func loadPolicyRecord(t *testing.T) policyRecord {
	t.Helper()
	data, err := os.ReadFile("testdata/policies.json")
	if err != nil {
		t.Fatal(err)
	}
	var r policyRecord
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// builder makes our policies of the record's, and notes which types it met.
type builder struct {
	t    *testing.T
	seen map[string]bool
}

func (b builder) args(s policySpec) (name string, args policyArgs, parts []policySpec) {
	b.t.Helper()
	for name, raw := range s {
		b.seen[name] = true
		into := any(&args)
		if strings.HasPrefix(name, "Any") {
			into = &parts
		}
		if err := json.Unmarshal(raw, into); err != nil {
			b.t.Fatal(name, err)
		}
		return name, args, parts
	}
	b.t.Fatal("a policy without a name")
	return
}

func (b builder) save(s policySpec) SaveDecisionPolicy {
	name, a, parts := b.args(s)
	switch name {
	case "FixedIntervalPolicy":
		return FixedIntervalPolicy{Interval: a.Interval}
	case "SpecificStepsPolicy":
		return SpecificStepsPolicy{Steps: a.Steps}
	case "ContinuousCheckpointingPolicy":
		return ContinuousCheckpointingPolicy{MinimumInterval: seconds(a.MinimumSecs)}
	case "PreemptionCheckpointingPolicy":
		return PreemptionCheckpointingPolicy{}
	case "InitialSavePolicy":
		return InitialSavePolicy{}
	case "AnySavePolicy":
		p := AnySavePolicy{}
		for _, part := range parts {
			p = append(p, b.save(part))
		}
		return p
	}
	b.t.Fatalf("the record has an unknown policy %s", name)
	return nil
}

func (b builder) preservation(s policySpec) PreservationPolicy {
	name, a, parts := b.args(s)
	switch name {
	case "PreserveAll":
		return PreserveAll{}
	case "LatestN":
		return LatestN{N: a.N}
	case "EveryNSeconds":
		return EveryNSeconds{Interval: seconds(a.IntervalSecs)}
	case "EveryNSteps":
		return EveryNSteps{Interval: a.IntervalN, Inexact: !a.Exact, MaxToKeep: a.MaxToKeep}
	case "EveryNStepsClosest":
		return EveryNStepsClosest{Interval: a.IntervalN, MaxToKeep: a.MaxToKeep}
	case "CustomSteps":
		return CustomSteps{Steps: a.Steps}
	case "BestN":
		return BestN{N: a.N, Metric: metricM, Reverse: a.Reverse, DropWithoutMetrics: !a.KeepWithout}
	case "LatestDuration":
		return LatestDuration{Duration: seconds(a.Duration)}
	case "AnyPreservationPolicy":
		var p AnyPreservationPolicy
		for _, part := range parts {
			p = append(p, b.preservation(part))
		}
		return p
	}
	b.t.Fatalf("the record has an unknown policy %s", name)
	return nil
}

func metricM(metrics any) (float64, error) {
	m, ok := metrics.(map[string]any)["m"].(float64)
	if !ok {
		return 0, fmt.Errorf("%v has no number m", metrics)
	}
	return m, nil
}

func recordedTime(us int64) time.Time {
	return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(us) * time.Microsecond)
}

func bits(flags []bool) string {
	text := slices.Repeat([]byte{'0'}, len(flags))
	for i, f := range flags {
		if f {
			text[i] = '1'
		}
	}
	return string(text)
}

func TestPreservationAsOrbax(t *testing.T) {
	record := loadPolicyRecord(t)
	b := builder{t, map[string]bool{}}
	for _, r := range record.Preservation {
		policy := b.preservation(r.Policy)
		if err := validate(policy); err != nil {
			t.Error(err)
		}
		for i, s := range record.Sequences {
			var checkpoints []Step
			for j, step := range s.Steps {
				ck := Step{Step: step, Time: recordedTime(s.Times[j])}
				if m := s.Metrics[j]; m != nil {
					ck.Metrics = map[string]any{"m": *m}
				}
				checkpoints = append(checkpoints, ck)
			}
			if len(s.Times) > 0 && slices.Max(s.Times) > s.Now && usesTime(policy) {
				continue // Orbax counts on a time in the future; see TestClockThatWasAhead
			}
			keep, err := policy.ShouldPreserve(checkpoints, PreservationContext{Now: recordedTime(s.Now)})
			if got := bits(keep); err != nil || got != r.Keeps[i] {
				t.Errorf("%#v, sequence %d:\n%s, %v\n%s is Orbax's decision", policy, i, got, err, r.Keeps[i])
			}
		}
	}
	checkAllRecorded(t, "ShouldPreserve", b.seen)
}

func TestSaveDecisionsAsOrbax(t *testing.T) {
	record := loadPolicyRecord(t)
	b := builder{t, map[string]bool{}}
	for _, r := range record.Saves {
		policy := b.save(r.Policy)
		if err := validate(policy); err != nil {
			t.Error(err)
		}
		for i, run := range record.Runs {
			var previous []Step
			var decisions []bool
			for j, step := range run.Steps {
				ck := Step{Step: step, Time: recordedTime(run.Times[j])}
				c := DecisionContext{SavingInProgress: run.Saving[j] == '1', Preempted: run.Preempted[j] == '1'}
				save, err := policy.ShouldSave(ck, previous, c)
				if err != nil {
					t.Fatal(err)
				}
				if save {
					previous = append(previous, ck)
				}
				decisions = append(decisions, save)
			}
			if !slices.IsSorted(run.Times) && usesTime(policy) {
				continue // as above
			}
			if got := bits(decisions); got != r.Saves[i] {
				t.Errorf("%#v, run %d:\n%s\n%s is Orbax's decision", policy, i, got, r.Saves[i])
			}
		}
	}
	checkAllRecorded(t, "ShouldSave", b.seen)
}

// usesTime reports whether a policy depends on when checkpoints were saved.
func usesTime(policy any) bool {
	text := fmt.Sprintf("%T %#v", policy, policy)
	return strings.Contains(text, "EveryNSeconds") || strings.Contains(text, "LatestDuration") || strings.Contains(text, "MinimumInterval")
}

// checkAllRecorded fails unless every type of the package that has the method
// was among those of the record.
func checkAllRecorded(t *testing.T, method string, seen map[string]bool) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != method {
				continue
			}
			if id, ok := f.Recv.List[0].Type.(*ast.Ident); ok && id.IsExported() {
				types[id.Name] = true
			}
		}
	}
	if !maps.Equal(types, seen) {
		t.Errorf("policies with %s: %v\nthe record has %v", method,
			slices.Sorted(maps.Keys(types)), slices.Sorted(maps.Keys(seen)))
	}
}

func TestNamesAsOrbax(t *testing.T) {
	record := loadPolicyRecord(t)
	if len(record.Names) == 0 {
		t.Fatal("no names are recorded")
	}
	for _, r := range record.Names {
		f := StandardNameFormat{Prefix: r.Prefix, Length: r.Length}
		if err := validate(f); err != nil {
			t.Error(err)
		}
		for step, want := range r.Names {
			if got := f.Name(step); got != want {
				t.Errorf("%+v: step %d is %q, and %q is Orbax's", f, step, got, want)
			}
		}
		found := map[string]int{}
		for _, name := range record.Entries {
			if step, ok := f.Step(name); ok {
				found[name] = step
			}
		}
		if !maps.Equal(found, r.Found) {
			t.Errorf("%+v finds\n%v\n%v is what Orbax finds", f, found, r.Found)
		}
	}
}
