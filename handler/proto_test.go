package handler

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/go-orbax/orbax/internal/fault"
)

// Save refuses a message that its text could not give back.
func TestProtoRefuses(t *testing.T) {
	unknown := &structpb.ListValue{}
	unknown.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1})
	for name, m := range map[string]proto.Message{"unknown": unknown, "UTF-8": structpb.NewStringValue("\xff")} {
		if write, err := (ProtoHandler{}).Save(t.Context(), m, SaveOptions{}); !errors.Is(err, fault.ErrLeafType) || write != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The text of deeply nested messages grows with the square of their number: 20,000 levels
// take gigabytes. Save refuses such messages before it makes the text.
func TestProtoDepth(t *testing.T) {
	null := structpb.NewNullValue
	list := func(v *structpb.Value) *structpb.Value {
		return structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{v}})
	}
	object := func(v *structpb.Value) *structpb.Value {
		return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"k": v}})
	}
	wrapped := func(n int, m proto.Message) proto.Message {
		for range n {
			value, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			m = &anypb.Any{TypeUrl: "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()), Value: value}
		}
		return m
	}
	nested := func(n int, wrap func(*structpb.Value) *structpb.Value, v *structpb.Value) *structpb.Value {
		for range n {
			v = wrap(v)
		}
		return v
	}
	cycle := &structpb.ListValue{}
	cycle.Values = []*structpb.Value{structpb.NewListValue(cycle)}
	for name, c := range map[string]struct {
		m  proto.Message
		ok bool
	}{
		"255 levels of lists":       {nested(127, list, null()), true},
		"257 levels of lists":       {nested(128, list, null()), false},
		"20,001 levels of lists":    {nested(10_000, list, null()), false},
		"100,001 levels":            {nested(50_000, list, null()), false},
		"256 levels with entries":   {nested(85, object, null()), true},
		"257 levels, entries":       {nested(85, object, list(null())), false},
		"many levels with entries":  {nested(10_000, object, null()), false},
		"255 levels of Any":         {wrapped(254, null()), true},
		"256 levels of Any":         {wrapped(255, null()), true},
		"257 levels of Any":         {wrapped(256, null()), false},
		"lists in an Any":           {wrapped(1, nested(127, list, null())), true},
		"more lists in an Any":      {wrapped(2, nested(127, list, null())), false},
		"a message that has itself": {cycle, false},
	} {
		began := time.Now()
		write, err := (ProtoHandler{}).Save(t.Context(), c.m, SaveOptions{})
		switch {
		case c.ok && err != nil:
			t.Errorf("%s: %v", name, err)
		case !c.ok && (!errors.Is(err, fault.ErrLeafType) || write != nil):
			t.Errorf("%s: %v", name, err)
		case !c.ok && !strings.Contains(err.Error(), "256 levels"):
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s: %v", name, d)
		}
	}
}
