// Package rawarray reads arrays whose elements lie in files without an encoding, in one
// run or in several, so that any part of them can be read alone.
package rawarray

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/view"
)

// Open returns the directory at, for reading the file name in it, which has no checksums.
// Nothing in such a file shows whether its contents are those of another version of it.
// So reads from the returned directory fail if the size, the time or the version of the
// file has changed.
func Open(ctx context.Context, d *ckdir.ReadDir, at storage.Location, name string) (*view.Dir, error) {
	file := at.Join(name)
	was, err := file.Stat(ctx)
	if err != nil {
		return nil, err
	}
	return &view.Dir{At: at, Engine: d.Engine(), Unchanged: func(ctx context.Context, err error) error {
		now, serr := file.Stat(ctx)
		changed := now.Size != was.Size || !now.ModTime.Equal(was.ModTime) || now.Version != was.Version
		if serr == nil && changed || ckdir.NotExist(serr) {
			return fmt.Errorf("%w: %s was changed while it was read; open it again", fault.ErrBusy, name)
		}
		return d.Unchanged(ctx, cmp.Or(err, serr))
	}}, nil
}

// Array is an array whose elements lie in a file without an encoding, in one run.
type Array struct {
	Form
	Shape      []int
	Dir        *view.Dir
	File       string
	At, Length int64
}

// Chunks yields runs of the array that overlap the box.
func (a *Array) Chunks(_ context.Context, off, size []int) iter.Seq2[*view.Chunk, error] {
	return func(yield func(*view.Chunk, error) bool) {
		if a.Length == 0 {
			return
		}
		whole := view.Chunk{
			Offset: make([]int, len(a.Shape)), Size: a.Shape,
			Dir: a.Dir, File: a.File, At: a.At, Length: a.Length,
		}
		a.Pieces(whole, a.Shape, off, size, yield)
	}
}
