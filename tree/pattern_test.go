package tree_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

func pathOf(name string) (p tree.Path) {
	for key := range strings.SplitSeq(name, ".") {
		p = append(p, tree.Key{Name: key})
	}
	return p
}

func TestPatterns(t *testing.T) {
	if _, err := tree.ParsePatterns("a", "b["); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("a pattern that is none: %v", err)
	}
	ps, err := tree.ParsePatterns("a", "**.w", "x")
	if err != nil {
		t.Fatal(err)
	}
	used := make([]bool, len(ps))
	for name, want := range map[string]bool{"a.w": true, "b.w": true, "b": false} {
		if ps.Match(pathOf(name), used) != want || ps.Match(pathOf(name), nil) != want {
			t.Errorf("match of %s is not %v", name, want)
		}
	}
	if !slices.Equal(used, []bool{true, true, false}) {
		t.Errorf("used are %v", used)
	}
}

func TestPattern(t *testing.T) {
	tests := []struct {
		pattern  string
		yes, not string // names
	}{
		{"params", "params params.w params.a.b params.", "param params2 x.params"},
		{"params.w", "params.w params.w.0", "params params.wx"},
		{"params.**", "params params.w params.a.b", "params2 x.params"},
		{"**", "a a.b.c", ""},
		{"**.**", "a a.b.c", ""},
		{"**.bias", "bias a.bias a.b.bias", "abias a.bias.x"},
		{"a.**.b", "a.b a.x.b a.x.y.b", "ab a.xb a.b.c"},
		{"a**z", "az abz a.b.z", "az.b xaz"},
		{"*.kernel", "a.kernel .kernel", "kernel a.b.kernel a.kernel.x"},
		{"layers.*.bias", "layers.0.bias layers.10.bias", "layers.bias layers.0.1.bias"},
		{"layers_*.w", "layers_0.w layers_.w", "layers_0.x.w"},
		{"layers.?.w", "layers.0.w layers.é.w", "layers.10.w layers...w"},
		{"layers.[0-37].w", "layers.0.w layers.3.w layers.7.w", "layers.4.w layers.37.w"},
		{"[!a-c]", "d é", "a b . dd"},
		{"[^a]", "b", "a"},
		{"[+-0]", "+ - / 0", ". 1"},
		{"[-a]x", "-x ax", "bx"},
		{"[a-]x", "-x ax", "bx"},
		{`[\]\\]`, `] \`, "x"},
		{"{params,opt.mu}.w", "params.w opt.mu.w opt.mu.w.0", "opt.w params"},
		{"{a,b{c,d*}}", "a a.x bc bc.x bd bdd", "b bd.x"},
		{"{,x}a", "a xa", "ya"},
		{"a,b", "a,b", "a b"},
		{`a\*\{\,\}`, "a*{,} a*{,}.b", "ab"},
		{`a\.b`, "a.b", "ab"},
		{"é.日", "é.日 é.日.x", "é"},
		{"a(b|c)+", "a(b|c)+", "ab"},
	}
	for _, tt := range tests {
		p, err := tree.ParsePattern(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		for name := range strings.FieldsSeq(tt.yes) {
			if !p.Match(pathOf(name)) {
				t.Errorf("%s does not match %s", tt.pattern, name)
			}
		}
		for name := range strings.FieldsSeq(tt.not) {
			if p.Match(pathOf(name)) {
				t.Errorf("%s matches %s", tt.pattern, name)
			}
		}
		if p.String() != tt.pattern {
			t.Errorf("%s prints as %s", tt.pattern, p)
		}
	}
	if (tree.Pattern{}).Match(nil) {
		t.Error("the zero pattern matches")
	}
	if p, err := tree.ParsePattern("**"); err != nil || !p.Match(nil) {
		t.Errorf("** does not match the root: %v", err)
	}
	if p, err := tree.ParsePattern("a.b"); err != nil || !p.Match(tree.Path{{Name: "a.b"}}) {
		t.Errorf("a key with a dot: %v", err)
	}
}

func TestParsePatternErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                                    "is empty",
		`a\`:                                  "ends in a backslash",
		"[a":                                  "has a [ without its ]",
		`[\`:                                  "has a [ without its ]",
		"[]":                                  "matches nothing",
		"[.]":                                 "matches nothing",
		"[b-a]":                               "has the range b-a, which is empty",
		"{a":                                  "has a { without its }",
		"a}":                                  "has a } without its {",
		"{a}}":                                "has a } without its {",
		"\xff":                                "is not valid UTF-8",
		strings.Repeat("a", 5000):             "has 5000 bytes",
		strings.Repeat("{a,b}", 11):           "stands for too many patterns",
		"{" + strings.Repeat(",", 2000) + "}": "stands for too many patterns",
		strings.Repeat("{a,b}", 10) + strings.Repeat("x", 100): "stands for too many patterns",
	} {
		_, err := tree.ParsePattern(pattern)
		if !errors.Is(err, fault.ErrStructure) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.50q: %v, want %s", pattern, err, want)
		}
	}
	deep := strings.Repeat("{", 2000) + "a" + strings.Repeat("}", 2000)
	if p, err := tree.ParsePattern(deep); err != nil || !p.Match(pathOf("a")) {
		t.Errorf("deep braces: %v", err)
	}
}

// A pattern that takes a backtracking matcher exponential time.
func TestPatternTime(t *testing.T) {
	p, err := tree.ParsePattern(strings.Repeat("a*", 100) + "b." + strings.Repeat("**a", 100) + "b")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if p.Match(pathOf(strings.Repeat("a", 1000) + "b." + strings.Repeat("a", 1000))) {
		t.Error("matches")
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

// part is an element of a pattern as the naive matcher has it.
type part struct {
	text    string   // as it is spelled
	alts    [][]part // of braces
	anyText bool     // **
	any     bool     // *
	chars   string   // which characters, of all others
}

const alphabet = "ab." // of the names that are matched

// patternOf draws the parts of a pattern.
func patternOf(t *rapid.T, depth int) []part {
	var parts []part
	starred := false
	for range rapid.IntRange(0, 5).Draw(t, "n") {
		k := rapid.IntRange(0, 11).Draw(t, "kind")
		if starred && k >= 6 && k <= 8 {
			k = 0 // two stars side by side would be read as one
		}
		starred = false
		switch {
		case k < 3:
			parts = append(parts, part{text: "a", chars: "a"})
		case k < 5:
			parts = append(parts, part{text: ".", chars: "."})
		case k == 5:
			parts = append(parts, part{text: `\b`, chars: "b"})
		case k == 6:
			parts = append(parts, part{text: "*", any: true})
			starred = true
		case k <= 8:
			parts = append(parts, part{text: "**", anyText: true})
			starred = true
		case k == 9:
			parts = append(parts, part{text: "?", chars: "ab"})
		case k == 10:
			parts = append(parts, part{text: "[!b]", chars: "a"})
		case depth > 0:
			p := part{}
			var texts []string
			for range rapid.IntRange(1, 3).Draw(t, "alternatives") {
				alt := patternOf(t, depth-1)
				p.alts = append(p.alts, alt)
				texts = append(texts, textOf(alt))
			}
			p.text = "{" + strings.Join(texts, ",") + "}"
			parts = append(parts, p)
		}
	}
	return parts
}

func textOf(parts []part) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.text)
	}
	return b.String()
}

// expandParts resolves braces.
func expandParts(parts []part) [][]part {
	for i, p := range parts {
		if p.alts != nil {
			var all [][]part
			for _, alt := range p.alts {
				all = append(all, expandParts(slices.Concat(parts[:i], alt, parts[i+1:]))...)
			}
			return all
		}
	}
	return [][]part{parts}
}

// dropKeys returns parts, and it without each set of the keys that are **.
func dropKeys(parts []part) [][]part {
	all := [][]part{parts}
	isDot := func(i int) bool { return i >= 0 && i < len(parts) && parts[i].chars == "." }
	for i, p := range parts {
		if !p.anyText {
			continue
		}
		// In "x.**" and "x.**.y" the dot before goes, in "**.x" the one behind.
		if isDot(i-1) && (i+1 == len(parts) || isDot(i+1)) {
			all = append(all, dropKeys(slices.Concat(parts[:i-1], parts[i+1:]))...)
		} else if i == 0 && isDot(1) {
			all = append(all, dropKeys(parts[2:])...)
		}
	}
	return all
}

func naiveMatch(parts []part, name string) bool {
	if len(parts) == 0 {
		return name == ""
	}
	p := parts[0]
	switch {
	case p.any || p.anyText:
		return naiveMatch(parts[1:], name) || name != "" && (p.anyText || name[0] != '.') && naiveMatch(parts, name[1:])
	case name == "":
		return false
	}
	return strings.Contains(p.chars, name[:1]) && naiveMatch(parts[1:], name[1:])
}

func TestPatternNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := patternOf(t, 2)
		text := textOf(parts)
		p, err := tree.ParsePattern(text)
		if err != nil {
			if text != "" && !strings.Contains(err.Error(), "too many") {
				t.Fatal(err)
			}
			return
		}
		var variants [][]part
		for _, e := range expandParts(parts) {
			variants = append(variants, dropKeys(e)...)
			if !slices.ContainsFunc(e, func(p part) bool { return strings.Contains("* ** ? [!b]", p.text) }) {
				variants = append(variants, slices.Concat(e, []part{{chars: "."}, {anyText: true}}))
			}
		}
		for range 20 {
			name := rapid.StringOfN(rapid.RuneFrom([]rune(alphabet)), 0, 7, -1).Draw(t, "name")
			want := slices.ContainsFunc(variants, func(v []part) bool { return naiveMatch(v, name) })
			if got := p.Match(pathOf(name)); got != want {
				t.Fatalf("%s matches %q: %v, want %v", text, name, got, want)
			}
		}
	})
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"params.**", `{a,b*}.[!0-9\]]?`, `\`, "{{{", "[", "**.**.a"} {
		f.Add(s, "params.a")
	}
	f.Fuzz(func(t *testing.T, s, name string) {
		p, err := tree.ParsePattern(s)
		if err != nil {
			if !errors.Is(err, fault.ErrStructure) {
				t.Fatal(err)
			}
			return
		}
		p.Match(pathOf(name))
		if !strings.ContainsAny(s, `*?[]{},\`) && !(p.Match(pathOf(s)) && p.Match(pathOf(s+".x"))) {
			t.Fatalf("the literal %q does not match itself", s)
		}
	})
}
