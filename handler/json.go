package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// JSON marks a checkpointable that is stored as a JSON document instead of a pytree. As
// the target of a load, a JSON holds in Value a pointer to decode into.
type JSON struct{ Value any }

// JSONHandler stores a checkpointable as the JSON document data.json, by the rules of
// encoding/json. Orbax v0 calls the document metadata: if the previous step of a training
// run has it under that name, a save keeps the name. The handler takes values of type
// [JSON] and [json.RawMessage]. If it is bound to a name, it takes every value that
// [json.Marshal] takes.
//
// A load without a target, or into a variable of type any, makes objects map[string]any.
// It makes integers int, or uint64 or *big.Int if they do not fit, and all other numbers
// float64. The handler reads Python's NaN and infinities only without a target, and never
// writes them.
type JSONHandler struct {
	// File, if set, is the name that a save gives the document, in place of data.json or
	// metadata. A load looks for a document of this name first.
	File string
}

// Type returns the name of Orbax's handler of JSON documents.
func (JSONHandler) Type() string { return layout.JSONHandler }

// CanSave accepts a [JSON], a *JSON and a [json.RawMessage].
func (JSONHandler) CanSave(v any) bool {
	switch v.(type) {
	case JSON, *JSON, json.RawMessage:
		return true
	}
	return false
}

// Save encodes v before it returns, so that the caller may change v. The error matches
// orbax.ErrLeafType if v has no JSON form, as NaN has none, or if the document could not
// be loaded again unchanged. The latter holds for strings that are not UTF-8, two members
// of the same name, more than 512 levels, and integers of more than 4,300 digits.
func (h JSONHandler) Save(_ context.Context, v any, opts SaveOptions) (WriteFunc, error) {
	if err := checkFile(h.File); err != nil {
		return nil, err
	}
	doc, err := layout.EncodeDocument(unwrapJSON(v))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, dir *WriteDir) error {
		name := h.File
		if name == "" {
			name = called(ctx, opts, dir, layout.JSONFiles)
		}
		return dir.WriteFile(ctx, name, doc)
	}, nil
}

// called chooses one of names for a document that is being saved: the name that the
// document has in the step before, else the first.
func called(ctx context.Context, opts SaveOptions, dir *WriteDir, names []string) string {
	like := opts.Operation.settings().Like
	if like == nil {
		return names[0]
	}
	if before := like(dir.inner().Name()); before != nil {
		for _, name := range names {
			if _, err := before.Stat(ctx, name); err == nil {
				return name
			}
		}
	}
	return names[0]
}

func unwrapJSON(v any) any {
	switch v := v.(type) {
	case JSON:
		return v.Value
	case *JSON:
		if v != nil {
			return v.Value
		}
	}
	return v
}

// CanLoad accepts a [JSON], a *JSON and a *json.RawMessage.
func (JSONHandler) CanLoad(target any) bool {
	switch target.(type) {
	case JSON, *JSON, *json.RawMessage:
		return true
	}
	return false
}

// Load decodes the document into target. The target is a [JSON] that holds a pointer, or,
// if the handler is bound to a name, any other pointer. The error matches
// orbax.ErrStructure if the document does not fit the target, and both
// orbax.ErrInvalidCheckpoint and [fs.ErrNotExist] if the document is missing. It matches
// orbax.ErrCorrupt if the document is not UTF-8, or is not JSON and there is no target.
// It matches orbax.ErrUnsupported for strings that Go cannot hold, because they have half
// of a surrogate pair.
func (h JSONHandler) Load(ctx context.Context, dir *ReadDir, target any, _ LoadOptions) (any, error) {
	doc, err := readFirst(ctx, dir, h.File, layout.JSONFiles)
	if err != nil {
		return nil, err
	}
	if err := layout.CheckExact(doc); err != nil {
		return nil, err
	}
	if target == nil {
		return layout.DecodeJSON(doc)
	}
	into := unwrapJSON(target)
	if v := reflect.ValueOf(into); v.Kind() != reflect.Pointer || v.IsNil() {
		return nil, fmt.Errorf("%w: JSON must be loaded into a pointer, not %T", fault.ErrStructure, into)
	}
	return target, decodeInto(doc, into)
}

// decodeInto decodes a document into the variable that into points to.
func decodeInto(doc []byte, into any) error {
	if !utf8.Valid(doc) {
		return fmt.Errorf("%w: invalid JSON: not UTF-8", fault.ErrCorrupt)
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("data after the value")
		}
	}
	if err != nil {
		return fmt.Errorf("%w: JSON: %w", fault.ErrStructure, err)
	}
	layout.NumbersIn(into)
	return nil
}

// readFirst reads the first of several files that exists: own, if it is set, then names.
func readFirst(ctx context.Context, dir *ReadDir, own string, names []string) ([]byte, error) {
	if own != "" {
		names = append([]string{own}, names...)
	}
	for _, name := range names {
		doc, err := dir.ReadFile(ctx, name)
		if !ckdir.NotExist(err) {
			return doc, err
		}
	}
	return nil, fmt.Errorf("%w: no document (%s): %w", fault.ErrInvalidCheckpoint, names[0], fs.ErrNotExist)
}

// checkFile refuses a document's name unless it is empty or names a single file.
func checkFile(name string) error {
	if name == "" {
		return nil
	}
	if !fs.ValidPath(name) || strings.ContainsAny(name, "/\\\x00") || name == "." || len(name) > 255 {
		return fmt.Errorf("%w: %q is not the name of one file", fault.ErrReservedName, name)
	}
	return layout.CheckFile(name, false)
}

// Metadata returns nil: a document has no metadata.
func (JSONHandler) Metadata(context.Context, *ReadDir) (any, error) { return nil, nil }
