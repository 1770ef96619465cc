package inspect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/view"
)

// span is the part of an axis in a region: the element start alone, or every step-th
// element from start to before stop.
type span struct {
	index             bool
	start, stop, step *int // nil if it is left out
}

// cutRegion divides an argument of cat into the part before the brackets at its end, and
// the text in the brackets.
func cutRegion(arg string) (leaf, text string, ok bool) {
	i := strings.LastIndexByte(arg, '[')
	if i < 0 || !strings.HasSuffix(arg, "]") {
		return arg, "", false
	}
	return arg[:i], arg[i+1 : len(arg)-1], true
}

// parseRegion parses the text in the brackets.
func parseRegion(text string) (region []span, err error) {
	defer func() {
		if err != nil {
			err = RegionError{err}
		}
	}()
	for axis := range strings.SplitSeq(text, ",") {
		fields := strings.Split(axis, ":")
		if len(fields) > 3 {
			return nil, fmt.Errorf("region [%s]: %q has more than START:STOP:STEP", text, axis)
		}
		s := span{index: len(fields) == 1}
		for i, to := range []**int{&s.start, &s.stop, &s.step}[:len(fields)] {
			field := strings.TrimSpace(fields[i])
			if field == "" && !s.index {
				continue
			}
			n, err := strconv.Atoi(field)
			if err != nil {
				return nil, fmt.Errorf("region [%s]: %q is not a number", text, field)
			}
			*to = &n
		}
		if s.step != nil && *s.step < 1 {
			return nil, fmt.Errorf("region [%s]: the step must be at least 1", text)
		}
		region = append(region, s)
	}
	return region, nil
}

// RegionError reports an error in the text of a region.
type RegionError struct{ error }

func (e RegionError) Unwrap() error { return e.error }

// of returns the part of an axis of l that the span selects, by the rules of Python.
func (s span) of(l *view.Leaf, axis int) (*view.Leaf, error) {
	n := l.Shape()[axis]
	// at resolves a bound that counts from the end, and clamps it.
	at := func(bound *int, otherwise int) int {
		switch {
		case bound == nil:
			return otherwise
		case *bound < 0:
			return max(0, *bound+n)
		}
		return min(*bound, n)
	}
	if s.index {
		i := *s.start
		if i < 0 {
			i += n
		}
		if i < 0 || i >= n {
			return nil, fmt.Errorf("index %d is outside of axis %d, which has %s", *s.start, axis, Plural(n, "element"))
		}
		return l.Index(axis, i)
	}
	start := at(s.start, 0)
	step := 1
	if s.step != nil {
		step = *s.step
	}
	stop := max(start, at(s.stop, n))
	return l.Slice(axis, start, stop, min(step, max(1, n)))
}

// region returns a region of the leaf. It reads no elements.
func (l *storedLeaf) region(spans []span, text string) (*storedLeaf, error) {
	name := fmt.Sprintf("%s[%s]", l.name, text)
	if l.meta.DType == array.Invalid {
		return nil, fmt.Errorf("%s: leaf %s is %v, which has no regions", l.checkpoint, fault.Shown(l.name), l.meta.Spec())
	}
	if rank := len(l.meta.Shape); len(spans) > rank {
		return nil, fmt.Errorf("%s: leaf %s has the shape %s: region [%s] has more axes", l.checkpoint, fault.Shown(l.name), ShapeText(l.meta.Shape), text)
	}
	leaf := l.leaf
	// Begin with the last axis, because an index removes its axis.
	for axis, s := range slices.Backward(spans) {
		var err error
		if leaf, err = s.of(leaf, axis); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", l.checkpoint, fault.Shown(name), err)
		}
	}
	return &storedLeaf{leaf, leaf.Metadata(), name, l.checkpoint}, nil
}
