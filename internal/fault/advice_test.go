package fault

import (
	"errors"
	"fmt"
	"testing"
)

func TestAdvice(t *testing.T) {
	fill := Advise(fmt.Errorf("%w: x is missing", ErrCorrupt), FillMissing, "FillMissing takes it for fill value")
	for _, c := range []struct {
		name           string
		err            error
		message, plain string
		remedy         Remedy
	}{
		{"none", ErrCorrupt, "corrupt data", "corrupt data", ""},
		{"alone", fill, "corrupt data: x is missing; FillMissing takes it for fill value", "corrupt data: x is missing", FillMissing},
		{"inside a sentence", fmt.Errorf("a (%w), and b", fill),
			"a (corrupt data: x is missing; FillMissing takes it for fill value), and b", "a (corrupt data: x is missing), and b", FillMissing},
		{"of a leaf", OfLeaf("w", fill), "leaf w: corrupt data: x is missing; FillMissing takes it for fill value", "leaf w: corrupt data: x is missing", FillMissing},
		{"beside another", errors.Join(ErrShape, fill), "shape mismatch\ncorrupt data: x is missing; FillMissing takes it for fill value",
			"shape mismatch\ncorrupt data: x is missing", FillMissing},
		{"of a class", fmt.Errorf("%w: %w", ErrExist, ErrUnfinished),
			"already exists: incomplete checkpoint: there is no commit_success.txt in it, so its save has died or goes on; Delete removes it, and Save with Overwrite replaces it",
			"already exists: incomplete checkpoint: there is no commit_success.txt in it, so its save has died or goes on", Delete},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.err.Error(); got != c.message {
				t.Errorf("message %q, want %q", got, c.message)
			}
			if got := WithoutAdvice(c.err); got != c.plain {
				t.Errorf("without advice %q, want %q", got, c.plain)
			}
			if got := RemedyOf(c.err); got != c.remedy {
				t.Errorf("remedy %q, want %q", got, c.remedy)
			}
		})
	}
	if !errors.Is(fill, ErrCorrupt) || !errors.Is(fmt.Errorf("x: %w", ErrUnfinished), ErrIncomplete) {
		t.Error("advice hides the class of an error")
	}
}
