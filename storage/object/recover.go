package object

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
)

// recover undoes or finishes what a dead writer has begun. ended reports that its work is
// done, and was not undone. recover may be repeated from the beginning after any of its
// steps.
func (c *claim) recover(ctx context.Context, was record) (ended bool, err error) {
	switch was.State {
	case writing:
		err = c.removeNew(ctx, was)
	case changing:
		ended, err = true, c.resume(ctx, was.Change)
	}
	if err == nil {
		err = c.sweep(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("%s: what a dead writer has left: %w", c.dir, err)
	}
	return ended, nil
}

// removeNew removes what a writer has made below the directory, and the uploads that have
// not ended. Objects of others stay.
func (c *claim) removeNew(ctx context.Context, was record) error {
	dir := path.Join(c.dir, was.Entry)
	if err := c.abortUploads(ctx, below(dir)); err != nil {
		return err
	}
	objects, _, err := c.s.all(ctx, dir)
	if err != nil {
		return err
	}
	// Times may be whole seconds.
	objects = slices.DeleteFunc(objects, func(o Info) bool { return o.Modified.Before(was.Since.Add(-2 * time.Second)) })
	refs := make([]Ref, len(objects))
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(c.s.o.Concurrency)
	for i, o := range objects {
		group.Go(func() error {
			info, err := c.s.infoOf(gctx, o.Key) // a listing does not have the writers
			if err == nil && strings.HasPrefix(info.Writer, was.Writer) {
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
	return c.remove(ctx, slices.DeleteFunc(refs, func(r Ref) bool { return r.Key == "" }))
}

// abortUploads removes the parts of all uploads of keys with a prefix.
func (c *claim) abortUploads(ctx context.Context, prefix string) error {
	return c.guard(ctx, effort{}, func(ctx context.Context) error { return c.s.bucket.AbortUploads(ctx, prefix) })
}

// remove removes objects.
func (c *claim) remove(ctx context.Context, refs []Ref) error {
	// In pieces, so that each of them ends in the time of one request, and that no piece is
	// repeated for the sake of another.
	for piece := range slices.Chunk(refs, removedAtOnce) {
		if err := c.guard(ctx, effort{}, func(ctx context.Context) error { return c.s.bucket.Delete(ctx, piece) }); err != nil {
			return err
		}
	}
	return nil
}

// removedAtOnce is how many objects one call of a bucket removes.
const removedAtOnce = 500

// sweep removes everything in the directory of the claim but the claim.
func (c *claim) sweep(ctx context.Context) error {
	temp := claimDir(c.dir)
	if err := c.abortUploads(ctx, temp+"/"); err != nil {
		return err
	}
	objects, _, err := c.s.all(ctx, temp)
	if err != nil {
		return err
	}
	var refs []Ref
	for _, o := range objects {
		if o.Key != c.key {
			refs = append(refs, Ref{o.Key, o.Version})
		}
	}
	return c.remove(ctx, refs)
}

// record records a change in the claim. From then on it is made, whatever happens.
func (c *claim) record(ctx context.Context, ch *change) error {
	noted := *ch
	if len(ch.Copies)+len(ch.Remove) >= manySteps {
		text, err := json.Marshal(ch.steps)
		if err != nil {
			return err
		}
		c.kept = true
		noted.steps, noted.List = steps{}, tempKey(c.dir, c.id)+".steps-"+newWriter()
		err = c.guard(ctx, effort{bytes: int64(len(text))}, func(ctx context.Context) error {
			_, err := c.s.bucket.Put(ctx, noted.List, [][]byte{text}, PutOptions{Writer: c.id})
			return err
		})
		if err != nil {
			return err
		}
	}
	return c.change(ctx, func(r *record) { r.State, r.Change = changing, &noted })
}

// resume makes the rest of the change of a dead writer. If the new files are gone, the rest
// cannot be made: the directory stays without a marker, which is no checkpoint.
func (c *claim) resume(ctx context.Context, ch *change) error {
	if ch.List != "" {
		text, info, err := c.s.readAll(ctx, ch.List)
		full := *ch
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case int64(len(text)) < info.Size, json.Unmarshal(text, &full.steps) != nil, !full.steps.valid(c.dir), len(full.Copies) > 0 && !isWriter(ch.Writer):
			return nil
		}
		ch = &full
	}
	if ch.From.Key != "" {
		info, err := c.s.infoOf(ctx, ch.Marker.Key)
		// The new marker may have the bytes of the old one, and then its version.
		switch {
		case err == nil && (info.Version != ch.Marker.Version || strings.HasPrefix(info.Writer, ch.Writer)):
			return nil // it is the new one, so that everything is done
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	err := c.finish(ctx, ch)
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// errGone is the error of a change whose new files are gone.
var errGone = errors.New("the new files are gone")

// finish makes a change of the directory. While the marker is away, the directory is
// incomplete to readers.
func (c *claim) finish(ctx context.Context, ch *change) error {
	if ch.Marker.Version != "" {
		if err := c.remove(ctx, []Ref{ch.Marker}); err != nil {
			return err
		}
	}
	if err := c.remove(ctx, claimsIn(ch.Remove)); err != nil {
		return err
	}
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(c.s.o.Concurrency)
	for _, f := range ch.Copies {
		group.Go(func() error { return c.copy(gctx, f, ch.Writer) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := c.remove(ctx, ch.Remove); err != nil || ch.From.Key == "" {
		return err
	}
	// The marker is a copy of an object that the next holder of the claim removes, so that a
	// writer that has lost its claim cannot publish anything. The object is never made again:
	// only the claim names its version.
	return c.copy(ctx, copied{From: ch.From, To: ch.Marker.Key}, ch.Writer)
}

// claimsIn returns the claims of directories in one that is removed. They go first, in any
// version, so that their writers cannot publish the rest of what they have written.
func claimsIn(refs []Ref) (claims []Ref) {
	for _, r := range refs {
		if isClaim(r.Key) {
			claims = append(claims, Ref{Key: r.Key})
		}
	}
	return claims
}

// copy puts a file that a writer has made in its place. It succeeds if an earlier attempt,
// or another process, has done that.
func (c *claim) copy(ctx context.Context, f copied, writer string) error {
	from, to, o := f.From, f.To, PutOptions{IfAbsent: f.Was == "", IfVersion: f.Was}
	for range 3 {
		err := c.guard(ctx, effort{bytes: f.Size}, func(ctx context.Context) error {
			_, err := c.s.bucket.Copy(ctx, from, to, o)
			return err
		})
		if !errors.Is(err, ErrPrecondition) && !errors.Is(err, fs.ErrNotExist) || c.ctx.Err() != nil {
			return err
		}
		there, terr := c.s.infoOf(ctx, to)
		if terr == nil && strings.HasPrefix(there.Writer, writer) {
			return nil
		}
		if terr != nil && !errors.Is(terr, fs.ErrNotExist) {
			return terr
		}
		source, serr := c.s.infoOf(ctx, from.Key)
		switch {
		case errors.Is(serr, fs.ErrNotExist), serr == nil && source.Version != from.Version:
			return fmt.Errorf("%w: %s", errGone, from.Key)
		case serr != nil:
			return serr
		}
		// A program that claims nothing has changed the file.
		o = PutOptions{IfAbsent: terr != nil, IfVersion: there.Version}
	}
	return fmt.Errorf("%s: %w: other programs change it all the time", to, fault.ErrBusy)
}
