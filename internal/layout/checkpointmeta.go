package layout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// CheckpointMetadata is the document _CHECKPOINT_METADATA.
type CheckpointMetadata struct {
	// Handlers has the handler type of each checkpointable. If the checkpoint is itself
	// one checkpointable, its type has the empty name.
	Handlers   map[string]string
	InitTime   time.Time // when the save began; zero if unknown
	CommitTime time.Time
	Custom     any // map[string]any, []any or nil; to be written, also CustomJSON
	// Uncommitted says that Orbax has written the document at the beginning of a save and
	// not yet at its end: it has the time of the beginning, and null for the end.
	// (Releases before the member item_handlers left it so in some complete checkpoints.)
	Uncommitted bool
}

// listKey wraps custom metadata that is a list, because Orbax reads only objects.
const listKey = "orbax_go_list"

// ParseCheckpoint parses _CHECKPOINT_METADATA. Every member may be missing. Unknown
// members count as custom metadata, as in Orbax.
func ParseCheckpoint(doc []byte) (*CheckpointMetadata, error) {
	m, err := parseCheckpoint(doc)
	if err == nil {
		m.Custom = pythonNumbers(m.Custom)
	}
	return m, err
}

// parseCheckpoint is ParseCheckpoint without the conversion of numbers in custom
// metadata.
func parseCheckpoint(doc []byte) (*CheckpointMetadata, error) {
	if len(doc) == 0 {
		doc = []byte("{}") // Orbax reads an empty document so; observed in its checkpoints
	}
	v, err := decodeNumbers(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", CheckpointFile, err)
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: %s: not a JSON object", fault.ErrCorrupt, CheckpointFile)
	}
	m := &CheckpointMetadata{Handlers: map[string]string{}}
	custom, unknown := map[string]any{}, map[string]any{}
	for name, v := range members {
		ok := true
		switch name {
		case "item_handlers":
			ok = m.setHandlers(v)
		case "init_timestamp_nsecs":
			m.InitTime, ok = nsecs(pythonNumbers(v))
		case "commit_timestamp_nsecs":
			m.CommitTime, ok = nsecs(pythonNumbers(v))
		case "metrics", "performance_metrics":
		case "custom_metadata":
			if v != nil {
				custom, ok = v.(map[string]any)
			}
		default:
			unknown[name] = v
		}
		if !ok {
			return nil, fmt.Errorf("%w: %s: member %s is %v", fault.ErrCorrupt, CheckpointFile, name, v)
		}
	}
	commit, known := members["commit_timestamp_nsecs"]
	_, handlers := members["item_handlers"]
	m.Uncommitted = known && commit == nil && handlers && !m.InitTime.IsZero()
	for name, v := range unknown {
		if _, taken := custom[name]; !taken {
			custom[name] = v
		}
	}
	m.Custom = custom
	if list, ok := custom[listKey].([]any); ok && len(custom) == 1 {
		m.Custom = list
	}
	return m, nil
}

// Merge adds the metadata of a part of a checkpoint. The part was saved after the parts
// that were merged before. The save began when its first part began. Custom metadata is
// merged as by Orbax: objects member by member; for other values the later part wins. If
// the result cannot be written so that it reads the same, the error is ErrUnsupported.
func (m *CheckpointMetadata) Merge(doc []byte) error {
	part, err := parseCheckpoint(doc)
	if err != nil {
		return err
	}
	members, ok := part.Custom.(map[string]any)
	if !ok {
		return fmt.Errorf("%w: custom metadata that is to be merged must be an object, not a list", fault.ErrUnsupported)
	}
	if err := CheckExact(doc); err != nil {
		return err
	}
	if m.InitTime.IsZero() || !part.InitTime.IsZero() && part.InitTime.Before(m.InitTime) {
		m.InitTime = part.InitTime
	}
	custom, _ := m.Custom.(map[string]any)
	if custom == nil {
		custom = map[string]any{}
		m.Custom = custom
	}
	mergeObjects(custom, WordsIn(members).(map[string]any))
	return nil
}

func mergeObjects(dst, src map[string]any) {
	for name, v := range src {
		old, wasObject := dst[name].(map[string]any)
		if object, ok := v.(map[string]any); ok && wasObject {
			mergeObjects(old, object)
		} else {
			dst[name] = v
		}
	}
}

