package handler

import (
	"fmt"
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
	if h, ok := r.bind(name); ok {
		return h, nil
	}
	if h := r.first(func(h Handler) bool { return h.CanSave(v) }); h != nil {
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
	if h, ok := r.bind(name); ok && fits(h) {
		return h, nil
	}
	if h := r.first(func(h Handler) bool { return sameType(h.Type(), typ) && fits(h) }); h != nil {
		return h, nil
	}
	if target == nil {
		return PyTreeHandler{}, nil
	}
	if h := r.first(func(h Handler) bool { return h.CanLoad(target) }); h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("%w: no handler loads checkpointable %q (saved by %q) into %T", fault.ErrLeafType, name, typ, target)
}

// Knows reports whether the registry has a handler for the recorded type typ.
func (r *Registry) Knows(typ string) bool {
	return r.first(func(h Handler) bool { return sameType(h.Type(), typ) }) != nil
}

func (r *Registry) bind(name string) (Handler, bool) {
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

// sameType compares recorded handler types. Orbax has several classes, old and
// new, that write the same files.
func sameType(ours, recorded string) bool {
	if ours == recorded {
		return true
	}
	_, class, _ := cutLast(recorded, ".")
	_, own, _ := cutLast(ours, ".")
	return slices.Contains(aliases[own], class)
}

// aliases lists by class name the classes of Orbax v0 that its v1 handlers
// stand in for.
var aliases = map[string][]string{
	"PyTreeHandler": {"StandardCheckpointHandler", "PyTreeCheckpointHandler"},
	"JsonHandler":   {"JsonCheckpointHandler"},
	"ProtoHandler":  {"ProtoCheckpointHandler"},
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}
