package interop

import (
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/training"
)

// TestTrainingRun has Python and Go continue each other's run.
func TestTrainingRun(t *testing.T) {
	needPython(t)
	for _, c := range []struct {
		name    string
		format  training.NameFormat
		options request
	}{
		{"plain", nil, request{}},
		{"prefix", training.StandardNameFormat{Prefix: "ck"}, request{"prefix": "ck"}},
		{"padded", training.StandardNameFormat{Length: 6}, request{"length": 6}},
		{"prefix,padded", training.StandardNameFormat{Prefix: "my_step", Length: 3}, request{"prefix": "my_step", "length": 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRun(t, "v1", c.format, c.options)
			r.custom = map[string]any{"experiment": "both", "seeds": []any{1, 2}}
			r.options["custom_metadata"] = r.custom
			takeTurns(r)
			if c.name == "plain" {
				moreTurns(r)
			}
		})
	}
}

// takeTurns has Python begin a run, Go continue it, and Python again.
func takeTurns(r *run) {
	t := r.t
	r.python(
		r.one(0, "python").save(0, nil),
		r.one(5, "python").save(5, request{"async": true}),
		request{"act": "load", "step": 0},
	)

	other := training.Options{CustomMetadata: map[string]any{"experiment": "another"}}
	r.golang(other, func(c *training.Checkpointer) {
		state, err := r.steps[0].items["state"].toGo()
		if err != nil {
			t.Fatal(err)
		}
		loaded := map[string]any{}
		step, err := c.Resume(t.Context(), &loaded)
		if err != nil || step != 5 {
			t.Fatalf("Go resumes step %d, %v", step, err)
		}
		mustEqual(t, "Go resumes", r.steps[5].items["state"].plain(), mustNode(t, loaded))
		if saved, err := c.Save(t.Context(), 5, state); saved || !errors.Is(err, orbax.ErrExist) {
			t.Errorf("Go saves Python's step: %t, %v", saved, err)
		}
		if saved, err := c.Save(t.Context(), 4, state); saved || !errors.Is(err, training.ErrOlderStep) {
			t.Errorf("Go saves an older step: %t, %v", saved, err)
		}

		r.one(6, "go")
		r.saveGo(c, 6)
		s := r.one(70, "go")
		state, err = s.items["state"].toGo()
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.SaveAsync(t.Context(), 70, state, s.options(r)...)
		if err != nil {
			t.Fatal(err)
		}
		if saved, err := resp.Result(t.Context()); err != nil || !saved {
			t.Fatalf("Go: saved %t, %v", saved, err)
		}
		items := map[string]*node{"state": r.tree(71, "go"), "ema": dict("w", float(0.5))}
		r.want(71, items, []any{0.25, "ü", nil}, nil)
		values := map[string]any{}
		for name, n := range items {
			if values[name], err = n.toGo(); err != nil {
				t.Fatal(err)
			}
		}
		if saved, err := c.SaveCheckpointables(t.Context(), 71, values, training.Force(), orbax.Metrics(r.steps[71].metrics)); err != nil || !saved {
			t.Fatalf("Go: saved %t, %v", saved, err)
		}
		if !shareFiles(t, c.Path(6), c.Path(70)) || !shareFiles(t, c.Path(70), c.Path(71)) {
			t.Error("Go has shared nothing")
		}
	})

	answer := r.python(
		request{"act": "load"},
		r.one(72, "python").save(72, nil),
		r.want(1000, map[string]*node{"state": r.tree(1000, "python"), "more": dict("x", integer(1))}, []any{1, "two"}, nil).save(1000, nil),
	)
	if latest := answer.Results[0].Step; latest == nil || *latest != 71 {
		t.Errorf("Python continues from %v, not 71", latest)
	}
}

// moreTurns lets each side overwrite, and remove, what the other has saved.
func moreTurns(r *run) {
	r.golang(training.Options{}, func(c *training.Checkpointer) {
		r.one(1001, "go")
		r.saveGo(c, 1001)
		r.one(72, "go, again") // which Python has saved
		r.saveGo(c, 72, orbax.Overwrite())
		delete(r.steps, 5)
		if err := c.Delete(r.t.Context(), 5); err != nil {
			r.t.Error(err)
		}
	})
	// Python removes steps that share bytes with others.
	delete(r.steps, 6)
	r.python(
		request{"act": "delete", "step": 6},
		r.one(70, "python, again").save(70, request{"overwrite": true}),
	)
	for _, step := range []int{0, 70, 71} {
		delete(r.steps, step)
	}
	r.golang(training.Options{Preservation: training.LatestN{N: 4}}, func(c *training.Checkpointer) {
		r.one(1002, "go")
		r.saveGo(c, 1002)
	})
	for _, step := range []int{72, 1000} {
		delete(r.steps, step)
	}
	r.options["latest_n"] = 3
	r.python(r.one(1003, "python").save(1003, nil))
	delete(r.options, "latest_n")
}

