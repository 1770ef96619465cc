package inspect

import (
	"context"
	"encoding/json"
	"path"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/layout"
)

// These bound the number and the size of the files of a stateful object that cat prints.
const (
	maxStateFiles = 64
	maxStateBytes = 1 << 20
)

// readState reads the checkpointable called name, which a stateful object has saved, as a
// document. The document is the contents of its file, or, if there are several files, an
// object with the contents of each. readState returns nil if some files are not JSON, or
// if they are many or large.
func readState(ctx context.Context, ck *orbax.Checkpoint, checkpoint, name string) (*document, error) {
	dir, err := ck.Files(name)
	if err != nil {
		return nil, err
	}
	entries, err := dir.List(ctx, ".")
	if err != nil {
		return nil, InCheckpoint(checkpoint, err)
	}
	files, last := map[string]json.RawMessage{}, ""
	for _, e := range entries {
		if e.Name == layout.CommitFile {
			continue
		}
		if e.Dir || path.Ext(e.Name) != ".json" || e.Size > maxStateBytes || len(files) == maxStateFiles {
			return nil, nil
		}
		text, err := dir.ReadFile(ctx, e.Name)
		if err != nil {
			return nil, InCheckpoint(checkpoint, err)
		}
		if !json.Valid(text) { // the text may have numbers that JSON does not have
			v, err := layout.DecodeJSON(text)
			if err != nil {
				return nil, nil
			}
			if text, err = layout.EncodeJSON(finite(v)); err != nil {
				return nil, nil
			}
		}
		files[e.Name], last = text, e.Name
	}
	switch len(files) {
	case 0:
		return nil, nil
	case 1:
		return &document{checkpoint, name, KindStateful, files[last]}, nil
	}
	text, err := json.Marshal(files)
	return &document{checkpoint, name, KindStateful, text}, err
}
