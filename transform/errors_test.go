package transform_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	. "github.com/go-orbax/orbax/transform"
	"github.com/go-orbax/orbax/view"
)

func TestErrors(t *testing.T) {
	in := dict{
		"w": iota32(0, 2, 3), "v": floats(1, 2), "text": "x", "n": 3, "key": keys(t), "none": nil, "bytes": []byte{1, 2},
		"d": dict{"x": floats(1), "y": floats(1, 2)}, "s": []any{1, 2}, "l_0": floats(1), "l_2": floats(2), "m_0": 1, "m_00": 2,
	}
	id := func(x Expr) Expr { return x }
	for _, c := range []struct {
		is   error
		text string
		rule Rule
	}{
		{fault.ErrStructure, `leaf nope: rule 1 (Rename "nope" to "x"): structure mismatch: there is no leaf "nope"`, Rename(map[string]string{"nope": "x"})},
		{fault.ErrStructure, `leaf d: rule 1 (Rename): structure mismatch: longer names of the same rule fit all leaves below "d"`, Rename(map[string]string{"d": "a", "d.x": "b", "d.y": "c"})},
		{fault.ErrStructure, `there is no leaf "b.x"`, Rename(map[string]string{"d": "b", "b.x": "c"})},
		{fault.ErrStructure, `rule 1 (RenameRegexp "nope"): structure mismatch: no leaf matches "nope"`, RenameRegexp("nope", "x")},
		{fault.ErrStructure, "missing closing", RenameRegexp("(", "x")},
		{fault.ErrStructure, `the group "1_x"`, RenameRegexp(`l_(\d)`, "m_$1_x")},
		{fault.ErrStructure, `the group "2"`, RenameRegexp(`l_(\d)`, "m_$2")},
		{fault.ErrStructure, `empty key`, Rename(map[string]string{"w": "a..b"})},
		{fault.ErrStructure, `empty key`, Rename(map[string]string{"w": "a.[0]"})},
		{fault.ErrKeyCollision, `leaf v: rule 1 (Rename "w" to "v"): key collision: both v and w would have this name`, Rename(map[string]string{"w": "v"})},
		{fault.ErrKeyCollision, `both v and w would have this name; to have only the second, put Drop("v") before, and leave "v" out of this rule`, Rename(map[string]string{"w": "z", "v": "z"})},
		{fault.ErrKeyCollision, `both d.x and l_0 would have this name; to have only the second, put Drop("d.x") before`, RenameRegexp(`l_0|d\.x`, "z")},
		{fault.ErrKeyCollision, `both m_0 and m_00 would have this name; to have only the second, put Drop("m_0") before`, RenameRegexp(`m_.*`, "z")},
		{fault.ErrKeyCollision, `both w | slice 0 0:1:1 and w | slice 0 1:2:1 would have this name` + "\n", Split("w", 0, nil, "z", "z")},
		{fault.ErrKeyCollision, "both d.x and v", Set("d.x", Leaf("v"))},
		{fault.ErrKeyCollision, `would have this name; to have only the second, put Drop("d.x") before`, Set("d.x", Leaf("v"))},
		{fault.ErrStructure, `leaf v: rule 1 (Rename "w" to "v.w"): structure mismatch: it would be a leaf, as it is stored, and also the dict that "v.w" is in`, Rename(map[string]string{"w": "v.w"})},
		{fault.ErrStructure, `leaf w: rule 1 (Set "w.a.b"): structure mismatch: it would be a leaf, as it is stored, and also the dict that "w.a.b" is in`, Set("w.a.b", Leaf("v"))},
		{fault.ErrStructure, `leaf w: rule 1 (Default "w[0]"): structure mismatch: it would be a leaf, as it is stored, and also the sequence that "w.0" is in`, Default("w[0]", 1)},
		{fault.ErrStructure, `leaf d: rule 1 (Set "d"): structure mismatch: it would be a leaf, made from v | cast float64, and also the dict that "d.y" is in`, Set("d", Leaf("v").Cast(array.Float64))},
		{fault.ErrStructure, "none at position 0", Rename(map[string]string{"w": "z[1]"})},
		{fault.ErrStructure, "would be a key in a sequence", Set("d[0]", Value(1))},
		{fault.ErrStructure, `leaf s: rule 1 (Set "s.x"): structure mismatch: "s.x" would be a key in a sequence`, Set("s.x", Value(1))},
		{fault.ErrStructure, `"d" is no leaf; there are leaves below it`, Set("z", Leaf("d"))},
		{fault.ErrStructure, `the zero Expr`, Set("z", Expr{})},
		{fault.ErrStructure, `the zero Rule`, Rule{}},
		{fault.ErrStructure, `no tree of a checkpointable "other"`, Set("z", Leaf("w").Of("other"))},
		{fault.ErrStructure, `no tree of a checkpointable "other"`, Include("other", "z")},
		{fault.ErrStructure, "no leaf matches", Each("nope", id)},
		{fault.ErrStructure, "nil", Each("w", nil)},
		{fault.ErrStructure, "pattern", Each("[", id)},
		{fault.ErrStructure, "nil", EachFunc(nil, id)},
		{fault.ErrStructure, `matches "nope"`, Drop("w", "nope")},
		{fault.ErrStructure, "pattern", Drop("[")},
		{fault.ErrStructure, "leave no leaf", Drop("**")},
		{fault.ErrStructure, "leave no leaf", DropRest()},
		{fault.ErrDType, "there are no elements of the dtype invalid", Set("w", Leaf("w").Cast(array.Invalid))},
		{fault.ErrDType, "threefry", Set("key", Leaf("key").Cast(array.Float32))},
		{fault.ErrDType, "threefry", Set("key", Leaf("key").Transpose())},
		{fault.ErrDType, "one key", Split("key", -1, nil, "a", "b")},
		{fault.ErrLeafType, "a string", Set("text", Leaf("text").Cast(array.Float32))},
		{fault.ErrLeafType, "None", Set("none", Leaf("none").Transpose())},
		{fault.ErrLeafType, "not an array", Unstack("text", 0, "t_%d")},
		{fault.ErrLeafType, "not one leaf", Set("z", Value(dict{"a": 1, "b": 2}))},
		{fault.ErrLeafType, "chan", Default("z", make(chan int))},
		{fault.ErrShape, `leaf w: rule 1 (Set "w"): shape mismatch: there is no axis 5; the axes of [2 3] are 0 to 1`, Set("w", Leaf("w").Index(5, 0))},
		{fault.ErrShape, "there is no axis -3; the axes of [2 3] are 0 to 1", Set("w", Leaf("w").Index(-3, 0))},
		{fault.ErrShape, "there is no axis 1; the only axis of [2] is 0", Set("v", Leaf("v").Index(1, 0))},
		{fault.ErrShape, "index 2 is outside of axis 0, which has 2 elements", Set("w", Leaf("w").Index(0, 2))},
		{fault.ErrShape, "index -1 is outside of axis 0, which has 1 element" + "\n", Set("d.x", Leaf("d.x").Index(0, -1))},
		{fault.ErrShape, "slice 1:3:1 of axis 0 cannot be taken: it ends at 3, and the axis has 2 elements", Set("w", Leaf("w").Slice(0, 1, 3, 1))},
		{fault.ErrShape, "slice 0:2:0 of axis 0 cannot be taken: its step is 0, and must be 1 or more", Set("w", Leaf("w").Slice(0, 0, 2, 0))},
		{fault.ErrShape, "it begins at 2, and ends before that, at 1", Set("w", Leaf("w").Slice(-1, 2, 1, 1))},
		{fault.ErrShape, "it begins at -1, and the first element is 0", Set("w", Leaf("w").Slice(0, -1, 1, 1))},
		{fault.ErrShape, "the new axis cannot be 3: in [2] it can be 0 to 1", Set("z", Stack(3, Leaf("v"), Leaf("v")))},
		{fault.ErrShape, "the axes [0 0] do not name each axis of [2 3] once", Set("w", Leaf("w").Transpose(0, 0))},
		{fault.ErrShape, "the axes [0] do not name each axis of [2 3] once", Set("w", Leaf("w").Transpose(0))},
		{fault.ErrShape, "", Set("w", Leaf("w").Reshape(5))},
		{fault.ErrShape, "there is no axis 0; what has the shape [] has no axes", Set("n", Leaf("n").Index(0, 0))},
		{fault.ErrShape, `leaf z: rule 1 (Set "z"): leaf v: shape mismatch`, Set("z", Concat(0, Leaf("w"), Leaf("v")))},
		{fault.ErrStructure, "nothing to join", Set("z", Concat(0))},
		{fault.ErrStructure, "nothing to join", Set("z", Stack(0))},
		{fault.ErrStructure, "nil", Set("z", Func(array.Float32, nil, nil))},
		{fault.ErrStructure, `"l_2" has the number 2; they must be 0 to 1`, StackRegexp(`l_(\d+)`, 0, "l")},
		{fault.ErrKeyCollision, `have the number 0`, StackRegexp(`m_(\d+)`, 0, "m")},
		{fault.ErrStructure, "not a number", StackRegexp(`(l)_.`, 0, "l")},
		{fault.ErrStructure, "no group", StackRegexp(`l_.`, 0, "l")},
		{fault.ErrStructure, "matches", ConcatRegexp(`nope(.)`, 0, "l")},
		{fault.ErrStructure, "one %d", Unstack("w", 0, "w")},
		{fault.ErrStructure, "no leaf", Unstack("nope", 0, "w_%d")},
		{fault.ErrShape, `it has 2 elements along axis 0, and "d.x" has 1`, Unstack("d", 0, "d_%d")},
		{fault.ErrShape, "there is no axis 2; the axes of [2 3] are 0 to 1", Unstack("w", 2, "w_%d")},
		{fault.ErrStructure, "no leaf", Split("nope", 0, nil, "a", "b")},
		{fault.ErrStructure, "0 targets", Split("w", 0, nil)},
		{fault.ErrStructure, "1 sizes for 2", Split("w", 0, []int{2}, "a", "b")},
		{fault.ErrShape, "2 equal parts", Split("w", 1, nil, "a", "b")},
		{fault.ErrShape, "axis 1 has 3 elements, and parts of [1 3] do not add up to that", Split("w", 1, []int{1, 3}, "a", "b")},
		{fault.ErrShape, "parts of", Split("w", 1, []int{-1, 4}, "a", "b")},
		{fault.ErrShape, "there is no axis 0", Split("n", 0, nil, "a", "b")},
	} {
		_, err := apply(t, in, c.rule)
		if !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err)+"\n", c.text) {
			t.Errorf("%v: %v\n\twant %v, %s", c.rule, err, c.is, c.text)
		}
	}
}