// TestTrainingRunV0 has Go continue a run of CheckpointManager, whose steps have
// one item that is called "default".
func TestTrainingRunV0(t *testing.T) {
	needPython(t)
	r := newRun(t, "v0", training.StandardNameFormat{Prefix: "s", Length: 4}, request{"prefix": "s", "length": 4})
	r.custom = map[string]any{"by": "v0"}
	r.options["custom_metadata"] = r.custom
	r.python(r.one(1, "v0").save(1, nil), r.one(2, "v0").save(2, nil))
	r.golang(training.Options{}, func(c *training.Checkpointer) {
		into := map[string]any{}
		if step, err := c.Resume(t.Context(), &into); err != nil || step != 2 {
			t.Fatalf("Go resumes step %d, %v", step, err)
		}
		mustEqual(t, "Go resumes", r.steps[2].items["default"].plain(), mustNode(t, into))
		r.one(3, "go")
		r.saveGo(c, 3)
		r.one(4, "go")
		r.saveGo(c, 4)
	})
	delete(r.steps, 3)
	answer := r.python(request{"act": "load"}, request{"act": "delete", "step": 3}, r.one(5, "v0").save(5, nil))
	if latest := answer.Results[0].Step; latest == nil || *latest != 4 {
		t.Errorf("Python continues from %v, not 4", latest)
	}
	r.golang(training.Options{Preservation: training.LatestN{N: 2}}, func(c *training.Checkpointer) {
		for _, step := range []int{1, 2, 4} {
			delete(r.steps, step)
		}
		r.one(6, "go")
		r.saveGo(c, 6)
	})
	r.api = "v1" // which lists and loads such a run too
	r.check()
}

// TestTrainingRootMetadata has Go begin a run.
func TestTrainingRootMetadata(t *testing.T) {
	needPython(t)
	for _, custom := range []any{nil, map[string]any{"a": 1, "b": []any{"ü", nil, 1.5}, "c": map[string]any{}}} {
		r := newRun(t, "v1", nil, request{"custom_metadata": map[string]any{"another": true}})
		if r.custom = custom; custom == nil {
			r.custom = r.options["custom_metadata"] // as there is none yet
			delete(r.options, "custom_metadata")
		}
		r.one(0, "go")
		c, err := training.New(t.Context(), r.root, training.Options{CustomMetadata: custom})
		if err != nil {
			t.Fatal(err)
		}
		r.saveGo(c, 0)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if custom == nil {
			r.options["custom_metadata"] = r.custom
		}
		r.python(r.one(1, "python").save(1, nil))
	}
}

// TestTrainingItemsV0 has Go continue a run of CheckpointManager with several items,
// of which one is a JSON document: it keeps the file name that v0 looks for.
func TestTrainingItemsV0(t *testing.T) {
	needPython(t)
	root := filepath.Join(t.TempDir(), "run")
	tree := dict("n", integer(1))
	ask := func(do ...request) *turn {
		t.Helper()
		var answer turn
		mustCall(t, "run_turn", request{"root": root, "api": "v0", "do": do}, &answer)
		return &answer
	}
	ask(request{"act": "save", "step": 1, "tree": tree, "json": map[string]any{"a": 1}, "metrics": map[string]any{"loss": 1}})
	c, err := training.New(t.Context(), root, training.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for step := 2; step < 4; step++ { // the second follows one of Go's
		saved, err := c.SaveCheckpointables(t.Context(), step, map[string]any{
			"params": map[string]any{"n": step}, "config": handler.JSON{Value: map[string]any{"a": step}},
		}, orbax.Metrics(map[string]any{"loss": step}))
		if err != nil || !saved {
			t.Fatal(saved, err)
		}
		if got, err := c.Load(t.Context(), step, orbax.Name("params")); err != nil || !reflect.DeepEqual(got, map[string]any{"n": step}) {
			t.Errorf("Go loads %v, %v", got, err)
		}
		items, err := c.LoadCheckpointables(t.Context(), step, map[string]any{"config": nil})
		if err != nil || !reflect.DeepEqual(items["config"], map[string]any{"a": step}) {
			t.Errorf("Go loads %v, %v", items, err)
		}
		if err := orbax.Verify(t.Context(), c.Path(step)); err != nil {
			t.Error(err)
		}
	}
	answer := ask(request{"act": "load", "step": 2, "name": "config"}, request{"act": "load", "step": 3, "name": "config"})
	for i, r := range answer.Results {
		if d := diff(dict("a", integer(int64(i+2))), r.Tree); d != "" {
			t.Errorf("Python loads of step %d:\n%s", i+2, d)
		}
	}
}

// TestTrainingNaN has both sides write metrics that are no numbers, or infinite, and
// read the other's. Such a step is the worst, and nothing hinders the removal of others.
func TestTrainingNaN(t *testing.T) {
	needPython(t)
	r := newRun(t, "v1", nil, nil)
	for step, loss := range []float64{0.5, 0, 0.25} {
		s := r.want(step, map[string]*node{"state": dict("n", integer(int64(step)))}, map[string]any{"loss": loss}, nil)
		a := s.save(step, nil)
		if step == 1 {
			a["nan"] = "loss"
		}
		r.ask(a)
	}
	c, err := training.New(t.Context(), r.root, training.Options{
		Preservation: training.BestN{N: 4, Reverse: true, Metric: training.MetricAt("loss")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if m, ok := c.Checkpoints()[1].Metrics.(map[string]any); !ok || !math.IsNaN(m["loss"].(float64)) {
		t.Errorf("Python's metrics are %v", m)
	}
	for step, loss := range []float64{3: math.Inf(1), 4: math.NaN(), 5: math.Inf(-1)} {
		if step < 3 {
			continue
		}
		metrics := orbax.Metrics(map[string]any{"loss": loss, "all": []any{loss}})
		if saved, err := c.Save(t.Context(), step, map[string]any{"n": step}, metrics, training.Force()); err != nil || !saved {
			t.Errorf("%t, %v", saved, err)
		}
	}
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	got := map[int]any{}
	for _, s := range r.ask().Steps {
		got[s.Step] = s.Metrics
	}
	want := map[int]any{ // without those that are NaN
		0: map[string]any{"loss": 0.5}, 2: map[string]any{"loss": 0.25},
		3: map[string]any{"loss": "inf", "all": []any{"inf"}}, 5: map[string]any{"loss": "-inf", "all": []any{"-inf"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Python's listing is %v, want %v", got, want)
	}
}
