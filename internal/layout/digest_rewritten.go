package layout

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// Orbax deletes a checkpointable from a checkpoint by its own protocol. It removes the
// directory and writes the checkpoint's metadata again, without the handler of that
// checkpointable and in its own form (see dumpsJSON). The rest of the document stays the
// same. If the handlers that it removed are put back, the document must therefore be the
// one that Orbax would have written for the saved document. The digest of that form is
// recorded next to the handlers. No other difference is accepted.

// Beginnings of lines of the digest file that prove a rewriting. sha256sum takes them for
// comments. Older versions wrote the last one, for each checkpointable without documents.
const (
	handlerPrefix = "# handler of "
	canonPrefix   = "# sha256 of " + CheckpointFile + " as Orbax would write it: "
	emptyPrefix   = "# no documents: "
)

// AddCheckpoint records the checkpoint's metadata: the digest of the document, and the
// data for [Digests.Rewritten].
func (d *Digests) AddCheckpoint(doc []byte) {
	d.Add(CheckpointFile, sha256.Sum256(doc))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handlers, d.canon, d.empty = nil, nil, nil
	members, err := decodeObject(CheckpointFile, doc)
	handlers, ok := members["item_handlers"].(map[string]any)
	if err != nil || !ok || CheckExact(doc) != nil {
		return // Orbax could not delete from it, or its result is not predictable
	}
	d.handlers = map[string]string{}
	for name, typ := range handlers {
		d.handlers[name], _ = typ.(string)
	}
	sum := sha256.Sum256([]byte(dumpsJSON(members)))
	d.canon = &sum
}

func (d *Digests) writeProof(b *bytes.Buffer) {
	for _, name := range slices.Sorted(maps.Keys(d.handlers)) {
		fmt.Fprintf(b, "%s%q: %q\n", handlerPrefix, name, d.handlers[name])
	}
	if d.canon != nil {
		fmt.Fprintf(b, "%s%s\n", canonPrefix, hex.EncodeToString(d.canon[:]))
	}
	for _, part := range slices.Sorted(maps.Keys(d.empty)) {
		fmt.Fprintf(b, "%s%s\n", emptyPrefix, digestEscape.Replace(part))
	}
}

// parseProof parses a line of writeProof. ok is false if the line is another one.
func (d *Digests) parseProof(line string) (ok bool, err error) {
	if text, ok := strings.CutPrefix(line, emptyPrefix); ok {
		if d.empty == nil {
			d.empty = map[string]bool{}
		}
		d.empty[digestUnescape.Replace(text)] = true
		return true, nil
	}
	bad := fmt.Errorf("%w: %s: line %q", fault.ErrCorrupt, DigestFile, line)
	if text, ok := strings.CutPrefix(line, canonPrefix); ok {
		sum, err := hex.DecodeString(text)
		if err != nil || len(sum) != sha256.Size {
			return true, bad
		}
		d.canon = (*[sha256.Size]byte)(sum)
		return true, nil
	}
	text, ok := strings.CutPrefix(line, handlerPrefix)
	if !ok {
		return false, nil
	}
	quoted, err := strconv.QuotedPrefix(text)
	if err != nil {
		return true, bad
	}
	name, _ := strconv.Unquote(quoted)
	typ, err := strconv.Unquote(strings.TrimPrefix(text[len(quoted):], ": "))
	if err != nil {
		return true, bad
	}
	if d.handlers == nil {
		d.handlers = map[string]string{}
	}
	d.handlers[name] = typ
	return true, nil
}

// Rewritten compares the checkpoint's metadata with the recorded digest. It returns the
// sorted names of the checkpointables that Orbax has deleted since. Any other difference
// is an error that matches [fault.ErrCorrupt].
func (d *Digests) Rewritten(doc []byte) (deleted []string, err error) {
	if d == nil {
		return nil, nil
	}
	damaged := d.Check(CheckpointFile, doc)
	if damaged == nil {
		return nil, nil
	}
	members, err := decodeObject(CheckpointFile, doc)
	if err != nil {
		return nil, err
	}
	handlers, ok := members["item_handlers"].(map[string]any)
	if !ok || dumpsJSON(members) != string(doc) {
		return nil, damaged
	}
	known, before := d.known(), maps.Clone(handlers)
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if _, named := handlers[name]; !named {
			deleted = append(deleted, name)
			before[name] = known[name]
		}
		if _, named := handlers[name]; !named && CheckName(name) != nil {
			return nil, damaged // Orbax deletes none of these
		}
	}
	members["item_handlers"] = before
	switch {
	case len(deleted) == 0 || len(before) != len(known):
		return nil, damaged
	case d.canon == nil && !looksComplete(doc): // there is no further proof
		return nil, damaged
	case d.canon != nil && sha256.Sum256([]byte(dumpsJSON(members))) != *d.canon:
		return nil, damaged
	}
	return deleted, nil
}

// known returns the handlers of all recorded checkpointables. Older digest files have
// only the names.
func (d *Digests) known() map[string]string {
	if d.canon != nil {
		return d.handlers
	}
	known := map[string]string{}
	for file := range d.sums {
		if part, _, below := strings.Cut(file, "/"); below {
			known[part] = ""
		}
	}
	for part := range d.empty {
		known[part] = ""
	}
	return known
}

// looksComplete reports whether the checkpoint's metadata have every member that this
// package writes.
func looksComplete(doc []byte) bool {
	m, err := ParseCheckpoint(doc)
	if err != nil || m.InitTime.IsZero() || m.CommitTime.IsZero() {
		return false
	}
	members, _ := decodeObject(CheckpointFile, doc)
	names := slices.Sorted(maps.Keys(members))
	return slices.Equal(names, []string{"commit_timestamp_nsecs", "custom_metadata", "init_timestamp_nsecs",
		"item_handlers", "metrics", "performance_metrics"})
}

// CheckRecord compares the record of a deletion with the handlers that were recorded.
// doc is the record.
func (d *Digests) CheckRecord(r *Deletion, doc []byte) error {
	if d == nil {
		return nil
	}
	handlers, _ := r.original["item_handlers"].(map[string]any)
	want, known := d.handlers[r.Name]
	if known && handlers[r.Name] != want || r.exact == nil && string(r.Document()) != string(doc) {
		return fmt.Errorf("%w: %s is not what Orbax writes to delete %q", fault.ErrCorrupt, DeletionFile, r.Name)
	}
	return nil
}
