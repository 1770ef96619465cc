package object

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
)

// recover undoes or finishes what a dead writer has begun. ended reports that its work is
// done, and was not undone. recover may be repeated from the beginning after any of its
// steps.
func (c *claim) recover(ctx context.Context, was record) (ended bool, err error) {
	switch was.State {
	case writing:
		ended, err = c.undo(ctx, was)
	case replacing, removing:
		ended, err = true, c.finish(ctx, was.Change)
	}
	if err != nil {
		return false, fmt.Errorf("%s: what a dead writer has left: %w", c.dir, err)
	}
	return ended, c.sweep(ctx, was.Writer)
}

// undo removes what a dead writer has added, unless it had published it.
func (c *claim) undo(ctx context.Context, was record) (published bool, err error) {
	keep := map[string]string{}
	if was.Replaces {
		if keep, err = c.s.readKeep(ctx, c.dir, was.Writer); err != nil {
			return false, err
		}
	} else if was.Marker != "" {
		_, err := c.stat(ctx, path.Join(c.dir, was.Marker))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, c.removeNew(ctx, keep)
}

// removeNew removes everything below the directory but the objects in keep, and the
// uploads that have not ended.
func (c *claim) removeNew(ctx context.Context, keep map[string]string) error {
	if err := c.s.try(ctx, func(ctx context.Context) error { return c.s.bucket.AbortUploads(ctx, below(c.dir)) }); err != nil {
		return err
	}
	objects, _, err := c.s.all(ctx, c.dir)
	if err != nil {
		return err
	}
	var refs []Ref
	for _, o := range objects {
		if _, ok := keep[o.Key]; !ok {
			refs = append(refs, Ref{o.Key, o.Version})
		}
	}
	return c.s.remove(ctx, refs)
}

// sweep removes the temporary directory of a writer.
func (c *claim) sweep(ctx context.Context, writer string) error {
	if writer == "" {
		return nil
	}
	temp := tempKey(c.dir, writer)
	if err := c.s.try(ctx, func(ctx context.Context) error { return c.s.bucket.AbortUploads(ctx, temp+"/") }); err != nil {
		return err
	}
	objects, _, err := c.s.all(ctx, temp)
	if err != nil {
		return err
	}
	refs := make([]Ref, len(objects))
	for i, o := range objects {
		refs[i] = Ref{Key: o.Key}
	}
	return c.s.remove(ctx, refs)
}

// stat describes an object.
func (c *claim) stat(ctx context.Context, key string) (info Info, err error) {
	err = c.s.try(ctx, func(ctx context.Context) (err error) {
		info, err = c.s.bucket.Stat(ctx, key)
		return err
	})
	return info, err
}

// finish makes a change of the directory, or what is left of it. While the marker is away,
// the directory is incomplete to readers.
func (c *claim) finish(ctx context.Context, ch *change) error {
	if ch == nil {
		return fmt.Errorf("%w: its record does not say what was to be done", fault.ErrCorrupt)
	}
	if ch.Marker.Key != "" {
		info, err := c.stat(ctx, ch.Marker.Key)
		switch {
		case err == nil && info.Version == ch.Marker.Version:
			err = c.s.remove(ctx, []Ref{ch.Marker})
		case err == nil && ch.Mark: // it is the new one, so that everything is done
			return nil
		case errors.Is(err, fs.ErrNotExist):
			err = nil
		}
		if err != nil {
			return err
		}
	}
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(c.s.o.Concurrency)
	for _, f := range ch.Copies {
		group.Go(func() error {
			return c.s.try(gctx, func(ctx context.Context) error {
				_, err := c.s.bucket.Copy(ctx, f.From, f.To, PutOptions{})
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := c.s.remove(ctx, ch.Remove); err != nil || !ch.Mark {
		return err
	}
	return c.mark(ctx, ch.Marker.Key)
}

// mark makes the marker of the directory: a copy of the claim, which the service makes
// only while the claim is intact. So a writer that has lost its claim cannot publish
// anything.
func (c *claim) mark(ctx context.Context, key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.alive(); err != nil {
		return err
	}
	tctx, cancel := context.WithDeadline(ctx, c.confirmed.Add(c.s.o.Lease))
	defer cancel()
	err := c.s.perform(tctx, effort{urgent: true}, func(ctx context.Context) error {
		_, err := c.s.bucket.Copy(ctx, Ref{c.key, c.version}, key, PutOptions{IfAbsent: true})
		return err
	})
	if err == nil {
		return nil
	}
	// The answer may have been lost, or another process has finished the work of this one.
	found, _, rerr := c.s.readClaim(context.WithoutCancel(ctx), key)
	switch {
	case rerr == nil && found.finishes(c.rec.Writer):
		return nil
	case rerr == nil, errors.Is(rerr, fs.ErrNotExist):
		if errors.Is(err, ErrPrecondition) || errors.Is(err, fs.ErrNotExist) {
			err = c.errLost("another process has it now")
			c.lose(err)
		}
		return err
	}
	return err
}

// keepName is the name of the list of what was in a directory before, in the temporary
// directory of a writer.
const keepName = "/keep"

// putKeep records what is in the directory.
func (c *claim) putKeep(ctx context.Context, keep map[string]string) error {
	text, err := json.Marshal(keep)
	if err != nil {
		return err
	}
	return c.s.perform(ctx, effort{bytes: int64(len(text))}, func(ctx context.Context) error {
		_, err := c.s.bucket.Put(ctx, tempKey(c.dir, c.rec.Writer)+keepName, [][]byte{text}, PutOptions{Writer: c.rec.Writer})
		return err
	})
}

// readKeep returns what was in a directory before a writer began: versions by key.
func (s *Store) readKeep(ctx context.Context, dir, writer string) (map[string]string, error) {
	r, err := s.Open(ctx, tempKey(dir, writer)+keepName)
	if err != nil {
		return nil, err
	}
	if r.Size() > maxClaim {
		return nil, fmt.Errorf("%w: the list of what was there has %d bytes", fault.ErrCorrupt, r.Size())
	}
	text := make([]byte, r.Size())
	if err := r.ReadAt(ctx, text, 0); err != nil {
		return nil, err
	}
	var keep map[string]string
	if err := json.Unmarshal(text, &keep); err != nil {
		return nil, fmt.Errorf("%w: the list of what was there: %w", fault.ErrCorrupt, err)
	}
	return keep, nil
}
