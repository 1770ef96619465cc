package layout

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// Deletion is the record of the deletion of one checkpointable, in the form of Orbax v1.
// It is the file _CHECKPOINT_DELETION at the root of the checkpoint. It exists from
// before the first file of the checkpointable is removed until after the checkpoint's
// metadata has been replaced.
type Deletion struct {
	Name string // of the checkpointable
	// Destination is the directory to which Orbax moves the checkpointable's directory on
	// some stores, instead of removing it; else "".
	Destination string

	id                string
	original, updated map[string]any
	exact             error // reason why the metadata cannot be written, or nil
}

// NewDeletion returns the record of a deletion that begins. metadata is the checkpoint's
// _CHECKPOINT_METADATA, which must have a handler of name.
func NewDeletion(metadata []byte, name string) (*Deletion, error) {
	original, err := decodeObject(CheckpointFile, metadata)
	if err != nil {
		return nil, err
	}
	updated, err := withoutHandler(original, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %w, as Orbax's record of a deletion needs it", fault.ErrUnsupported, CheckpointFile, err)
	}
	var id [16]byte
	rand.Read(id[:])
	d := &Deletion{Name: name, id: hex.EncodeToString(id[:]), original: original, updated: updated, exact: CheckExact(metadata)}
	return d, d.exact
}

// ParseDeletion parses a record. metadata is the checkpoint's _CHECKPOINT_METADATA. It
// must be the document before or after the replacement that the record describes.
func ParseDeletion(doc, metadata []byte) (*Deletion, error) {
	record, err := decodeObject(DeletionFile, doc)
	if err != nil {
		return nil, err
	}
	bad := func(format string, args ...any) (*Deletion, error) {
		return nil, fmt.Errorf("%w: %s is no record of a deletion: %s", fault.ErrCorrupt, DeletionFile, fmt.Sprintf(format, args...))
	}
	d := &Deletion{exact: CheckExact(doc)}
	var ok bool
	if d.Name, ok = record["checkpointable_name"].(string); !ok {
		return bad("checkpointable_name is %v", record["checkpointable_name"])
	}
	if err := CheckName(d.Name); err != nil {
		return bad("%v", err)
	}
	if d.id, ok = record["operation_id"].(string); !ok || len(d.id) != 32 || strings.Trim(d.id, "0123456789abcdef") != "" {
		return bad("operation_id is %v", record["operation_id"])
	}
	if d.Destination, ok = record["destination"].(string); !ok && record["destination"] != nil {
		return bad("destination is %v", record["destination"])
	}
	d.original, _ = record["original_metadata"].(map[string]any)
	updated, err := withoutHandler(d.original, d.Name)
	if err != nil {
		return bad("original_metadata %v", err)
	}
	d.updated, _ = record["updated_metadata"].(map[string]any)
	if d.updated == nil || dumpsJSON(d.updated) != dumpsJSON(updated) {
		return bad("updated_metadata is not original_metadata without %q", d.Name)
	}
	current, err := decodeObject(CheckpointFile, metadata)
	if err != nil {
		return nil, err
	}
	if is := dumpsJSON(current); is != dumpsJSON(d.original) && is != dumpsJSON(d.updated) {
		return bad("%s has other contents than it says", CheckpointFile)
	}
	return d, nil
}

// Document returns the record in the form that Orbax writes.
func (d *Deletion) Document() []byte {
	var destination any
	if d.Destination != "" {
		destination = d.Destination
	}
	return []byte(dumpsJSON(map[string]any{
		"operation_id":        d.id,
		"checkpointable_name": d.Name,
		"destination":         destination,
		"original_metadata":   d.original,
		"updated_metadata":    d.updated,
	}))
}

// Metadata returns the new _CHECKPOINT_METADATA, in the same bytes that Orbax writes: a
// digest of it stays right if Orbax finishes the deletion.
func (d *Deletion) Metadata() ([]byte, error) {
	if d.exact != nil {
		return nil, d.exact
	}
	return []byte(dumpsJSON(d.updated)), nil
}

// withoutHandler returns metadata without the handler of a checkpointable. The
// error is a clause about the metadata.
func withoutHandler(metadata map[string]any, name string) (map[string]any, error) {
	handlers, _ := metadata["item_handlers"].(map[string]any)
	if _, ok := handlers[name]; !ok {
		return nil, fmt.Errorf("names no handler of checkpointable %q", name)
	}
	handlers = maps.Clone(handlers)
	delete(handlers, name)
	updated := maps.Clone(metadata)
	updated["item_handlers"] = handlers
	return updated, nil
}

func decodeObject(name string, doc []byte) (map[string]any, error) {
	v, err := decodeNumbers(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: %s: not a JSON object", fault.ErrCorrupt, name)
	}
	return object, nil
}
