package handler

import (
	"cmp"
	"context"
	"fmt"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// ProtoHandler stores a protocol buffer in the text format, as proto.pbtxt. The
// text does not name its message, so loading needs a message to fill.
type ProtoHandler struct {
	// File, if set, is the name of the text, in place of proto.pbtxt. A load looks for
	// it first.
	File string
}

// Type returns the name of Orbax's own handler of protocol buffers.
func (ProtoHandler) Type() string { return layout.ProtoHandler }

// CanSave takes every proto.Message.
func (ProtoHandler) CanSave(v any) bool { _, ok := v.(proto.Message); return ok }

// Save encodes v at once, so that the caller may change it. What the text does not
// hold, or could not be loaded from it, here or in Python, is an error that matches
// orbax.ErrLeafType: unknown fields, strings that are not UTF-8, and messages that are
// nested more than 256 levels deep, where the entry of a map is a level.
func (h ProtoHandler) Save(_ context.Context, v any, _ SaveOptions) (WriteFunc, error) {
	if err := checkFile(h.File); err != nil {
		return nil, err
	}
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%w: %T is not a proto.Message", fault.ErrLeafType, v)
	}
	if err := checkProtoDepth(m.ProtoReflect(), maxProtoDepth); err != nil {
		return nil, fmt.Errorf("%w: %T: %w", fault.ErrLeafType, v, err)
	}
	text, err := prototext.MarshalOptions{Multiline: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%w: %T: %w", fault.ErrLeafType, v, err)
	}
	// The text has no unknown fields.
	again := m.ProtoReflect().New().Interface()
	if err := prototext.Unmarshal(text, again); err != nil {
		return nil, fmt.Errorf("%w: %T cannot be loaded from its text: %w", fault.ErrLeafType, v, err)
	}
	if !proto.Equal(m, again) {
		return nil, fmt.Errorf("%w: %T is not the same when it is loaded from its text, which has no unknown fields", fault.ErrLeafType, v)
	}
	return func(ctx context.Context, dir *WriteDir) error {
		return dir.WriteFile(ctx, cmp.Or(h.File, layout.ProtoFile), text)
	}, nil
}

// CanLoad takes every proto.Message.
func (ProtoHandler) CanLoad(target any) bool { _, ok := target.(proto.Message); return ok }

// Load replaces the contents of target. Without one, and where the text is that
// of another message, the error matches orbax.ErrStructure; a missing text
// matches fs.ErrNotExist.
func (h ProtoHandler) Load(ctx context.Context, dir *ReadDir, target any, _ LoadOptions) (any, error) {
	m, ok := target.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%w: a protocol buffer needs a proto.Message to load into, not %T", fault.ErrStructure, target)
	}
	text, err := readFirst(ctx, dir, h.File, []string{layout.ProtoFile})
	if err != nil {
		return nil, err
	}
	if err := prototext.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", fault.ErrStructure, cmp.Or(h.File, layout.ProtoFile), err)
	}
	return m, nil
}

// Metadata has nothing to say.
func (ProtoHandler) Metadata(context.Context, *ReadDir) (any, error) { return nil, nil }
