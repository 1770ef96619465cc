package object

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

const (
	// shareMin is the size from which on the copy of a file that an earlier checkpoint has
	// is worth its request: a file that is smaller is uploaded in the time of the request.
	shareMin = 1 << 20
	// copyTime is how long the service may take to copy a file of unknown size, and copyRate
	// the bytes per second that it must copy of others, beyond answerTime.
	copyTime = 5 * time.Minute
	copyRate = 16 << 20
)

// Link lets the service copy a file, so that its bytes do not pass through this process. The
// copy belongs to the writer of the stage, as everything that it uploads.
func (f *files) Link(ctx context.Context, from, name string, o storage.LinkOptions) error {
	if err := f.begin(ctx, name); err != nil {
		return err
	}
	if err := f.enter(name, true); err != nil {
		return err
	}
	ctx, end := during(ctx, f.lost)
	defer end()
	c := &serverCopy{f: f, from: Ref{keyOf(from), o.Source.Version}, size: o.Source.Size, to: f.keyFor(name), writer: f.newWriter()}
	err := c.make(ctx)
	if err == nil {
		err = f.settle(ctx, c.to, c.writer)
	} else if c.unsure {
		f.orphans.Store(true)
		cctx, cancel := f.s.patient()
		defer cancel()
		err = errors.Join(err, f.s.discard(cctx, c.to, c.writer))
	}
	if err == nil {
		return nil
	}
	f.mu.Lock()
	delete(f.names, name) // it is free again
	if c.unsure {
		f.late[c.to] = c.writer
	}
	f.mu.Unlock()
	return f.explain(err)
}

// serverCopy is a copy that the service makes of a file.
type serverCopy struct {
	f          *files
	from       Ref
	size       int64 // of the file; 0 if it is unknown
	to, writer string
	// unsure says that an answer is missing, so that the copy may appear at any time.
	unsure bool
}

// make makes the copy, in the place of that of a writer that has lost its claim if there is
// one.
func (c *serverCopy) make(ctx context.Context) error {
	for range 10 {
		attempts := 0
		err := c.request(ctx, &attempts)
		gone := errors.Is(err, fs.ErrNotExist)
		if gone && attempts == 1 {
			return missing("link", c.from.Key)
		}
		if !gone && !errors.Is(err, ErrPrecondition) {
			return err
		}
		// The file may be gone, or another one, or the copy may be there: by an attempt whose
		// answer was lost, too.
		_, err = c.f.s.infoOf(ctx, c.to)
		switch {
		case errors.Is(err, fs.ErrNotExist) && gone:
			return missing("link", c.from.Key)
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: %s was replaced or removed before it was copied", fault.ErrBusy, c.from.Key)
		case err != nil:
			return err
		}
		replace, err := c.f.taken(ctx, c.to, c.writer)
		if err != nil || replace == "" {
			return err
		}
		if err := c.f.s.remove(ctx, []Ref{{c.to, replace}}); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w: other writers make it all the time", c.to, fault.ErrBusy)
}

func (c *serverCopy) request(ctx context.Context, attempts *int) error {
	limit := copyTime
	if c.size > 0 {
		limit = answerTime + time.Duration(c.size/copyRate)*time.Second
	}
	return c.f.s.perform(ctx, effort{limit: limit}, func(ctx context.Context) error {
		*attempts++
		_, err := c.f.s.bucket.Copy(ctx, c.from, c.to, PutOptions{IfAbsent: true, Writer: c.writer})
		c.unsure = c.unsure || err != nil && !isFinal(err)
		return err
	})
}

// discardLate removes the copies that the service has made after the stage had given them up.
func (f *files) discardLate(ctx context.Context) error {
	f.mu.Lock()
	late := maps.Clone(f.late)
	f.mu.Unlock()
	for key, writer := range late {
		if err := f.s.discard(ctx, key, writer); err != nil {
			return err
		}
	}
	return nil
}
