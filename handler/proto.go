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

// ProtoHandler stores a protocol buffer in the text format, as proto.pbtxt. The text does
// not name the type of its message, so a load needs a message to fill.
type ProtoHandler struct {
	// File, if set, is the name of the text file, in place of proto.pbtxt. A load looks
	// for a file of this name first.
	File string
}

// Type returns the name of Orbax's handler of protocol buffers.
func (ProtoHandler) Type() string { return layout.ProtoHandler }

// CanSave accepts every [proto.Message].
func (ProtoHandler) CanSave(v any) bool { _, ok := v.(proto.Message); return ok }

// Save encodes v before it returns, so that the caller may change v. The error matches
// orbax.ErrLeafType if the text format cannot hold the message, or if Go or Python could
// not load it from the text. This holds for unknown fields, strings that are not UTF-8,
// and messages nested more than 256 levels deep, where the entry of a map counts as a
// level.
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
	// The text format has no unknown fields.
	again := m.ProtoReflect().New().Interface()
	if err := prototext.Unmarshal(text, again); err != nil {
		return nil, fmt.Errorf("%w: %T cannot be loaded from its text: %w", fault.ErrLeafType, v, err)
	}
	if !proto.Equal(m, again) {
		return nil, fmt.Errorf("%w: %T differs when it is loaded from its text, which has no unknown fields", fault.ErrLeafType, v)
	}
	return func(ctx context.Context, dir *WriteDir) error {
		return dir.WriteFile(ctx, cmp.Or(h.File, layout.ProtoFile), text)
	}, nil
}

// CanLoad accepts every [proto.Message].
func (ProtoHandler) CanLoad(target any) bool { _, ok := target.(proto.Message); return ok }

// Load replaces the contents of target. The error matches orbax.ErrStructure if there is
// no target or the text is of another message, and [fs.ErrNotExist] if the text is
// missing.
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

// Metadata returns nil: a protocol buffer has no metadata.
func (ProtoHandler) Metadata(context.Context, *ReadDir) (any, error) { return nil, nil }
