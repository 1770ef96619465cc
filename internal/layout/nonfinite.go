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

// EncodeNumbers is [EncodeJSON] that also accepts NaN and the infinities. Like Python's
// json module, it writes them as the bare words NaN, Infinity and -Infinity, which
// [DecodeJSON] reads.
func EncodeNumbers(v any) ([]byte, error) {
	doc, err := EncodeJSON(v)
	var unsupported *json.UnsupportedValueError
	if !errors.As(err, &unsupported) || !unsupported.Value.CanFloat() {
		return doc, err
	}
	// Package json cannot write the words. It therefore encodes a copy of v with ordinary
	// numbers in their place, and the words replace these numbers in the text. If v
	// itself contains one of the numbers, the next try with other numbers gives another
	// document.
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

// encodeStandIns is EncodeNumbers, provided that v does not contain the stand-ins.
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

// standIns are numbers that represent the values that JSON cannot spell.
type standIns struct {
	nan, inf, minusInf float32 // float32 values, which every float type holds exactly
}

func newStandIns() *standIns {
	random := func() float32 { return math.Float32frombits(0x7e00_0000 | rand.Uint32N(1<<23)) }
	s := &standIns{nan: random(), inf: random(), minusInf: random()}
	if s.nan == s.inf || s.nan == s.minusInf || s.inf == s.minusInf {
		return newStandIns()
	}
	return s
}

// words replaces the stand-ins by the words.
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

// maxCopied is the depth to which a value is copied. EncodeJSON has refused cycles
// before.
const maxCopied = 10_000

// replace returns v, or a copy of v with stand-ins for the floats that are not finite.
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
		c.Set(v) // includes unexported fields
		return c, s.each(c, v, v.NumField(), reflect.Value.Field, depth)
	}
	return v, nil
}

// encodesItself reports whether values of type t encode themselves to JSON.
func encodesItself(t reflect.Type) bool {
	for _, t := range []reflect.Type{t, reflect.PointerTo(t)} {
		if t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
			return true
		}
	}
	return false
}

// each sets the elements or fields of c to the replacements of those of v.
func (s *standIns) each(c, v reflect.Value, n int, part func(reflect.Value, int) reflect.Value, depth int) error {
	for i := range n {
		switch p := part(c, i); {
		case p.CanSet():
		case p.Kind() == reflect.Struct && c.Type().Field(i).Anonymous: // its fields may be exported
			if err := s.each(p, part(v, i), p.NumField(), part, depth+1); err != nil {
				return err
			}
			continue
		default: // an unexported field is not encoded
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
