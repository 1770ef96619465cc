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
	"github.com/go-orbax/orbax/storage"
)

// JSON marks a checkpointable that is to be stored as a JSON document instead
// of a pytree. Loading takes a JSON whose Value is a pointer to decode into.
type JSON struct{ Value any }

// JSONHandler stores a checkpointable as the document data.json, with the rules
// of encoding/json; in a run of training whose step before has the document called
// metadata, as Orbax v0 calls it, under that name. It takes values of type JSON and json.RawMessage, and, where
// it is bound to a name, everything that json.Marshal takes.
//
// Loaded without a target, or into a variable of type any, objects are
// map[string]any, integers int, or uint64 or *big.Int if they do not fit, and other
// numbers float64. Python's NaN and infinities are read only without a target, and are
// not written.
type JSONHandler struct {
	// File, if set, is the name that a save gives the document, in place of data.json or
	// metadata. A load looks for it first.
	File string
}

// Type returns the name of Orbax's own handler of JSON documents.
func (JSONHandler) Type() string { return layout.JSONHandler }

// CanSave takes a JSON, a *JSON and a json.RawMessage.
func (JSONHandler) CanSave(v any) bool {
	switch v.(type) {
	case JSON, *JSON, json.RawMessage:
		return true
	}
	return false
}

// Save encodes v at once, so that the caller may change it. What is not JSON, NaN
// for example, or could not be loaded again as it is, is an error that matches
// orbax.ErrLeafType: strings that are not UTF-8, two members of one name, more than
// 512 levels, integers of more than 4,300 digits.
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

// called returns which of names, of one document, the one in the directory has: that
// which it has in the step before, or the first.
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

// CanLoad takes a JSON, a *JSON and a *json.RawMessage.
func (JSONHandler) CanLoad(target any) bool {
	switch target.(type) {
	case JSON, *JSON, *json.RawMessage:
		return true
	}
	return false
}

// Load decodes the document into target: the pointer that a JSON holds, or any
// other pointer where the handler is bound to a name. A document that does not
// fit is an error that matches orbax.ErrStructure, a missing one matches
// orbax.ErrInvalidCheckpoint and fs.ErrNotExist, and one that is not UTF-8, or is
// loaded without a target and is not JSON, orbax.ErrCorrupt. Strings that Go cannot
// hold, of half a surrogate pair, match orbax.ErrUnsupported.
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

// decodeInto decodes a document into what the pointer into points at.
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

// readFirst reads the first file that is there: own, if it is set, or one of names.
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

// checkFile refuses the name of a document, which may be empty, unless it is that of
// one file.
func checkFile(name string) error {
	if name == "" {
		return nil
	}
	if !fs.ValidPath(name) || strings.ContainsAny(name, "/\\\x00") || name == "." || name == layout.TreeFile || len(name) > 255 || strings.Contains(name, storage.TempMarker) {
		return fmt.Errorf("%w: %q is not the name of one file", fault.ErrReservedName, name)
	}
	return nil
}

// Metadata has nothing to say.
func (JSONHandler) Metadata(context.Context, *ReadDir) (any, error) { return nil, nil }
