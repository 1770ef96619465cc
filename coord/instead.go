package coord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Instead calls f in place of a process that is lost or late. Of the other processes that
// are alive, the one with the lowest rank calls it, and all that call Instead get its
// error. If that process is lost before f has returned, or does not call Instead for a
// while, the next one calls f. A process that is lost itself does not call f.
func (o *Op) Instead(ctx context.Context, absent int, f func() error) error {
	wait, cancel := context.WithTimeout(ctx, min(insteadTimeout, cmp.Or(o.group.Timeout, DefaultTimeout)))
	defer cancel()
	driver := o.group.driver
	key := func(rank int) string { return fmt.Sprintf("%sinstead/%d/%d", o.key, absent, rank) }
	own := o.group.Rank()
	for rank := range own {
		if rank == absent {
			continue
		}
		if doc, err := driver.Wait(wait, key(rank), rank); err == nil {
			r, err := parseReport(doc)
			if err == nil {
				err = r.err()
			}
			return err
		}
	}
	if _, err := driver.Lost(ctx); err != nil {
		return err
	}
	err := f()
	r := report{What: o.what, Phase: insteadPhase}
	if err != nil {
		r.fail(own, err)
	}
	if serr := driver.Set(ctx, key(own), r.encode()); serr != nil {
		err = errors.Join(err, serr)
	}
	return err
}

// insteadPhase is the phase of Instead in errors.
const insteadPhase = "take over"

// insteadTimeout bounds the wait for processes that may not call Instead.
const insteadTimeout = 30 * time.Second
