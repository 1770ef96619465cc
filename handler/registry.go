package handler

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// Registry finds the handler of a checkpointable. The zero value and a nil *Registry have
// the handlers of this package; [EmptyRegistry] starts without them. It must not be
// changed while a save or a load uses it.
type Registry struct {
	added []registered
	bound map[string]Handler
	empty bool // without the handlers of this package
}

// registered is a handler that was added, with the recorded types that it stands in for.
type registered struct {
	Handler
	secondary []string
}

// EmptyRegistry returns a registry without handlers. It saves and loads only with
// handlers that are added or bound.
func EmptyRegistry() *Registry { return &Registry{empty: true} }

// Clone returns a copy of r that is independent of r.
func (r *Registry) Clone() *Registry {
	if r == nil {
		return &Registry{}
	}
	return &Registry{slices.Clone(r.added), maps.Clone(r.bound), r.empty}
}

// standard are the handlers of every registry that did not start empty, in reverse order
// of asking: PyTreeHandler, which takes every value, comes last.
var standard = []registered{
	{PyTreeHandler{}, []string{"StandardCheckpointHandler", "PyTreeCheckpointHandler", layout.JAXRandomKey, layout.NumPyRandomKey}},
	{ProtoHandler{}, []string{layout.OldProtoHandler}},
	{JSONHandler{}, []string{layout.OldJSONHandler}},
	{Handler: StatefulHandler{}},
}

// Add adds a handler. The registry asks it before the handlers that were added earlier
// and before those of this package. The handler also loads checkpointables whose recorded
// type is one of secondary, such as a former name of the handler.
func (r *Registry) Add(h Handler, secondary ...string) {
	r.added = append(r.added, registered{h, slices.Clone(secondary)})
}

// Bind makes h the handler of the checkpointable called name. The type of the value does
// not matter, with one exception: saves of [Stateful] values; see [Registry.ForSave].
func (r *Registry) Bind(name string, h Handler) {
	if r.bound == nil {
		r.bound = map[string]Handler{}
	}
	r.bound[name] = h
}

// Bound returns the handler that is bound to name. ok is false if there is none.
func (r *Registry) Bound(name string) (h Handler, ok bool) {
	if r == nil {
		return nil, false
	}
	h, ok = r.bound[name]
	return h, ok
}

// Names returns the names to which a handler is bound, sorted.
func (r *Registry) Names() []string {
	if r == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(r.bound))
}

// Handlers yields the handlers that are not bound to a name, in the order in which the
// registry asks them. With each it yields the secondary recorded types.
func (r *Registry) Handlers() iter.Seq2[Handler, []string] {
	return func(yield func(Handler, []string) bool) {
		r.first(func(h registered) bool { return !yield(h.Handler, slices.Clone(h.secondary)) })
	}
}

// ForSave returns the handler that saves v under name. As in Orbax, the handler of
// [Stateful] objects comes first, then the handler that is bound to the name, then the
// handler of the value's type. ForSave refuses some values that would otherwise be saved
// as pytrees of their fields: an [Iterator], and a value whose pointer is an Iterator or
// is Stateful. The error matches orbax.ErrLeafType. To save such a value as a pytree,
// bind the name to [PyTreeHandler].
func (r *Registry) ForSave(name string, v any) (Handler, error) {
	if _, ok := v.(Stateful); ok {
		if h := r.first(func(h registered) bool { return h.CanSave(v) }); h != nil {
			return h, nil
		}
	}
	if h, ok := r.Bound(name); ok {
		return h, nil
	}
	h := r.first(func(h registered) bool { return h.CanSave(v) })
	if _, tree := h.(TreeHandler); tree && v != nil && h.CanSave(anything{}) {
		if err := notTree(name, v); err != nil {
			return nil, err
		}
	}
	if h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("%w: no handler saves checkpointable %q of type %T", fault.ErrLeafType, name, v)
}

// anything is a type that no handler knows, so a handler that takes it takes every value.
type anything struct{}

