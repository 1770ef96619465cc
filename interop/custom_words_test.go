package interop

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/training"
)

// Custom metadata with the numbers that JSON has no spelling of: as a Go value, as the
// document that Python's json module reads, and as Python's answers spell them.
var (
	words       = map[string]any{"n": math.NaN(), "i": math.Inf(1), "l": []any{math.Inf(-1), map[string]any{"x": math.NaN()}}, "s": "NaN", "f": 0.5}
	wordsJSON   = `{"n": NaN, "i": Infinity, "l": [-Infinity, {"x": NaN}], "s": "NaN", "f": 0.5}`
	wordsAnswer = map[string]any{"n": "nan", "i": "inf", "l": []any{"-inf", map[string]any{"x": "nan"}}, "s": "NaN", "f": 0.5}
)

// wantWords checks the custom metadata of a checkpoint in both languages.
func wantWords(t *testing.T, path string) {
	t.Helper()
	m, err := orbax.Metadata(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%#v", m.Custom) != fmt.Sprintf("%#v", words) { // NaN is not equal to itself
		t.Errorf("Go has %#v", m.Custom)
	}
	var in pyMetadata
	mustCall(t, "metadata", request{"path": path}, &in)
	if !reflect.DeepEqual(in.Custom, any(wordsAnswer)) {
		t.Errorf("Python has %#v", in.Custom)
	}
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
}

// TestCustomMetadataWords has each side store NaN and the infinities in custom metadata,
// by every function that takes them, and both read them.
func TestCustomMetadataWords(t *testing.T) {
	needPython(t)
	tree := dict("a", integer(1))
	ctx := t.Context()
	custom := orbax.CustomMetadata(words)
	goPart := func(path, key string) error { return partial.Save(ctx, path, map[string]any{key: 1}, custom) }
	pyPart := func(path, key string) error {
		return call(ctx, "partial_save", request{"path": path, "tree": dict(key, integer(1)), "custom_json": wordsJSON}, nil)
	}
	merged := func(path string, first, second func(path, key string) error, finalize func(path string) error) error {
		err := first(path, "a")
		if err == nil {
			err = second(path, "b")
		}
		if err == nil {
			err = finalize(path)
		}
		return err
	}
	pyFinalize := func(path string) error { return call(ctx, "partial_finalize", request{"path": path}, nil) }
	goFinalize := func(path string) error { return partial.Finalize(ctx, path) }
	for name, save := range map[string]func(path string) error{
		"Go saves": func(path string) error { return orbax.Save(ctx, path, map[string]any{"a": 1}, custom) },
		"Python saves": func(path string) error {
			return call(ctx, "save", request{"path": path, "tree": tree, "custom_json": wordsJSON}, nil)
		},
		"Go saves parts, Python finalizes":  func(path string) error { return merged(path, goPart, goPart, pyFinalize) },
		"both save parts, Go finalizes":     func(path string) error { return merged(path, goPart, pyPart, goFinalize) },
		"Python saves parts, Go finalizes":  func(path string) error { return merged(path, pyPart, pyPart, goFinalize) },
		"both save parts, Python finalizes": func(path string) error { return merged(path, pyPart, goPart, pyFinalize) },
		"Go stores what Python has": func(path string) error {
			if err := call(ctx, "save", request{"path": path + "-py", "tree": tree, "custom_json": wordsJSON}, nil); err != nil {
				return err
			}
			m, err := orbax.Metadata(ctx, path+"-py")
			if err != nil {
				return err
			}
			return orbax.Save(ctx, path, map[string]any{"a": 1}, orbax.CustomMetadata(m.Custom))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ck")
			if err := save(path); err != nil {
				t.Fatal(err)
			}
			wantWords(t, path)
		})
	}
}

// TestTrainingCustomMetadataWords has both sides begin a run whose metadata, and those of
// its steps, have such numbers, and continue the other's.
func TestTrainingCustomMetadataWords(t *testing.T) {
	needPython(t)
	for _, api := range []string{"v1", "v0"} {
		for _, first := range []string{"go", "py"} {
			t.Run(api+", begun by "+first, func(t *testing.T) {
				root := filepath.Join(t.TempDir(), "run")
				inGo := func(step int) {
					c, err := training.New(t.Context(), root, training.Options{CustomMetadata: words})
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					parts := map[string]any{map[string]string{"v1": "state", "v0": "default"}[api]: map[string]any{"n": step}}
					saved, err := c.SaveCheckpointables(t.Context(), step, parts, orbax.CustomMetadata(words), orbax.Metrics(map[string]any{"loss": 1}))
					if err != nil || !saved {
						t.Fatal(saved, err)
					}
					m, err := c.RootMetadata(t.Context())
					if err != nil || fmt.Sprintf("%#v", m.Custom) != fmt.Sprintf("%#v", words) {
						t.Errorf("Go has %v of the run, %v", m, err)
					}
				}
				inPython := func(step int) *turn {
					var answer turn
					mustCall(t, "run_turn", request{"root": root, "api": api, "options": request{"custom_json": wordsJSON}, "do": []request{{
						"act": "save", "step": step, "tree": dict("n", integer(int64(step))), "custom_json": wordsJSON, "metrics": request{"loss": 1},
					}}}, &answer)
					return &answer
				}
				var answer *turn
				if first == "go" {
					inGo(1)
					answer = inPython(2)
				} else {
					inPython(1)
					inGo(2)
					answer = inPython(3)
				}
				if !reflect.DeepEqual(answer.Root, any(wordsAnswer)) {
					t.Errorf("Python has %v of the run", answer.Root)
				}
				for _, s := range answer.Steps {
					if !reflect.DeepEqual(s.Custom_Metadata, any(wordsAnswer)) {
						t.Errorf("Python has %v of step %d", s.Custom_Metadata, s.Step)
					}
					m, err := orbax.Metadata(t.Context(), filepath.Join(root, fmt.Sprint(s.Step)))
					if err != nil || fmt.Sprintf("%#v", m.Custom) != fmt.Sprintf("%#v", words) {
						t.Errorf("Go has %v of step %d, %v", m, s.Step, err)
					}
				}
			})
		}
	}
}
