package flax

import (
	"context"

	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// IsFile reports whether a file begins like a file that Flax wrote.
func IsFile(ctx context.Context, at storage.Location) bool {
	info, err := at.Stat(ctx)
	if err != nil || info.Dir {
		return false
	}
	head, err := transfer.ReadFile(ctx, at.Dir(), at.Base(), 0, min(info.Size, SniffBytes))
	return err == nil && Begins(head)
}
