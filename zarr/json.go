package zarr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// object is a JSON object. Unlike struct decoding it keeps the case of names
// and tells an absent member from a null one.
type object map[string]any

// corrupt returns an error about a malformed document.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: zarr metadata: %w", fault.ErrCorrupt, fmt.Errorf(format, args...))
}

// unsupported returns an error about a document that may be valid but asks for
// what is not implemented.
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

// member returns a member that must be a T, which what describes.
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

// intIn reads a member that must be an integer from lo to hi.
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

// checkFill verifies that v is a fill value of dtype d in a form that
// TensorStore accepts. Format 2 spells those it shares with format 3 alike.
func checkFill(v any, d array.DType) error {
	ok := false
	bits, signed, isInt := intBits(d)
	switch {
	case d == array.Bool:
		_, ok = v.(bool)
	case isInt && !signed:
		n, isNumber := v.(json.Number)
		_, err := strconv.ParseUint(string(n), 10, bits)
		i, whole := integer(v)
		ok = isNumber && err == nil || whole && i >= 0 && (bits == 64 || i < 1<<bits)
	case isInt:
		i, whole := integer(v)
		ok = whole && i >= -1<<(bits-1) && i <= 1<<(bits-1)-1
	case isComplex(d):
		l, isList := v.([]any)
		ok = isList && len(l) == 2 && isFloat(l[0]) && isFloat(l[1])
	default:
		ok = isFloat(v)
	}
	if !ok {
		return corrupt("fill_value %s is not of dtype %v", show(v), d)
	}
	return nil
}

// isFloat reports whether v is a floating-point fill value: a number, or a
// string that names a special value or spells the bits.
func isFloat(v any) bool {
	switch v := v.(type) {
	case json.Number:
		_, err := strconv.ParseFloat(string(v), 64)
		return err == nil
	case string:
		if len(v) > 2 && v[:2] == "0x" {
			_, err := strconv.ParseUint(v[2:], 16, 64)
			return err == nil
		}
		return v == "NaN" || v == "Infinity" || v == "-Infinity"
	}
	return false
}

// compact returns v as JSON.
func compact(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null"
	}
	return string(b)
}
