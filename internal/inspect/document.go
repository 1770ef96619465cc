package inspect

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/layout"
)

// document is a checkpointable that is a JSON document, or whose files are JSON
// documents.
type document struct {
	checkpoint, name string
	kind             string // of the checkpointable
	text             []byte
}

// readDocument reads the checkpointable called name. The text is unchanged, unless it has
// numbers that JSON does not have, which Python writes nonetheless.
func readDocument(ctx context.Context, ck *orbax.Checkpoint, path, name string) (*document, error) {
	var text json.RawMessage
	err := ck.LoadInto(ctx, &text, orbax.Name(name))
	if errors.Is(err, orbax.ErrStructure) {
		var v any
		if v, err = ck.Load(ctx, orbax.Name(name)); err == nil {
			text, err = layout.EncodeJSON(finite(v))
		}
	}
	if err != nil {
		return nil, err
	}
	return &document{path, name, KindJSON, text}, nil
}

func (d *document) Print(_ context.Context, w *bufio.Writer, _ bool) error {
	b := bufio.NewWriter(ForJSON(w))
	writeIndented(b, d.text)
	b.WriteByte('\n')
	return b.Flush()
}

func (d *document) WriteRaw(context.Context, io.Writer) error {
	return withNames(fmt.Errorf("%s: %s is a JSON document, not a leaf", d.checkpoint, partTitle(d.name)), NotRaw)
}

func (d *document) WriteJSON(_ context.Context, w *bufio.Writer) error {
	var b bytes.Buffer
	if err := json.Compact(&b, d.text); err != nil {
		return err
	}
	return writeValue(w, d.name, d.kind, nil, nil, func() error {
		_, err := b.WriteTo(w)
		return err
	})
}
