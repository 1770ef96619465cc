package interop

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
)

// grainState is an iterator whose position only Python understands.
type grainState struct{ state json.RawMessage }

func (g *grainState) State() ([]byte, error) { return g.state, nil }

func (g *grainState) SetState(state []byte) error {
	g.state = slices.Clone(state)
	return nil
}

// exampleMessages are protocol buffers that both languages know.
func exampleMessages(t *testing.T) map[string]proto.Message {
	t.Helper()
	s, err := structpb.NewStruct(map[string]any{
		"text": "é\n\"'\\ \u2028 \x00", "number": 0.1, "list": []any{true, nil, "x", map[string]any{}}, "": -1e300,
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]proto.Message{
		"struct":    s,
		"timestamp": timestamppb.New(time.Unix(-12, 345)),
		"int64":     wrapperspb.Int64(-1 << 63),
		"uint64":    wrapperspb.UInt64(1<<64 - 1),
		"float":     wrapperspb.Float(0.1),
		"double":    wrapperspb.Double(5e-324),
		"bytes":     wrapperspb.Bytes([]byte{0, 1, 0xff, '"', '\\', '\n'}),
		"string":    wrapperspb.String("🙂 '\"\t"),
		"empty":     &structpb.Struct{},
	}
}

func TestProtos(t *testing.T) {
	needPython(t)
	messages := exampleMessages(t)
	items, ask, targets, values := request{}, request{}, map[string]any{}, map[string]any{}
	for name, m := range messages {
		doc, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		typ := string(m.ProtoReflect().Descriptor().FullName())
		items[name] = request{"kind": "proto", "type": typ, "json": json.RawMessage(doc)}
		ask[name] = request{"kind": "proto", "type": typ}
		targets[name] = m.ProtoReflect().New().Interface()
		values[name] = m
	}
	t.Run("Python to Go", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		mustCall(t, "save_checkpointables", request{"path": path, "items": items}, nil)
		loaded, err := orbax.LoadCheckpointables(t.Context(), path, targets)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range messages {
			if got, _ := loaded[name].(proto.Message); !proto.Equal(got, want) {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
	})
	t.Run("Go to Python", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		if err := orbax.SaveCheckpointables(t.Context(), path, values); err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Items map[string]struct{ Binary []byte }
		}
		mustCall(t, "load_checkpointables", request{"path": path, "items": ask}, &answer)
		for name, want := range messages {
			got := want.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(answer.Items[name].Binary, got); err != nil || !proto.Equal(got, want) {
				t.Errorf("%s: got %v, want %v (%v)", name, got, want, err)
			}
		}
	})
}

// TestCheckpointables sends checkpoints of several parts both ways, with a
// dataset iterator that goes on where it was.
func TestCheckpointables(t *testing.T) {
	needPython(t)
	w := array.Of([]float32{1, 2, 3})
	document := map[string]any{"name": "é", "list": []any{1, 0.5, nil, true}, "nested": map[string]any{"": "x"}}
	path := filepath.Join(t.TempDir(), "python")
	var saved struct {
		Items map[string]struct{ Taken []int }
	}
	grain := request{"kind": "grain", "n": 100, "seed": 7, "steps": 5}
	mustCall(t, "save_checkpointables", request{"path": path, "items": request{
		"model":  request{"kind": "pytree", "tree": dict("w", arrayNode("jax", w))},
		"config": request{"kind": "json", "value": document},
		"data":   grain,
	}}, &saved)

	// Python to Go, in Go's own types and as it is.
	var model struct {
		W []float32 `orbax:"w"`
	}
	var config struct {
		Name   string
		List   []any
		Nested map[string]string
	}
	var it grainState
	targets := map[string]any{"model": &model, "config": handler.JSON{Value: &config}, "data": handler.DatasetIterator(&it)}
	if _, err := orbax.LoadCheckpointables(t.Context(), path, targets); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(model.W, []float32{1, 2, 3}) || config.Name != "é" || len(config.List) != 4 || config.Nested[""] != "x" || !json.Valid(it.state) {
		t.Errorf("got %v, %+v, %s", model, config, it.state)
	}
	loaded, err := orbax.LoadCheckpointables(t.Context(), path, map[string]any{"model": nil, "config": nil})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(loaded["config"], document) {
		t.Errorf("config is %v", loaded["config"])
	}
	mustEqual(t, "model", dict("w", arrayNode("jax", w)), mustNode(t, loaded["model"]))

	// Go to Python.
	again := filepath.Join(t.TempDir(), "go")
	err = orbax.SaveCheckpointables(t.Context(), again, map[string]any{
		"model": model, "config": handler.JSON{Value: document}, "data": handler.DatasetIterator(&it),
	})
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Items map[string]struct {
			Tree  *node
			Value any
			Next  []int
		}
	}
	grain["take"] = 10
	ask := request{"model": request{"kind": "pytree"}, "config": request{"kind": "json"}, "data": grain}
	mustCall(t, "load_checkpointables", request{"path": again, "items": ask}, &answer)
	mustEqual(t, "model", dict("w", arrayNode("np", w)), answer.Items["model"].Tree)
	if got, _ := json.Marshal(answer.Items["config"].Value); string(got) != `{"list":[1,0.5,null,true],"name":"é","nested":{"":"x"}}` {
		t.Errorf("config is %s", got)
	}
	var whole struct {
		Items map[string]struct{ Taken []int }
	}
	mustCall(t, "save_checkpointables", request{"path": filepath.Join(t.TempDir(), "whole"), "items": request{
		"data": request{"kind": "grain", "n": 100, "seed": 7, "steps": 15},
	}}, &whole)
	if got := slices.Concat(saved.Items["data"].Taken, answer.Items["data"].Next); !slices.Equal(got, whole.Items["data"].Taken) {
		t.Errorf("the iterator gives %v, without the stop %v", got, whole.Items["data"].Taken)
	}

	// What Python tells of Go's parts.
	var m pyMetadata
	mustCall(t, "checkpointables_metadata", request{"path": again}, &m)
	if len(m.Items) != 3 || len(m.Items["model"]) != 1 || m.Items["model"][0].DType != "float32" {
		t.Errorf("Python tells %+v", m.Items)
	}
	g, err := orbax.CheckpointablesMetadata(t.Context(), path)
	if err != nil || len(g.Checkpointables) != 3 {
		t.Errorf("Go tells %+v, %v", g, err)
	}
}
