package handler

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// Registry finds the handler of a checkpointable. The zero value knows the
// handlers of this package. It must not be changed while a save or a load uses
// it.
type Registry struct {
	added []Handler
	bound map[string]Handler
}

// standard are the handlers that every registry has, the last asked first:
// pytrees take every value.
var standard = []Handler{PyTreeHandler{}, ProtoHandler{}, JSONHandler{}, StatefulHandler{}}

// Add adds a handler, which is asked before those added earlier and before the
// handlers of this package.
func (r *Registry) Add(h Handler) { r.added = append(r.added, h) }

// Bind makes h the handler of the checkpointable called name, whatever its
// type, unless it is Stateful.
func (r *Registry) Bind(name string, h Handler) {
	if r.bound == nil {
		r.bound = map[string]Handler{}
	}
	r.bound[name] = h
}

// ForSave returns the handler that saves v under name. As in Orbax a Stateful
// object comes first, then the binding of the name, then the type of the value.
func (r *Registry) ForSave(name string, v any) (Handler, error) {
	if _, ok := v.(Stateful); ok {
		return r.first(func(h Handler) bool { return h.CanSave(v) }), nil
	}
	if h, ok := r.boundTo(name); ok {
		return h, nil
	}
	h := r.first(func(h Handler) bool { return h.CanSave(v) })
	_, tree := h.(PyTreeHandler)
	if t := reflect.TypeOf(v); tree && t != nil && reflect.PointerTo(t).Implements(reflect.TypeFor[Stateful]()) {
		return nil, fmt.Errorf("%w: checkpointable %q: *%T is Stateful, %T is not; pass a pointer", fault.ErrLeafType, name, v, v)
	}
	if h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("%w: no handler saves checkpointable %q of type %T", fault.ErrLeafType, name, v)
}

// ForLoad returns the handler that loads the checkpointable called name, saved
// by the handler whose Type was typ ("" if unknown), into target (nil to load
// as saved). As in Orbax the binding of the name comes first, then the recorded
// type, then the type of the target, and a pytree is the last resort.
func (r *Registry) ForLoad(name, typ string, target any) (Handler, error) {
	fits := func(h Handler) bool { return target == nil || h.CanLoad(target) }
	if h, ok := r.boundTo(name); ok && fits(h) {
		return h, nil
	}
	if h := r.first(func(h Handler) bool { return sameType(h.Type(), typ) && fits(h) }); h != nil {
		return h, nil
	}
	// A pytree takes every target, so it is no choice for what is known to be
	// of another kind.
	claims := func(h Handler) bool {
		_, tree := h.(PyTreeHandler)
		return !tree && target != nil && h.CanLoad(target)
	}
	if h := r.first(claims); h != nil {
		return h, nil
	}
	if r.Knows(typ) {
		return nil, fmt.Errorf("%w: checkpointable %q was saved by %s, which does not load into %T%s",
			fault.ErrStructure, name, className(typ), target, advice[className(typ)])
	}
	return PyTreeHandler{}, nil
}

// advice says what the handlers of this package load into.
var advice = map[string]string{
	className(JSONHandler{}.Type()):     "; use handler.JSON{Value: pointer}",
	className(ProtoHandler{}.Type()):    "; use a proto.Message",
	className(StatefulHandler{}.Type()): "; use a handler.Stateful",
}

// Knows reports whether the registry has a handler for the recorded type typ.
func (r *Registry) Knows(typ string) bool {
	return r.first(func(h Handler) bool { return sameType(h.Type(), typ) }) != nil
}

func (r *Registry) boundTo(name string) (Handler, bool) {
	if r == nil {
		return nil, false
	}
	h, ok := r.bound[name]
	return h, ok
}

// first returns the handler that was added last of those that match, or nil.
func (r *Registry) first(match func(Handler) bool) Handler {
	lists := [][]Handler{standard}
	if r != nil {
		lists = append(lists, r.added)
	}
	for _, list := range slices.Backward(lists) {
		for _, h := range slices.Backward(list) {
			if match(h) {
				return h
			}
		}
	}
	return nil
}

// typePrefix begins the recorded types of Orbax's own handlers.
const typePrefix = "orbax.checkpoint.experimental.v1._src.handlers."

// sameType compares recorded handler types. Orbax has several classes, old and
// new, that write the same files.
func sameType(ours, recorded string) bool {
	if ours == recorded {
		return true
	}
	return slices.Contains(aliases[className(ours)], className(recorded))
}

// IsStateful reports whether a recorded type is that of StatefulHandler.
func IsStateful(typ string) bool { return sameType(StatefulHandler{}.Type(), typ) }

// TypeByFiles returns the type of the handler that can load what is in dir, where
// no type is recorded for it; "" for a pytree, and if nothing tells.
func TypeByFiles(ctx context.Context, dir *ReadDir) string {
	for _, name := range jsonFiles {
		if _, err := dir.stat(ctx, name); err == nil {
			return JSONHandler{}.Type()
		}
	}
	return ""
}

// IsRandomKeyType reports whether a recorded type is that of a handler of random
// generators of Orbax v0; see IsRandomKey.
func IsRandomKeyType(typ string) bool {
	name := className(typ)
	return name == jaxRandomKey || name == numpyRandomKey
}

// The classes of Orbax v0 that save the state of random generators, as a pytree in a
// directory of their own.
const (
	jaxRandomKey   = "JaxRandomKeyCheckpointHandler"
	numpyRandomKey = "NumpyRandomKeyCheckpointHandler"
)

func className(typ string) string { return typ[strings.LastIndexByte(typ, '.')+1:] }

// aliases lists by class name the classes of Orbax v0 that its v1 handlers
// stand in for.
var aliases = map[string][]string{
	"PyTreeHandler": {"StandardCheckpointHandler", "PyTreeCheckpointHandler", jaxRandomKey, numpyRandomKey},
	"JsonHandler":   {"JsonCheckpointHandler"},
	"ProtoHandler":  {"ProtoCheckpointHandler"},
}
