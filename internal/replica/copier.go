package replica

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

const (
	// budget bounds the memory of a copy.
	budget = 48 << 20
	// pieceBytes is how much of a file is in memory at a time if the store does not say
	// how much it wants.
	pieceBytes = 4 << 20
	// mostWorkers is how many pieces are copied at the same time to a store that leaves
	// the choice.
	mostWorkers = 4
)

// copier copies the files of a checkpoint to a stage.
type copier struct {
	from    storage.Location
	stage   storage.Files
	digests *layout.Digests
	mark    []byte // of the copy; nil if it is that of the checkpoint
	moved   func(n int64)
	buffers sync.Pool
}

// write writes a file in the place of one of the checkpoint, which may have none.
func (c *copier) write(ctx context.Context, t *tree, name string, data []byte) error {
	if err := transfer.WriteFile(ctx, c.stage, name, data); err != nil {
		return err
	}
	if c.moved != nil && t.has(name) {
		c.moved(t.file(name).size)
	}
	return nil
}

// copyAll copies everything but the marker.
func (c *copier) copyAll(ctx context.Context, t *tree) error {
	for _, dir := range t.empty {
		if err := c.stage.Mkdir(ctx, dir); err != nil {
			return err
		}
	}
	var rest []file
	marked := false // the digest file has the digest of the marker
	for _, f := range t.files {
		switch {
		case f.name == layout.CommitFile:
		case f.name == layout.IndicatorFile: // shows that the checkpoint is unfinished
			if err := c.copyFiles(ctx, []file{f}); err != nil {
				return err
			}
		case f.name == layout.DigestFile && c.mark != nil && c.digests.Has(layout.CommitFile):
			marked = true
		default:
			rest = append(rest, f)
		}
	}
	if err := c.copyFiles(ctx, rest); err != nil || !marked {
		return err
	}
	c.digests.Add(layout.CommitFile, sha256.Sum256(c.mark))
	return c.write(ctx, t, layout.DigestFile, c.digests.Document())
}

// copyFiles copies files, several pieces at a time.
func (c *copier) copyFiles(ctx context.Context, files []file) error {
	p := c.stage.Properties()
	unit := p.WriteUnit
	if unit <= 0 || unit > budget/2 {
		unit = pieceBytes
	}
	workers := int(budget / unit)
	switch {
	case p.Sequential:
		workers = 1
	case p.Concurrency > 0:
		workers = min(workers, p.Concurrency)
	default:
		workers = min(workers, mostWorkers)
	}
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(workers)
	var all []*copied
	for _, f := range files {
		o := &copied{file: f, pieces: max(1, int((f.size+unit-1)/unit))}
		all = append(all, o)
		for off := int64(0); off == 0 || off < f.size; off += unit {
			n := min(unit, f.size-off)
			group.Go(func() error { return c.copyPiece(gctx, o, off, n) })
		}
		if gctx.Err() != nil {
			break
		}
	}
	err := group.Wait()
	for _, o := range all {
		err = errors.Join(err, o.abandon())
	}
	return err
}

// copied is a file that is being copied.
type copied struct {
	file
	mu     sync.Mutex
	pieces int // that have not been copied yet
	r      storage.Reader
	w      storage.Writer
}

// open opens the file and creates its copy, once.
func (c *copier) open(ctx context.Context, o *copied) (r storage.Reader, w storage.Writer, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.r == nil {
		if o.r, err = transfer.Open(ctx, c.from, o.name); err != nil {
			return nil, nil, err
		}
		if o.r.Size() != o.size {
			return nil, nil, fmt.Errorf("%w: %s has another size", ErrChanged, o.name)
		}
	}
	if o.w == nil {
		if o.w, err = c.stage.Create(ctx, o.name, o.size); err != nil {
			return nil, nil, err
		}
	}
	return o.r, o.w, nil
}

// copyPiece copies n bytes of a file. The last piece closes it.
func (c *copier) copyPiece(ctx context.Context, o *copied, off, n int64) error {
	if ctx.Err() != nil {
		return fault.WithCause(ctx, ctx.Err())
	}
	r, w, err := c.open(ctx, o)
	if err != nil {
		return err
	}
	if n > 0 {
		buf := c.buffer(n)
		defer c.buffers.Put(buf)
		data := (*buf)[:n]
		if err := r.ReadAt(ctx, data, off); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		if n == o.size {
			if err := c.digests.Check(o.name, data); err != nil {
				return err
			}
		}
		if err := w.WriteAt(ctx, data, off); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		if c.moved != nil {
			c.moved(n)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pieces--; o.pieces > 0 {
		return nil
	}
	w, o.w = o.w, nil
	if err := w.Close(); err != nil {
		return fmt.Errorf("%s: %w", o.name, err)
	}
	r, o.r = o.r, nil
	return r.Close()
}

// abandon closes what is open of a file that was not copied as a whole. The stage removes
// the copy.
func (o *copied) abandon() (err error) {
	if o.r != nil {
		err = o.r.Close()
	}
	o.r, o.w = nil, nil
	return err
}

// buffer returns memory of n bytes or more.
func (c *copier) buffer(n int64) *[]byte {
	if b, _ := c.buffers.Get().(*[]byte); b != nil && int64(cap(*b)) >= n {
		*b = (*b)[:cap(*b)]
		return b
	}
	b := make([]byte, n)
	return &b
}
