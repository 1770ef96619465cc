package pytree

import (
	"context"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/reuse"
)

// sharedFiles tells the data files that a save may have shared with earlier ones. Of
// one whose record cannot be read they are all.
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
