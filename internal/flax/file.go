package flax

import (
	"context"
	"path"

	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// IsFile reports whether the file called name begins like a file that Flax wrote.
func IsFile(ctx context.Context, store storage.Store, name string) bool {
	dir, file := path.Split(name)
	info, err := store.Stat(ctx, name)
	if err != nil || info.Dir {
		return false
	}
	head, err := transfer.ReadFile(ctx, store, path.Clean(dir), file, 0, min(info.Size, SniffBytes))
	return err == nil && Begins(head)
}