// TestAllErrors checks that all mistakes are reported together, and only they.
func TestAllErrors(t *testing.T) {
	in := dict{"a": floats(1), "b": floats(1, 2), "c": "text"}
	cast := func(x Expr) Expr { return x.Cast(array.Float64) }
	_, err := apply(t, in,
		Rename(map[string]string{"nope": "x", "nada": "y"}),
		Set("z", Leaf("a").Index(0, 9)),
		Each("{x,y,z}.**", cast),                      // follows from what failed
		Set("sum", Concat(0, Leaf("x.w"), Leaf("z"))), // as well
		Each("c", cast),
		Drop("never"),
	)
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	want := []string{`leaf nada`, `leaf nope`, `leaf z`, `leaf c`, `"never"`}
	if len(lines) != len(want) {
		t.Fatalf("%d errors, want %d:\n%v", len(lines), len(want), err)
	}
	for i, w := range want {
		if !strings.Contains(lines[i], w) {
			t.Errorf("error %d is %q, want %s", i, lines[i], w)
		}
	}
}

// TestAllErrorsAfterAnother checks for each kind of mistake that those after it are
// reported with it, but for those that may follow from it.
func TestAllErrorsAfterAnother(t *testing.T) {
	in := dict{"a": floats(1), "b": floats(1, 2), "c": iota32(0, 2, 3), "d": dict{"x": 1}, "l_0": floats(1), "s": []any{1, 2}, "text": "x"}
	id := func(x Expr) Expr { return x }
	cast := func(x Expr) Expr { return x.Cast(array.Float64) }
	of := func(rules ...Rule) []Rule { return rules }
	missing := Rename(map[string]string{"q": "r"})
	stack := StackRegexp(`zz_(\d+)`, 0, "zz")
	for name, c := range map[string]struct {
		rules []Rule
		want  []string
	}{
		"each of nothing":           {of(Each("yy", id), missing), []string{`rule 1 (Each "yy")`, "leaf q"}},
		"each func of nothing":      {of(EachFunc(func(*view.LeafMetadata) bool { return false }, id), missing), []string{"rule 1", "leaf q"}},
		"each without function":     {of(Each("a", nil), missing, stack), []string{"rule 1", "leaf q", "rule 3"}},
		"each malformed":            {of(Each("[", id), missing, Drop("never")), []string{"rule 1", "leaf q", `"never"`}},
		"each, then its values":     {of(Each("tex", id), Each("text", cast), Set("z", Leaf("nope"))), []string{"rule 1", "leaf z"}},
		"names, then values":        {of(missing, Each("text", cast)), []string{"leaf q", "leaf text"}},
		"unstack malformed":         {of(Unstack("c", 0, "cc"), missing, stack), []string{"rule 1", "leaf q", "rule 3"}},
		"unstack malformed, last":   {of(missing, stack, Unstack("c", 0, "cc")), []string{"leaf q", "rule 2", "rule 3"}},
		"unstack of nothing, too":   {of(Unstack("nope", 0, "cc"), missing), []string{"rule 1 (Unstack", "leaf nope", "leaf q"}},
		"unstack, then what it had": {of(Unstack("c", 0, "cc"), Set("z", Leaf("cc_1")), Drop("cc_*"), Set("c", Value(1)), Each("cc*.w", cast)), []string{"rule 1"}},
		"unstack of another shape":  {of(Unstack("c", 5, "cc[%d]"), Set("cc[2]", Value(1)), Set("y", Leaf("cc.0")), Drop("cc.1"), Drop("cd")), []string{"leaf c", `"cd"`}},
		"split malformed":           {of(Split("c", 0, []int{2}, "e", "f.g"), Set("z", Concat(0, Leaf("e"), Leaf("f.g"))), missing, Set("y", Leaf("ee"))), []string{"rule 1", "leaf q", "leaf y"}},
		"split without targets":     {of(Split("c", 0, nil), Set("z", Leaf("e")), Each("a.b[", cast)), []string{"rule 1", "rule 3"}},
		"regexp malformed":          {of(RenameRegexp("(", "w.$1"), Set("z", Leaf("w.x")), Unstack("w", 0, "v_%d"), Drop("v_0"), missing), []string{"rule 1", "leaf q"}},
		"regexp of nothing":         {of(RenameRegexp(`n_(\d)`, "m[$1].k"), Each("m.*.k", id), Each("n.*.k", id), stack), []string{"rule 1", `"n.*.k"`, "rule 4"}},
		"unknown group":             {of(RenameRegexp(`l_(\d)`, "k_$1_x"), Drop("k_0_x"), Set("l_0", Value(1)), missing), []string{"rule 1", "leaf q"}},
		"stack malformed":           {of(StackRegexp("(", 0, "w"), Set("z", Leaf("w").Index(0, 0)), Set("y", Leaf("ww")), missing), []string{"rule 1", "leaf y", "leaf q"}},
		"stack over a leaf":         {of(StackRegexp(`a|b`, 0, "b"), Set("z", Leaf("b").Index(3, 0)), missing), []string{"rule 1", "leaf q"}},
		"stack, then members":       {of(RenameRegexp(`(x)_`, "l_1"), StackRegexp(`l_(\d)0?`, 0, "l"), Set("z", Leaf("l").Index(0, 1))), []string{"rule 1"}},
		"stack, other members":      {of(RenameRegexp(`(x)_`, "m_1"), Rename(map[string]string{"a": "l_2"}), StackRegexp(`l_(\d)`, 0, "l")), []string{"rule 1", "leaf l"}},
		"rename of nothing":         {of(missing, Set("z", Leaf("r")), Drop("r.**"), Set("y", Leaf("rr"))), []string{"leaf q", "leaf y"}},
		"rename, then its old name": {of(missing, Set("a", Value(1)), Set("s.x", Value(1)), Drop("never")), []string{"leaf q", "leaf a", `"never"`, "leaf s"}},
		"rename to a bad name":      {of(Rename(map[string]string{"a": "e..f"}), Set("z", Leaf("e.f")), Set("y", Leaf("f"))), []string{`leaf e..f`, "leaf y"}},
		"rename into a sequence":    {of(Rename(map[string]string{"q": "t[0]", "a": "t[1]"}), Drop("never")), []string{"leaf q", `"never"`}},
		"nest of nothing":           {of(Nest("/"), Set("z", Leaf("w.x")), Each("v.*", cast), Unstack("a", 3, "a_%d")), []string{"rule 1"}},
		"nest at nothing":           {of(Nest(""), Drop("w.*"), Drop("[")), []string{"rule 1", "rule 3"}},
		"drop of nothing":           {of(Drop("e"), Set("a", Value(1)), missing), []string{"rule 1", "leaf a", "leaf q"}},
		"drop malformed":            {of(Drop("[", "never", "{"), Set("a", Value(1)), missing), []string{"rule 1", "rule 1", `"never"`, "leaf q"}},
		"drop, then the dropped":    {of(Drop("[", "a"), Set("z", Leaf("a"))), []string{"rule 1", "leaf z"}},
		"include of nothing":        {of(Include("ema", "e"), Set("z", Leaf("e.w")), Set("y", Leaf("f.w")), stack), []string{"leaf e", "leaf y", "rule 4"}},
		"no rule":                   {of(Rule{}, missing, Drop("never"), Drop("[")), []string{"rule 1", "rule 4"}},
		"a collision":               {of(Set("a", Value(1)), missing, Set("b", Value(1))), []string{"leaf a", "leaf q", "leaf b"}},
		"drop, then a leaf there":   {of(Drop("["), Default("d", 1), Set("z", Leaf("d")), Set("y", Leaf("dd"))), []string{"rule 1", "leaf y"}},
		"regexp, then positions":    {of(Rename(map[string]string{"a": "t[1]"}), RenameRegexp("(.*)(", "x.$1"), missing), []string{"rule 2", "leaf q"}},
		"regexp, then empty keys":   {of(RenameRegexp("(.*)(", "d"), RenameRegexp("(c?).*", "x.$1"), Set("z..y", Leaf("a"))), []string{"rule 1", "leaf z..y"}},
		"drop, then no match":       {of(Drop("["), RenameRegexp("nope", "x")), []string{"rule 1", `rule 2 (RenameRegexp "nope")`}},
		"empty keys, and sure":      {of(RenameRegexp("(.*)(", "d"), Rename(map[string]string{"a": "x..y"})), []string{"rule 1", "leaf x..y"}},
		"unstack without number":    {of(Unstack("c", 0, "m_k"), Set("z", Leaf("m_0")), Drop("m_1"), Set("y", Leaf("0k")), Set("x", Leaf("n_0"))), []string{"rule 1", "leaf x"}},
	} {
		_, err := apply(t, in, c.rules...)
		lines := strings.Split(fmt.Sprint(err), "\n")
		ok := len(lines) == len(c.want)
		for i := 0; ok && i < len(lines); i++ {
			ok = strings.Contains(lines[i], c.want[i])
		}
		if !ok {
			t.Errorf("%s: errors about %q are wanted; got\n%v", name, c.want, err)
		}
	}
}

