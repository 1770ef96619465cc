package pytree

import (
	"context"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/reuse"
)

// sharedFiles returns a function that reports whether a save may have shared a data file
// with earlier saves. If the record cannot be read, every file counts as shared.
func sharedFiles(ctx context.Context, d *ckdir.ReadDir) func(file string) bool {
	r, err := reuse.Read(ctx, d)
	shared := map[string]bool{}
	if r != nil {
		for _, f := range r.Files {
			shared[f.Name] = f.Age > 0
		}
	}
	return func(file string) bool { return err != nil || shared[file] }
}
