package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// own is a handler for values of type string only.
type own struct {
	PyTreeHandler
	name string
}

func (h own) Type() string          { return "test." + h.name }
func (own) CanSave(v any) bool      { _, ok := v.(string); return ok }
func (own) CanLoad(target any) bool { _, ok := target.(*string); return ok }

type position struct{ at int }

func (p *position) State() ([]byte, error)      { return json.Marshal(p.at) }
func (p *position) SetState(state []byte) error { return json.Unmarshal(state, &p.at) }

// stringState is a Stateful object.
type stringState string

func (stringState) SaveState(context.Context) (WriteFunc, error) { return nil, nil }
func (stringState) LoadState(context.Context, *ReadDir) error    { return nil }

func TestForSave(t *testing.T) {
	var r Registry
	r.Add(own{name: "first"})
	r.Add(own{name: "second"})
	r.Bind("bound", own{name: "bound"})
	r.Bind("config", JSONHandler{})
	for _, c := range []struct {
		r    *Registry
		name string
		v    any
		want string
	}{
		{nil, "state", map[string]any{"a": 1}, PyTreeHandler{}.Type()},
		{nil, "state", "text", PyTreeHandler{}.Type()},
		{nil, "state", json.RawMessage("1"), JSONHandler{}.Type()},
		{nil, "state", JSON{1}, JSONHandler{}.Type()},
		{nil, "state", &JSON{1}, JSONHandler{}.Type()},
		{nil, "state", wrapperspb.Int32(1), ProtoHandler{}.Type()},
		{nil, "state", DatasetIterator(&position{}), StatefulHandler{}.Type()},
		{&Registry{}, "state", 1, PyTreeHandler{}.Type()},
		{&r, "state", "text", "test.second"},
		{&r, "state", 1, PyTreeHandler{}.Type()},
		{&r, "bound", "text", "test.bound"},
		{&r, "bound", 1, "test.bound"}, // whatever the type of the value
		{&r, "config", map[string]any{}, JSONHandler{}.Type()},
		{&r, "config", DatasetIterator(&position{}), StatefulHandler{}.Type()},
		{&r, "bound", stringState("x"), StatefulHandler{}.Type()},
	} {
		h, err := c.r.ForSave(c.name, c.v)
		if err != nil || h.Type() != c.want {
			t.Errorf("%s, %T: %v, %v, want %s", c.name, c.v, h, err, c.want)
		}
	}
	if h, err := r.ForSave("state", nil); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("nil: %v, %v", h, err)
	}
}

func TestForLoad(t *testing.T) {
	var r Registry
	r.Add(own{name: "first"})
	r.Add(own{name: "second"})
	r.Bind("bound", own{name: "bound"})
	const prefix = "orbax.checkpoint.experimental.v1._src.handlers."
	pytree, jsonType, proto, stateful := PyTreeHandler{}.Type(), JSONHandler{}.Type(), ProtoHandler{}.Type(), StatefulHandler{}.Type()
	for _, c := range []struct {
		r         *Registry
		name, typ string
		target    any
		want      string
	}{
		// Without a target the recorded type decides. The default is a pytree.
		{nil, "state", pytree, nil, pytree},
		{nil, "state", "", nil, pytree},
		{nil, "state", "some.Unknown", nil, pytree},
		{nil, "state", jsonType, nil, jsonType},
		{nil, "state", prefix + "json_handler.JsonHandler", nil, jsonType},
		{nil, "state", proto, nil, proto},
		{nil, "state", stateful, nil, stateful},
		// These are class names of earlier versions.
		{nil, "state", "orbax.checkpoint._src.handlers.json_checkpoint_handler.JsonCheckpointHandler", nil, jsonType},
		{nil, "state", "orbax.checkpoint._src.handlers.standard_checkpoint_handler.StandardCheckpointHandler", nil, pytree},
		{nil, "state", "orbax.checkpoint._src.handlers.pytree_checkpoint_handler.PyTreeCheckpointHandler", nil, pytree},
		{nil, "state", "orbax.checkpoint._src.handlers.proto_checkpoint_handler.ProtoCheckpointHandler", nil, proto},
		// With a target the recorded type decides if the target fits it, else the type of
		// the target.
		{nil, "state", pytree, &map[string]any{}, pytree},
		{nil, "state", jsonType, &JSON{}, jsonType},
		{nil, "state", jsonType, &map[string]any{}, ""}, // a pytree handler takes the target, but JSON was saved
		{nil, "state", "", JSON{}, jsonType},
		{nil, "state", "", DatasetIterator(&position{}), stateful},
		{nil, "state", "", wrapperspb.Int32(1), proto},
		{nil, "state", stateful, DatasetIterator(&position{}), stateful},
		{nil, "state", pytree, DatasetIterator(&position{}), pytree}, // the pytree handler refuses the target
		// Bound names come first if they accept the target.
		{&r, "bound", pytree, nil, "test.bound"},
		{&r, "bound", pytree, new(string), "test.bound"},
		{&r, "bound", pytree, new(int), pytree},
		{&r, "bound", "", new(int), pytree},
		// Handlers that were added last come before the others.
		{&r, "state", "test.first", nil, "test.first"},
		{&r, "state", "test.first", new(string), "test.first"},
		{&r, "state", "", new(string), "test.second"},
		{&r, "state", pytree, new(string), pytree},
	} {
		h, err := c.r.ForLoad(c.name, c.typ, c.target)
		if c.want == "" {
			if !errors.Is(err, fault.ErrStructure) || !strings.Contains(err.Error(), "handler.JSON{") {
				t.Errorf("%s by %q into %T: %v, %v, want advice", c.name, c.typ, c.target, h, err)
			}
			continue
		}
		if err != nil || h.Type() != c.want {
			t.Errorf("%s by %q into %T: %v, %v, want %s", c.name, c.typ, c.target, h, err, c.want)
		}
	}
}

