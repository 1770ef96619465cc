package handler

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/go-orbax/orbax/internal/fault"
)

// ProtoHandler stores a protocol buffer in the text format, as proto.pbtxt. The
// text does not name its message, so loading needs a message to fill.
type ProtoHandler struct{}

const protoFile = "proto.pbtxt"

// Type returns the name of Orbax's own handler of protocol buffers.
func (ProtoHandler) Type() string { return typePrefix + "proto_handler.ProtoHandler" }

// CanSave takes every proto.Message.
func (ProtoHandler) CanSave(v any) bool { _, ok := v.(proto.Message); return ok }

// Save encodes v at once, so that the caller may change it.
func (ProtoHandler) Save(_ context.Context, v any, _ SaveOptions) (WriteFunc, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%w: %T is not a proto.Message", fault.ErrLeafType, v)
	}
	// Python does not know the package that would resolve an Any's type.
	text, err := prototext.MarshalOptions{Multiline: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, dir *WriteDir) error {
		return dir.WriteFile(ctx, protoFile, text)
	}, nil
}

// CanLoad takes every proto.Message.
func (ProtoHandler) CanLoad(target any) bool { _, ok := target.(proto.Message); return ok }

// Load replaces the contents of target. Without one, and where the text is that
// of another message, the error matches orbax.ErrStructure; a missing text
// matches fs.ErrNotExist.
func (ProtoHandler) Load(ctx context.Context, dir *ReadDir, target any, _ LoadOptions) (any, error) {
	m, ok := target.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%w: a protocol buffer needs a proto.Message to load into, not %T", fault.ErrStructure, target)
	}
	text, err := dir.ReadFile(ctx, protoFile)
	if err != nil {
		return nil, err
	}
	if err := prototext.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", fault.ErrStructure, protoFile, err)
	}
	return m, nil
}

// Metadata has nothing to say.
func (ProtoHandler) Metadata(context.Context, *ReadDir) (any, error) { return nil, nil }
