package interop

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/training"
)

// run is a training run that both sides save to, in turns, and what its root must
// hold.
type run struct {
	t       *testing.T
	root    string
	api     string  // of Python: v1, or v0, whose item is "default"
	options request // of Python's checkpointer
	format  training.NameFormat
	custom  any // of the root
	steps   map[int]*runStep
}

// runStep is what was saved as one step.
type runStep struct {
	items   map[string]*node
	metrics any
	custom  any
}

// turn is the answer to what testdata/runs.py did.
type turn struct {
	Results []struct {
		Saved   bool
		Step    *int
		Tree    *node
		Digests map[string]string
	}
	Steps []struct {
		Step            int
		Metrics         any
		Custom_Metadata any
		Timed           bool
	}
	Latest *int
	Root   any
}

func newRun(t *testing.T, api string, format training.NameFormat, options request) *run {
	return &run{
		t: t, root: filepath.Join(t.TempDir(), "run"), api: api,
		options: options, format: format, steps: map[int]*runStep{},
	}
}

// item is the name of the tree of a step.
func (r *run) item() string {
	if r.api == "v0" {
		return "default"
	}
	return "state"
}

// want notes that a step is saved, and returns it.
func (r *run) want(step int, items map[string]*node, metrics, custom any) *runStep {
	s := &runStep{items, metrics, custom}
	r.steps[step] = s
	return s
}

// one is the step's tree, with metrics and custom metadata, as a step is saved
// mostly.
func (r *run) one(step int, by string) *runStep {
	return r.want(step, map[string]*node{r.item(): r.tree(step, by)},
		map[string]any{"loss": 1 / float64(step+1), "by": by, "counts": []any{step, nil, true}},
		map[string]any{"note": by, "nested": map[string]any{"step": step}})
}

// tree is a state of all kinds of leaves, with one array that is the same in every
// step and large enough to be shared.
func (r *run) tree(step int, by string) *node {
	frozen := make([]float32, 1<<18)
	for i := range frozen {
		frozen[i] = float32(i) / 3
	}
	w := make([]float64, 12)
	for i := range w {
		w[i] = float64(step) + 1/float64(i+1)
	}
	n := dict(
		"frozen", arrayNode("jax", array.Of(frozen, 512, 512)),
		"params", dict("w", arrayNode("jax", array.Of(w, 3, 4)), "count", arrayNode("np", array.Of([]int64{int64(step)}))),
		"opt", seq("list", integer(int64(step)), float(0.1*float64(step))),
	)
	if r.api == "v1" { // StandardSave takes no strings
		n.Keys, n.Kids = append(n.Keys, "by"), append(n.Kids, text(by))
	}
	return n
}

// save is the action that saves a step in Python.
func (s *runStep) save(step int, more request) request {
	a := request{"act": "save", "step": step, "metrics": s.metrics, "custom_metadata": s.custom, "force": true}
	for name, tree := range s.items {
		if name == "state" || name == "default" {
			a["tree"] = tree
		}
	}
	if len(s.items) > 1 {
		a["items"] = s.items
	}
	maps.Copy(a, more)
	return a
}

// python takes a turn of Python, and then checks the root.
func (r *run) python(do ...request) *turn {
	r.t.Helper()
	answer := r.ask(do...)
	for i, a := range do {
		if a["act"] == "save" && !answer.Results[i].Saved {
			r.t.Errorf("Python has not saved step %v", a["step"])
		}
	}
	r.check()
	return answer
}

func (r *run) ask(do ...request) *turn {
	r.t.Helper()
	var answer turn
	mustCall(r.t, "run_turn", request{"root": r.root, "api": r.api, "options": r.options, "do": do}, &answer)
	return &answer
}

// golang takes a turn of Go, and then checks the root.
func (r *run) golang(o training.Options, f func(c *training.Checkpointer)) {
	r.t.Helper()
	o.StepNameFormat = r.format
	c, err := training.New(r.t.Context(), r.root, o)
	if err != nil {
		r.t.Fatal(err)
	}
	f(c)
	if err := c.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.check()
}

// saveGo saves a step in Go.
func (r *run) saveGo(c *training.Checkpointer, step int, more ...orbax.SaveOption) {
	r.t.Helper()
	s := r.steps[step]
	state, err := s.items[r.item()].toGo()
	if err != nil {
		r.t.Fatal(err)
	}
	saved, err := c.Save(r.t.Context(), step, state, append(more, s.options(r)...)...)
	if err != nil || !saved {
		r.t.Fatalf("Go: saved %t, %v", saved, err)
	}
}

