package pytree

import (
	"context"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/reuse"
)

// sharedFiles returns a function that reports whether a save may have shared a data file
// with earlier saves. If the record is damaged, every file counts as shared.
func sharedFiles(ctx context.Context, d *ckdir.ReadDir) (func(file string) bool, error) {
	r, err := reuse.Read(ctx, d)
	if err != nil && !fault.IsFinding(err) {
		return nil, err
	}
	shared := map[string]bool{}
	if r != nil {
		for _, f := range r.Files {
			shared[f.Name] = f.Age > 0
		}
	}
	return func(file string) bool { return err != nil || shared[file] }, nil
}
