package layout

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
)

// EncodeNumbers is EncodeJSON that takes also NaN and the infinities, as Python's json
// module does: they become the bare words NaN, Infinity and -Infinity, which
// DecodeJSON reads.
func EncodeNumbers(v any) ([]byte, error) {
	doc, err := EncodeJSON(v)
	var unsupported *json.UnsupportedValueError
	if !errors.As(err, &unsupported) || !unsupported.Value.CanFloat() {
		return doc, err
	}
	// Package json cannot be asked to write the words. So it gets a copy with
	// numbers in their place, which the words then replace. Where v has one of the
	// numbers itself, the next numbers give another document.
	var before []byte
	for range 100 {
		if doc, err = encodeStandIns(v); err != nil {
			return nil, err
		}
		if bytes.Equal(doc, before) {
			return doc, nil
		}
		before = doc
	}
	return nil, errors.New("it has NaN or an infinity, and a MarshalJSON in it gives something else each time")
}

// encodeStandIns is EncodeNumbers if v has none of some numbers.
func encodeStandIns(v any) ([]byte, error) {
	s := newStandIns()
	copied, err := s.replace(reflect.ValueOf(v), 0)
	if err != nil {
		return nil, err
	}
	doc, err := EncodeJSON(copied.Interface())
	if err != nil {
		return nil, err
	}
	return s.words(doc)
}

// standIns are numbers that stand for those that JSON has no spelling of.
type standIns struct {
	nan, inf, minusInf float32 // which every type of float has
}

func newStandIns() *standIns {
	random := func() float32 { return math.Float32frombits(0x7e00_0000 | rand.Uint32N(1<<23)) }
	s := &standIns{nan: random(), inf: random(), minusInf: random()}
	if s.nan == s.inf || s.nan == s.minusInf || s.inf == s.minusInf {
		return newStandIns()
	}
	return s
}

// words replaces the numbers by the words.
func (s *standIns) words(doc []byte) ([]byte, error) {
	for n, word := range map[float32]string{s.nan: "NaN", s.inf: "Infinity", s.minusInf: "-Infinity"} {
		for _, number := range []any{n, float64(n)} {
			spelled, err := json.Marshal(number)
			if err != nil {
				return nil, err
			}
			doc = bytes.ReplaceAll(doc, spelled, []byte(word))
		}
	}
	return doc, nil
}

// maxCopied is how deep a value is copied; EncodeJSON refuses what has cycles before.
const maxCopied = 10_000

// replace returns v, or a copy of it with the numbers in the place of floats that are
// not finite.
func (s *standIns) replace(v reflect.Value, depth int) (reflect.Value, error) {
	if depth > maxCopied {
		return v, errors.New("it is nested too deep")
	}
	if v.IsValid() && encodesItself(v.Type()) {
		return v, nil
	}
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		return s.float(v), nil
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return v, nil
		}
		inner, err := s.replace(v.Elem(), depth+1)
		if err != nil {
			return v, err
		}
		c := reflect.New(v.Type()).Elem()
		if v.Kind() == reflect.Interface {
			c.Set(inner)
			return c, nil
		}
		c.Set(reflect.New(v.Type().Elem()))
		c.Elem().Set(inner)
		return c, nil
	case reflect.Map:
		if v.IsNil() {
			return v, nil
		}
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for key, value := range v.Seq2() {
			inner, err := s.replace(value, depth+1)
			if err != nil {
				return v, err
			}
			c.SetMapIndex(key, inner)
		}
		return c, nil
	case reflect.Slice:
		if v.IsNil() {
			return v, nil
		}
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		return c, s.each(c, v, v.Len(), reflect.Value.Index, depth)
	case reflect.Array:
		c := reflect.New(v.Type()).Elem()
		return c, s.each(c, v, v.Len(), reflect.Value.Index, depth)
	case reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		c.Set(v) // with what is not exported
		return c, s.each(c, v, v.NumField(), reflect.Value.Field, depth)
	}
	return v, nil
}

// encodesItself reports whether package json leaves the encoding of a type to it.
func encodesItself(t reflect.Type) bool {
	for _, t := range []reflect.Type{t, reflect.PointerTo(t)} {
		if t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
			return true
		}
	}
	return false
}

// each sets the parts of c to what replaces those of v.
func (s *standIns) each(c, v reflect.Value, n int, part func(reflect.Value, int) reflect.Value, depth int) error {
	for i := range n {
		switch p := part(c, i); {
		case p.CanSet():
		case p.Kind() == reflect.Struct && c.Type().Field(i).Anonymous: // what it has may be exported
			if err := s.each(p, part(v, i), p.NumField(), part, depth+1); err != nil {
				return err
			}
			continue
		default: // not exported, so it is not encoded
			continue
		}
		inner, err := s.replace(part(v, i), depth+1)
		if err != nil {
			return err
		}
		part(c, i).Set(inner)
	}
	return nil
}

func (s *standIns) float(v reflect.Value) reflect.Value {
	var n float32
	switch f := v.Float(); {
	case math.IsNaN(f):
		n = s.nan
	case math.IsInf(f, 1):
		n = s.inf
	case math.IsInf(f, -1):
		n = s.minusInf
	default:
		return v
	}
	return reflect.ValueOf(n).Convert(v.Type())
}
