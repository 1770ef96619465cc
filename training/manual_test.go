package training_test

import (
	"os"
	"strings"
	"testing"
)

// The code in the manual is code of the examples, which are compiled and run.
func TestManual(t *testing.T) {
	manual, err := os.ReadFile("../docs/training.md")
	if err != nil {
		t.Fatal(err)
	}
	code := ""
	for _, name := range []string{"example_test.go", "example_group_test.go", "example_mirror_test.go"} {
		examples, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code += flush(string(examples))
	}
	blocks := strings.Split(string(manual), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Error("the manual has no code")
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(code, flush(block)) {
			t.Errorf("no example has\n%s", block)
		}
	}
}

// flush takes the indentation from all lines.
func flush(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		b.WriteString(strings.TrimLeft(line, "\t"))
	}
	return b.String()
}
