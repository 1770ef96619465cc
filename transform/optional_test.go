package transform_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	. "github.com/go-orbax/orbax/transform"
)

// Rules that are optional make the same of a tree before and after it has changed.
func TestOptional(t *testing.T) {
	id := func(x Expr) Expr { return x }
	for name, c := range map[string]struct {
		in, want dict
		rules    []Rule
	}{
		"Rename":           {dict{"lr": 1, "w": 2}, dict{"rate": 1, "w": 2}, []Rule{Rename(map[string]string{"lr": "rate"})}},
		"of several names": {dict{"lr": 1, "mu": 2}, dict{"rate": 1, "nu": 2}, []Rule{Rename(map[string]string{"lr": "rate", "mu": "nu", "gone": "x"})}},
		"one of several":   {dict{"rate": 1, "mu": 2}, dict{"rate": 1, "nu": 2}, []Rule{Rename(map[string]string{"lr": "rate", "mu": "nu"})}},
		"of a dict":        {dict{"p": dict{"a": 1}}, dict{"q": dict{"a": 1}}, []Rule{Rename(map[string]string{"p": "q"})}},
		"a chain":          {dict{"a": 1}, dict{"c": 1}, []Rule{Rename(map[string]string{"a": "b"}), Rename(map[string]string{"b": "c"})}},
		"RenameRegexp":     {dict{"l_1": 1, "l_2": 2}, dict{"m1": 1, "m2": 2}, []Rule{RenameRegexp(`l_(\d)`, "m$1")}},
		"Drop":             {dict{"a": 1, "b": 2}, dict{"b": 2}, []Rule{Drop("never", "a")}},
		"Each":             {dict{"a": 1, "b": 2}, dict{"a": 1, "b": 2}, []Rule{Each("never", id)}},
		"joined":           {dict{"q": floats(1), "k": floats(2), "z": 1}, dict{"qk": floats(1, 2), "z": 1}, []Rule{Set("qk", Concat(0, Leaf("q"), Leaf("k"))), Drop("q", "k")}},
		"Unstack":          {dict{"l": floats(1, 2)}, dict{"l_0": array.Scalar[float32](1), "l_1": array.Scalar[float32](2)}, []Rule{Unstack("l", 0, "l_%d")}},
		"Split":            {dict{"qk": floats(1, 2)}, dict{"q": floats(1), "k": floats(2)}, []Rule{Split("qk", 0, nil, "q", "k")}},
		"StackRegexp":      {dict{"l_0": floats(1), "l_1": floats(2)}, dict{"l": array.Of([]float32{1, 2}, 2, 1)}, []Rule{StackRegexp(`l_(\d)`, 0, "l")}},
		"inside":           {dict{"a": 1}, dict{"b": 1}, []Rule{Optional(Rename(map[string]string{"x": "y"}), Rename(map[string]string{"a": "b"}))}},
	} {
		got, err := apply(t, c.in, Optional(c.rules...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := apply(t, c.want)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if again, err := apply(t, c.want, Optional(c.rules...)); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%s, again: %v, %v", name, again, err)
		}
	}
}

// What is no matter of missing leaves is reported, and names the rule.
func TestOptionalErrors(t *testing.T) {
	in := dict{"a": floats(1), "b": floats(2), "t": "text"}
	for text, rule := range map[string]Rule{
		"missing closing": RenameRegexp("(", "x"),
		`rule 1 (Optional Rename "a" to "b"): key collision`: Rename(map[string]string{"a": "b"}),
		`rule 1 (Optional Set "x")`:                          Set("x", Leaf("t").Cast(array.Float64)),
		"the zero Rule":                                      {},
	} {
		_, err := apply(t, in, Optional(rule))
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
	// The rule that may not stay says how it may.
	_, err := apply(t, dict{"rate": 1}, Rename(map[string]string{"lr": "rate"}))
	if !errors.Is(err, fault.ErrStructure) || !strings.Contains(err.Error(), `there is no leaf "lr"; "rate" is there already: Optional makes`) {
		t.Error(err)
	}
	// A rule after one that was passed over is applied to what is there.
	got, err := apply(t, in, Optional(Set("x", Concat(0, Leaf("a"), Leaf("c"))), Drop("t")), Drop("b"))
	if want, _ := apply(t, dict{"a": floats(1)}); err != nil || !reflect.DeepEqual(got, want) {
		t.Error(got, err)
	}
}