// notTree refuses a value that would by mistake be saved as a pytree of its fields.
func notTree(name string, v any) error {
	t := reflect.TypeOf(v)
	has := func(pointer bool, i reflect.Type) bool {
		return t.Implements(i) || pointer && reflect.PointerTo(t).Implements(i)
	}
	switch {
	case has(true, reflect.TypeFor[Stateful]()):
		return fmt.Errorf("%w: checkpointable %q: *%T is Stateful, %T is not; pass a pointer", fault.ErrLeafType, name, v, v)
	case has(false, reflect.TypeFor[Iterator]()):
		return fmt.Errorf("%w: checkpointable %q: a %T is a handler.Iterator; wrap it in handler.DatasetIterator, or if several processes save together in handler.DatasetIteratorOf with the rank of this one and their number, to save its position; or bind the name to handler.PyTreeHandler to save its fields",
			fault.ErrLeafType, name, v)
	case has(true, reflect.TypeFor[Iterator]()):
		return fmt.Errorf("%w: checkpointable %q: a *%T is a handler.Iterator; wrap a pointer in handler.DatasetIterator, or if several processes save together in handler.DatasetIteratorOf with the rank of this one and their number, to save its position; or bind the name to handler.PyTreeHandler to save its fields",
			fault.ErrLeafType, name, v)
	}
	return nil
}

// ForLoad returns the handler that loads the checkpointable called name into target. typ
// is the Type of the handler that saved it, "" if that is unknown. A nil target loads the
// checkpointable as it was saved. As in Orbax, the handler that is bound to the name
// comes first, then the recorded type, then the type of the target. The last resort is
// the handler of pytrees: PyTreeHandler, or a handler that was added with PyTreeHandler's
// Type as a secondary type.
func (r *Registry) ForLoad(name, typ string, target any) (Handler, error) {
	fits := func(h Handler) bool { return target == nil || h.CanLoad(target) }
	if h, ok := r.Bound(name); ok && fits(h) {
		return h, nil
	}
	if h := r.first(func(h registered) bool { return h.loads(typ) && fits(h.Handler) }); h != nil {
		return h, nil
	}
	// A handler of trees that takes every target is not chosen for a checkpointable that
	// is known to be of another kind.
	claims := func(h registered) bool {
		_, tree := h.Handler.(TreeHandler)
		return target != nil && h.CanLoad(target) && !(tree && h.CanLoad(anything{}))
	}
	if h := r.first(claims); h != nil {
		return h, nil
	}
	if r.Knows(typ) {
		return nil, fmt.Errorf("%w: checkpointable %q was saved by %s, which does not load into %T%s",
			fault.ErrStructure, name, layout.HandlerClass(typ), target, advice[layout.HandlerClass(typ)])
	}
	if h := r.first(func(h registered) bool { return h.loads(PyTreeHandler{}.Type()) }); h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("%w: no handler loads checkpointable %q, which was saved by %q", fault.ErrUnsupported, name, typ)
}

// advice names the targets that the handlers of this package load into.
var advice = map[string]string{
	layout.HandlerClass(JSONHandler{}.Type()):     "; use handler.JSON{Value: pointer}",
	layout.HandlerClass(ProtoHandler{}.Type()):    "; use a proto.Message",
	layout.HandlerClass(StatefulHandler{}.Type()): "; use a handler.Stateful, such as handler.DatasetIterator(it)",
}

// Knows reports whether the registry has a handler for the recorded type typ.
func (r *Registry) Knows(typ string) bool {
	return r.first(func(h registered) bool { return h.loads(typ) }) != nil
}

// first returns the matching handler that is asked first, or nil.
func (r *Registry) first(match func(registered) bool) Handler {
	lists := [][]registered{standard}
	switch {
	case r == nil:
	case r.empty:
		lists = [][]registered{r.added}
	default:
		lists = append(lists, r.added)
	}
	for _, list := range slices.Backward(lists) {
		for _, h := range slices.Backward(list) {
			if match(h) {
				return h.Handler
			}
		}
	}
	return nil
}

// loads reports whether the handler loads checkpointables of the recorded type typ. It
// does if typ is its own type, a secondary type, or an Orbax v0 class that is listed as
// secondary by its bare class name. Orbax has several classes, old and new, that write
// the same files.
func (h registered) loads(typ string) bool {
	return h.Type() == typ || slices.Contains(h.secondary, typ) || slices.Contains(h.secondary, layout.HandlerClass(typ))
}
