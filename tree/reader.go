package tree

import (
	"fmt"
	"reflect"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// readerForm says whether values of a type are leaves as an array.Reader.
type readerForm uint8

const (
	notReader readerForm = iota
	isReader
	readerByValue // the pointer to the type is a Reader
)

// readerForm returns the form of t. An *array.Array has its own rules. A struct that
// embeds a Reader or an Array has its methods too, and may have further fields, which
// would be lost: it counts as a struct.
func (ts *types) readerForm(t reflect.Type) readerForm {
	switch t.Kind() {
	case reflect.Struct:
	case reflect.Pointer:
		if t.Elem() == arrayType {
			return notReader
		}
	default:
		if t.PkgPath() == "" || t.Kind() == reflect.Interface {
			return notReader
		}
	}
	form, ok := ts.readers[t]
	if ok {
		return form
	}
	switch {
	case baseOf(t) == arrayType, embedsReader(baseOf(t)):
	case t.Implements(readerType):
		form = isReader
	case reflect.PointerTo(t).Implements(readerType):
		form = readerByValue
	}
	ts.readers[t] = form
	return form
}

// baseOf returns the type that t points at, or t if it is not a pointer.
func baseOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

func embedsReader(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && (f.Type.Implements(readerType) || reflect.PointerTo(f.Type).Implements(readerType)) {
			return true
		}
	}
	return false
}

func (f *flattener) reader(v reflect.Value) {
	if f.readerForm(v.Type()) == readerByValue {
		f.fail(errByValue(v.Type()))
		return
	}
	if isNil(v) {
		f.leaf(None)
		return
	}
	r := v.Interface().(array.Reader)
	if r.DType().Size() == 0 {
		f.fail(fmt.Errorf("%w: an %v without a dtype", fault.ErrLeafType, baseOf(v.Type())))
		return
	}
	if _, err := array.NumElements(r.Shape()); err != nil {
		f.fail(err)
		return
	}
	f.leaf(r)
}
