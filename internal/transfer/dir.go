package transfer

import (
	"context"

	"github.com/go-orbax/orbax/storage"
)

// Dir is a directory of a checkpoint whose files an engine reads.
type Dir struct {
	At storage.Location
	// Unchanged, if set, is called with the outcome of each reading. It returns that
	// outcome, or an error if the files have been replaced meanwhile.
	Unchanged func(ctx context.Context, err error) error
	// Engine reads the files; with nil each reading has an engine of its own.
	Engine *Engine
}

// ReadAll reads from files of the directory; see [Engine.ReadAll].
func (d *Dir) ReadAll(ctx context.Context, reads []Read) error {
	err := d.Engine.ReadAll(ctx, d.At, reads)
	if d.Unchanged != nil {
		err = d.Unchanged(ctx, err)
	}
	return err
}