// setHandlers takes the handlers of a checkpoint. A checkpoint that is not composite has
// a single string.
func (m *CheckpointMetadata) setHandlers(v any) bool {
	switch v := v.(type) {
	case nil:
	case string:
		m.Handlers[""] = v
	case map[string]any:
		for name, t := range v {
			if s, ok := t.(string); ok {
				m.Handlers[name] = s
			} else if t != nil {
				return false
			}
		}
	default:
		return false
	}
	return true
}

func nsecs(v any) (time.Time, bool) {
	switch v := v.(type) {
	case nil:
		return time.Time{}, true
	case int:
		return time.Unix(0, int64(v)).UTC(), true
	}
	return time.Time{}, false
}

// Document returns _CHECKPOINT_METADATA. It leaves out an unknown time of the commit,
// because null would mean that there was no commit; see Uncommitted.
func (m *CheckpointMetadata) Document() ([]byte, error) {
	custom, err := encodeCustom(m.Custom)
	if err != nil {
		return nil, err
	}
	var commit any
	switch {
	case !m.CommitTime.IsZero():
		commit = m.CommitTime.UnixNano()
	case m.Uncommitted:
		commit = json.RawMessage("null")
	}
	doc, err := EncodeJSON(struct {
		Handlers    map[string]string `json:"item_handlers"`
		Metrics     struct{}          `json:"metrics"`
		Performance struct{}          `json:"performance_metrics"`
		Init        *int64            `json:"init_timestamp_nsecs"`
		Commit      any               `json:"commit_timestamp_nsecs,omitempty"`
	}{m.Handlers, struct{}{}, struct{}{}, unixNano(m.InitTime), commit})
	if err != nil {
		return nil, err
	}
	return appendCustom(doc, custom), nil
}

// RootDocument returns _ROOT_METADATA of a run.
func RootDocument(custom CustomJSON) []byte {
	return appendCustom([]byte(`{"internal_metadata":{}}`), custom)
}

// appendCustom adds custom metadata to a document, which is an object with members.
// Package json cannot write the words that custom metadata may contain.
func appendCustom(doc []byte, custom CustomJSON) []byte {
	doc = append(bytes.TrimSuffix(doc, []byte("}")), `,"custom_metadata":`...)
	doc = append(doc, custom...)
	return append(doc, '}')
}

// encodeCustom returns the object that represents custom metadata in a document.
func encodeCustom(v any) (CustomJSON, error) {
	switch v := v.(type) {
	case nil:
		return CustomJSON("{}"), nil
	case CustomJSON:
		if v.IsList() {
			return slices.Concat(CustomJSON(`{"`+listKey+`":`), v, CustomJSON("}")), nil
		}
		return v, nil
	}
	return EncodeNumbers(v)
}

// unixNano is the inverse of nsecs: nil for an unknown time.
func unixNano(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.UnixNano()
	return &n
}

// CustomJSON is custom metadata as [CheckCustom] returns it. It is a JSON object or list
// that may contain Python's words NaN, Infinity and -Infinity, which package json
// refuses.
type CustomJSON []byte

// IsList reports whether the metadata is a list.
func (c CustomJSON) IsList() bool { return bytes.HasPrefix(c, []byte("[")) }

// CheckCustom returns custom metadata as JSON, encoded at once so that the caller may
// change v afterwards. v must be nil or encode to a JSON object or array. NaN and the
// infinities become the words that Python writes.
func CheckCustom(v any) (CustomJSON, error) {
	if v == nil || isNilMap(v) {
		return CustomJSON("{}"), nil
	}
	doc, err := EncodePython(v)
	if err != nil {
		return nil, fmt.Errorf("custom metadata: %w", err)
	}
	if doc[0] != '{' && doc[0] != '[' {
		return nil, fmt.Errorf("%w, not %.40s", ErrNoCustom, doc)
	}
	decoded, err := decodeNumbers(doc)
	if err != nil {
		return nil, fmt.Errorf("custom metadata is not JSON: %w", err)
	}
	members, _ := decoded.(map[string]any)
	if _, ours := members[listKey]; ours {
		return nil, fmt.Errorf("%w: custom metadata key %q", fault.ErrReservedName, listKey)
	}
	return doc, nil
}

// ErrNoCustom is the error of [CheckCustom] for JSON that is neither an object nor an array.
var ErrNoCustom = fmt.Errorf("%w: custom metadata must be a JSON object or array", fault.ErrLeafType)

func isNilMap(v any) bool {
	rv := reflect.ValueOf(v)
	return (rv.Kind() == reflect.Map || rv.Kind() == reflect.Pointer) && rv.IsNil()
}
