package handler

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/view"
)

// plainFile returns the directory at, to read the file name in it, which has no
// checksums. Nothing in such a file tells its contents from those of another version of
// it, so what is read from the returned directory counts only if the file has kept its
// size and time.
func (d *ReadDir) plainFile(ctx context.Context, at, name string) (*view.Dir, error) {
	full := path.Join(at, name)
	was, err := d.store.Stat(ctx, full)
	if err != nil {
		return nil, err
	}
	return &view.Dir{Store: d.store, Path: at, Engine: d.engine, Unchanged: func(ctx context.Context, err error) error {
		now, serr := d.store.Stat(ctx, full)
		if serr == nil && (now.Size != was.Size || !now.ModTime.Equal(was.ModTime)) || isNotExist(serr) {
			return fmt.Errorf("%w: %s was changed while it was read; open it again", fault.ErrBusy, name)
		}
		return d.unchanged(ctx, cmp.Or(err, serr))
	}}, nil
}

// rawArray is an array whose elements lie in a file as they are.
type rawArray struct {
	rawForm
	shape      []int
	dir        *view.Dir
	file       string
	at, length int64
}

// Parts returns runs of the array that overlap the box.
func (a *rawArray) Parts(_ context.Context, off, size []int) iter.Seq2[*view.Part, error] {
	return func(yield func(*view.Part, error) bool) {
		if a.length == 0 {
			return
		}
		whole := view.Part{
			Offset: make([]int, len(a.shape)), Size: a.shape,
			Dir: a.dir, File: a.file, At: a.at, Length: a.length,
		}
		a.pieces(whole, a.shape, off, size, yield)
	}
}
