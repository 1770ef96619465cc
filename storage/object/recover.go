package object

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
)

// recover undoes or finishes what a dead writer has begun. ended reports that its work is
// done, and was not undone. recover may be repeated from the beginning after any of its
// steps.
func (c *claim) recover(ctx context.Context, was record) (ended bool, err error) {
	if was.State == writing { // first the marker that it has prepared, so that it cannot publish
		if err := c.sweep(ctx, was.Writer); err != nil {
			return false, err
		}
	}
	switch was.State {
	case writing:
		err = c.removeNew(ctx, was.Writer)
	case changing:
		ended, err = true, c.finish(ctx, was.Change, true)
	}
	if err != nil {
		return false, fmt.Errorf("%s: what a dead writer has left: %w", c.dir, err)
	}
	return ended, c.sweep(ctx, was.Writer)
}

// removeNew removes what a writer has made below the directory, and the uploads that have
// not ended. Objects of others stay.
func (c *claim) removeNew(ctx context.Context, writer string) error {
	if err := c.s.try(ctx, func(ctx context.Context) error { return c.s.bucket.AbortUploads(ctx, below(c.dir)) }); err != nil {
		return err
	}
	objects, _, err := c.s.all(ctx, c.dir)
	if err != nil {
		return err
	}
	refs := make([]Ref, len(objects))
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(c.s.o.Concurrency)
	for i, o := range objects {
		group.Go(func() error {
			info, err := c.stat(gctx, o.Key) // a listing does not have the writers
			if err == nil && strings.HasPrefix(info.Writer, writer) {
				refs[i] = Ref{o.Key, info.Version}
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return c.s.remove(ctx, slices.DeleteFunc(refs, func(r Ref) bool { return r.Key == "" }))
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

// finish makes a change of the directory. While the marker is away, the directory is
// incomplete to readers. again says that another process may have done some of it.
func (c *claim) finish(ctx context.Context, ch *change, again bool) error {
	if ch == nil {
		return fmt.Errorf("%w: its record does not say what was to be done", fault.ErrCorrupt)
	}
	if again && ch.Marker.Key != "" {
		info, err := c.stat(ctx, ch.Marker.Key)
		if err == nil && info.Version != ch.Marker.Version && ch.From.Key != "" {
			return nil // it is the new one, so that everything is done
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if ch.Marker.Version != "" {
		if err := c.s.remove(ctx, []Ref{ch.Marker}); err != nil {
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
	if err := c.s.remove(ctx, ch.Remove); err != nil || ch.From.Key == "" {
		return err
	}
	return c.mark(ctx, ch)
}

// mark makes the marker of the directory. It is a copy of an object that the next holder
// of the claim removes before anything else, so that a writer that has lost its claim
// cannot publish anything. The object is never made again: only the claim names its
// version.
func (c *claim) mark(ctx context.Context, ch *change) error {
	err := c.s.perform(ctx, effort{urgent: true}, func(ctx context.Context) error {
		_, err := c.s.bucket.Copy(ctx, ch.From, ch.Marker.Key, PutOptions{IfAbsent: true})
		return err
	})
	if err != nil {
		// The answer may have been lost, or another process has finished the work.
		if info, serr := c.stat(ctx, ch.Marker.Key); serr == nil && strings.HasPrefix(info.Writer, ch.Writer) {
			return nil
		}
	}
	return err
}
