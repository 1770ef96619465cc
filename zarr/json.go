package zarr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/go-orbax/orbax/internal/fault"
)

// object is a JSON object. Unlike struct decoding it keeps the case of names, and
// distinguishes an absent member from a null member.
type object map[string]any

// corrupt returns an error about a malformed document.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: zarr metadata: %w", fault.ErrCorrupt, fmt.Errorf(format, args...))
}

// unsupported returns an error about a document that may be valid but asks for a feature
// that is not implemented.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: zarr metadata: %w", fault.ErrUnsupported, fmt.Errorf(format, args...))
}

func parseObject(doc []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber() // dimensions exceed a float64's 53 bits
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, corrupt("%v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, corrupt("bytes after the JSON object")
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, corrupt("not a JSON object: %s", show(v))
	}
	return o, nil
}

// show returns v as JSON, shortened, for an error.
func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	if len(b) > 80 {
		return string(b[:77]) + "..."
	}
	return string(b)
}

// nameOf returns the member of v that names it, for an error, or v itself if it
// has none.
func nameOf(v any, member string) string {
	if o, ok := v.(map[string]any); ok && o[member] != nil {
		v = o[member]
	}
	return show(v)
}

func (o object) get(name string) (any, error) {
	v, ok := o[name]
	if !ok {
		return nil, corrupt("member %q is missing", name)
	}
	return v, nil
}

func (o object) str(name string) (string, error) { return member[string](o, name, "a string") }

func (o object) obj(name string) (object, error) {
	return member[map[string]any](o, name, "an object")
}

func (o object) list(name string) ([]any, error) { return member[[]any](o, name, "an array") }

// member returns a member that must be a T; what describes a T for the error.
func member[T any](o object, name, what string) (T, error) {
	v, err := o.get(name)
	t, ok := v.(T)
	if err == nil && !ok {
		err = corrupt("%q is not %s: %s", name, what, show(v))
	}
	return t, err
}

func (o object) ints(name string) ([]int, error) {
	l, err := o.list(name)
	if err != nil {
		return nil, err
	}
	if len(l) > maxRank {
		return nil, unsupported("%q has %d dimensions, at most %d", name, len(l), maxRank)
	}
	out := make([]int, len(l))
	for i, v := range l {
		n, ok := integer(v)
		if !ok {
			return nil, corrupt("%q holds %s, not an integer", name, show(v))
		}
		out[i] = n
	}
	return out, nil
}

// intIn checks that a member is an integer from lo to hi.
func (o object) intIn(name string, lo, hi int) error {
	v, err := o.get(name)
	if err != nil {
		return err
	}
	if n, ok := integer(v); !ok || n < lo || n > hi {
		return corrupt("%q is %s, not an integer from %d to %d", name, show(v), lo, hi)
	}
	return nil
}

// only reports members other than the named ones.
func (o object) only(what string, names ...string) error {
	for name := range o {
		if !slices.Contains(names, name) {
			return unsupported("%s has an unknown member %q", what, name)
		}
	}
	return nil
}

// integer returns v if it is a whole number. Like TensorStore it accepts 3.0.
func integer(v any) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		return int(i), true
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || f != float64(int(f)) || f < -1<<53 || f > 1<<53 {
		return 0, false
	}
	return int(f), true
}