func (s *runStep) options(r *run) []orbax.SaveOption {
	o := []orbax.SaveOption{training.Force()} // the name is the run's
	if s.metrics != nil {
		o = append(o, orbax.Metrics(s.metrics))
	}
	if s.custom != nil {
		o = append(o, orbax.CustomMetadata(s.custom))
	}
	return o
}

// check demands that both sides list exactly the steps, and load them.
func (r *run) check() {
	r.t.Helper()
	order := slices.Sorted(maps.Keys(r.steps))
	r.checkPython(order)
	c, err := training.New(r.t.Context(), r.root, training.Options{StepNameFormat: r.format})
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	r.checkGo(c, order)
}

func (r *run) checkPython(order []int) {
	r.t.Helper()
	var loads []request
	for _, step := range order {
		for _, name := range slices.Sorted(maps.Keys(r.steps[step].items)) {
			loads = append(loads, request{"act": "load", "step": step, "name": name})
		}
	}
	answer := r.ask(loads...)
	var listed []int
	for _, l := range answer.Steps {
		listed = append(listed, l.Step)
		if s := r.steps[l.Step]; s != nil {
			r.same("Python: metrics", l.Step, s.metrics, l.Metrics)
			r.same("Python: custom metadata", l.Step, s.custom, l.Custom_Metadata)
		}
		if !l.Timed {
			r.t.Errorf("Python: step %d has no times", l.Step)
		}
	}
	if !slices.Equal(listed, order) {
		r.t.Fatalf("Python lists %v, want %v", listed, order)
	}
	if len(order) > 0 && (answer.Latest == nil || *answer.Latest != order[len(order)-1]) {
		r.t.Errorf("Python: the latest of %v is %v", order, answer.Latest)
	}
	r.same("Python: metadata of the root", training.LatestStep, r.custom, answer.Root)
	for i, l := range loads {
		step := l["step"].(int)
		want := r.steps[step].items[l["name"].(string)]
		if d := diff(want.plain().inPython(), answer.Results[i].Tree); d != "" {
			r.t.Errorf("Python: step %d, %v:\n%s", step, l["name"], d)
		}
	}
}

func (r *run) checkGo(c *training.Checkpointer, order []int) {
	r.t.Helper()
	ctx := r.t.Context()
	var listed []int
	for _, ck := range c.Checkpoints() {
		listed = append(listed, ck.Step)
		if ck.Err != nil || ck.Time.IsZero() {
			r.t.Errorf("Go: %+v", ck)
		}
		if s := r.steps[ck.Step]; s != nil {
			r.same("Go: metrics", ck.Step, s.metrics, ck.Metrics)
		}
	}
	if !slices.Equal(listed, order) {
		r.t.Fatalf("Go lists %v, want %v; ignored %v", listed, order, c.Ignored())
	}
	if latest, ok := c.Latest(); len(order) > 0 && (!ok || latest.Step != order[len(order)-1]) {
		r.t.Errorf("Go: the latest of %v is %+v", order, latest)
	}
	root, err := c.RootMetadata(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	r.same("Go: metadata of the root", training.LatestStep, r.custom, root.Custom)
	for _, step := range order {
		if err := orbax.Verify(ctx, c.Path(step)); err != nil {
			r.t.Errorf("Go: %v", err)
		}
		meta, err := c.CheckpointablesMetadata(ctx, step)
		if err != nil {
			r.t.Errorf("Go: %v", err)
			continue
		}
		r.same("Go: metrics", step, r.steps[step].metrics, meta.Metrics)
		r.same("Go: custom metadata", step, r.steps[step].custom, meta.Custom)
		for name, want := range r.steps[step].items {
			got, err := c.Load(ctx, step, orbax.Name(name))
			if err != nil {
				r.t.Errorf("Go: %v", err)
			} else if d := diff(want.plain(), mustNode(r.t, got)); d != "" {
				r.t.Errorf("Go: step %d, %s:\n%s", step, name, d)
			}
		}
	}
}

// same compares two JSON values, of which none may be {}, as Orbax has it.
func (r *run) same(what string, step int, want, got any) {
	r.t.Helper()
	if w, g := normalJSON(r.t, want), normalJSON(r.t, got); !reflect.DeepEqual(w, g) {
		r.t.Errorf("%s of step %d: %v, want %v", what, step, g, w)
	}
}

func normalJSON(t *testing.T, v any) any {
	t.Helper()
	doc, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var normal any
	if err := json.Unmarshal(doc, &normal); err != nil {
		t.Fatal(err)
	}
	if m, ok := normal.(map[string]any); ok && len(m) == 0 {
		return nil
	}
	return normal
}