// TestHugeShape unstacks an array whose shape promises more than there can be.
func TestHugeShape(t *testing.T) {
	huge, err := array.New(array.Float32, []int{1 << 60, 0}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apply(t, dict{"w": huge}, Unstack("w", 0, "w_%d")); !errors.Is(err, fault.ErrShape) {
		t.Fatal(err)
	}
}

// FuzzNames gives leaves any names.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"a.b", "s[0]", "s.2", "[1]", "", "a..b", "x.y[0][10].z", "s[01]", "]"} {
		f.Add(s, "w")
	}
	f.Add(`(.*)`, "$1.x")
	f.Fuzz(func(t *testing.T, a, b string) {
		in := dict{"w": floats(1), "s": []any{1, 2}, "d.e": dict{"": 3}}
		for _, rules := range [][]Rule{
			{Rename(map[string]string{"w": a, "s.0": b})},
			{RenameRegexp(a, b)},
			{Unstack(a, 0, b)},
			{Set(a, Leaf(b)), Default(b, 1)},
			{StackRegexp(a, 0, b)},
		} {
			if _, err := apply(t, in, rules...); err != nil && !errors.Is(err, fault.ErrStructure) && !errors.Is(err, fault.ErrKeyCollision) &&
				!errors.Is(err, fault.ErrShape) && !errors.Is(err, fault.ErrLeafType) {
				t.Fatalf("%v: %v", rules, err)
			}
		}
	})
}
