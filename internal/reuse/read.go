package reuse

import (
	"context"
	"fmt"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/layout"
)

// Read returns the record of the pytree in d. It returns nil if there is none.
func Read(ctx context.Context, d *ckdir.ReadDir) (*Record, error) {
	doc, err := d.ReadOptional(ctx, layout.ChunksFile)
	if doc == nil || err != nil {
		return nil, err
	}
	r, err := Parse(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", layout.ChunksFile, err)
	}
	return r, nil
}
