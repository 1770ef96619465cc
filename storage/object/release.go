package object

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// abandon ends the renewals. The claim stays, and the next writer recovers it.
func (c *claim) abandon() {
	c.stop()
	<-c.done
	c.lose(c.errLost("it has ended"))
}

// patient returns a context for the requests that clean up, for which a Patience of less than a
// second is too short.
func (s *Store) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), max(s.o.Patience, time.Second))
}

// giveUp ends the claim of a writer that has nothing left to do, and removes what is in its
// temporary directory: these objects, or whatever there is.
func (c *claim) giveUp(refs ...Ref) error {
	ctx, cancel := c.s.patient()
	defer cancel()
	if c.kept {
		if err := c.sweep(ctx); err != nil {
			lost := errors.Is(err, fault.ErrNotExist) && c.ctx.Err() != nil
			c.abandon()
			if lost { // its next holder does the rest
				return nil
			}
			return err
		}
		refs = nil
	}
	return c.release(ctx, refs...)
}

// release gives up the claim, and removes other objects with it.
func (c *claim) release(ctx context.Context, refs ...Ref) error {
	c.abandon()
	return c.drop(ctx, refs...)
}

// withdraw removes a claim that may have been made although its request has failed with err.
// Otherwise it expires.
func (c *claim) withdraw(ctx context.Context, err error) {
	var answer *Error
	if ctx.Err() == nil && errors.As(err, &answer) && !answer.Temporary {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = c.drop(ctx)
}

// drop removes the object of the claim, and others with it.
func (c *claim) drop(ctx context.Context, refs ...Ref) error {
	c.mu.Lock()
	version, unsure := c.version, c.unsure
	c.mu.Unlock()
	for range 3 {
		if unsure || !c.s.limits.ComparesDeletes {
			var info Info
			err := c.s.perform(ctx, effort{urgent: true}, func(ctx context.Context) (err error) {
				info, err = c.s.bucket.Stat(ctx, c.key)
				return err
			})
			switch {
			case errors.Is(err, fs.ErrNotExist), err == nil && info.Writer != c.id:
				return nil
			case err != nil:
				return err
			}
			version = info.Version
		}
		if err := c.s.remove(ctx, append(refs, Ref{c.key, version})); err != nil || !unsure {
			return err
		}
	}
	return nil
}