// A registry can be asked, listed, copied and started empty.
func TestRegistry(t *testing.T) {
	var r Registry
	r.Add(own{name: "first"}, "old.module.First", "Second")
	r.Add(own{name: "second"})
	r.Bind("b", own{name: "bound"})
	r.Bind("a", JSONHandler{})
	list := func(r *Registry) string {
		var all []string
		for h, secondary := range r.Handlers() {
			all = append(all, layout.HandlerClass(h.Type())+fmt.Sprint(secondary))
		}
		return strings.Join(all, " ")
	}
	const standard = "StatefulCheckpointableHandler[] JsonHandler[JsonCheckpointHandler] ProtoHandler[ProtoCheckpointHandler] PyTreeHandler[StandardCheckpointHandler PyTreeCheckpointHandler JaxRandomKeyCheckpointHandler NumpyRandomKeyCheckpointHandler]"
	if got := list(&r); got != "second[] first[old.module.First Second] "+standard {
		t.Errorf("listed %s", got)
	}
	if got := list(nil); got != standard {
		t.Errorf("nil lists %s", got)
	}
	for range r.Handlers() {
		break
	}
	if h, ok := r.Bound("b"); !ok || h.Type() != "test.bound" || fmt.Sprint(r.Names()) != "[a b]" {
		t.Errorf("bound %v, %v; names %v", h, ok, r.Names())
	}
	if h, ok := (*Registry)(nil).Bound("b"); ok || (*Registry)(nil).Names() != nil {
		t.Errorf("nil has %v", h)
	}
	for typ, want := range map[string]string{"old.module.First": "test.first", "other.Second": "test.first", "test.second": "test.second", "old.module.Third": PyTreeHandler{}.Type()} {
		if h, err := r.ForLoad("state", typ, nil); err != nil || h.Type() != want {
			t.Errorf("%s is loaded by %v, %v", typ, h, err)
		}
	}
	c := r.Clone()
	c.Add(own{name: "third"})
	c.Bind("c", own{name: "bound"})
	if _, ok := r.Bound("c"); ok || strings.Contains(list(&r), "third") || !strings.HasPrefix(list(c), "third[] second[]") {
		t.Errorf("a copy is not one: %s, %s", list(&r), list(c))
	}
	if list((*Registry)(nil).Clone()) != standard {
		t.Error("the copy of nil is not the standard one")
	}
	e := EmptyRegistry()
	for name, v := range map[string]any{"a": map[string]any{"x": 1}, "b": JSON{1}, "c": DatasetIterator(&position{})} {
		if h, err := e.ForSave(name, v); !errors.Is(err, fault.ErrLeafType) {
			t.Errorf("an empty registry saves %T by %v, %v", v, h, err)
		}
		if h, err := e.ForLoad(name, PyTreeHandler{}.Type(), v); !errors.Is(err, fault.ErrUnsupported) {
			t.Errorf("an empty registry loads %T by %v, %v", v, h, err)
		}
	}
	e.Add(PyTreeHandler{})
	if h, err := e.Clone().ForSave("a", JSON{1}); err != nil || h != (PyTreeHandler{}) {
		t.Errorf("%v, %v", h, err)
	}
	if h, err := e.ForLoad("a", "", nil); err != nil || h != (PyTreeHandler{}) {
		t.Errorf("%v, %v", h, err)
	}
}
