package layout

import (
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
)

func pythonNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = pythonNumbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = pythonNumbers(v[i])
		}
	case json.Number:
		return exactNumber(v)
	}
	return v
}

// WordsIn replaces the numbers of [SpellWords] in a decoded value by the floats that they
// represent, which [EncodeNumbers] accepts. The value has [json.Number] for each number.
// All other numbers stay exact.
func WordsIn(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = WordsIn(v[k])
		}
	case []any:
		for i := range v {
			v[i] = WordsIn(v[i])
		}
	case json.Number:
		if f, ok := exactNumber(v).(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return f
		}
	}
	return v
}

// exactNumber returns a number of a document. An integer becomes an int if it fits, else
// a uint64, else a *big.Int. Other numbers, and -0, become a float64; out of range that
// is ±Inf, as in Python. An integer that is too long for Python stays a json.Number.
func exactNumber(n json.Number) any {
	switch {
	case n == nan:
		return math.NaN()
	case n == "-0" || strings.ContainsAny(string(n), ".eE"):
		f, _ := n.Float64()
		return f
	}
	if i, err := strconv.Atoi(string(n)); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return u
	}
	if len(n) <= maxJSONDigits+1 {
		if i, ok := new(big.Int).SetString(string(n), 10); ok {
			return i
		}
	}
	return n
}

// NumbersIn replaces each [json.Number] in the variables of type any that the pointer v
// leads to, by the number that [DecodeJSON] returns for it.
func NumbersIn(v any) { numbers{}.in(reflect.ValueOf(v)) }

// numbers is the set of pointers and maps that have been searched.
type numbers map[any]bool

func (seen numbers) in(v reflect.Value) {
	switch k := v.Kind(); k {
	case reflect.Pointer, reflect.Map:
		if v.IsNil() || !mayHoldAny(v.Type().Elem()) || seen[[2]any{v.Type(), v.Pointer()}] {
			return
		}
		seen[[2]any{v.Type(), v.Pointer()}] = true
		if k == reflect.Pointer {
			seen.in(v.Elem())
			return
		}
		for _, key := range v.MapKeys() {
			e := reflect.New(v.Type().Elem()).Elem()
			e.Set(v.MapIndex(key))
			seen.in(e)
			v.SetMapIndex(key, e)
		}
	case reflect.Interface:
		switch x := v.Interface().(type) {
		case json.Number, map[string]any, []any:
			if v.NumMethod() == 0 {
				v.Set(reflect.ValueOf(pythonNumbers(x)))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !mayHoldAny(v.Type().Elem()) {
				return
			}
			seen.in(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				seen.in(v.Field(i))
			}
		}
	}
}

// mayHoldAny reports whether a t may contain a variable of type any.
func mayHoldAny(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Interface, reflect.Slice, reflect.Array, reflect.Struct:
		return true
	}
	return false
}
