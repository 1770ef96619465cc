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
	driver := o.group.driver
	prefix := fmt.Sprintf("%sinstead/%d/", o.key, absent)
	key := func(rank int) string { return fmt.Sprint(prefix, rank) }
	own := o.group.Rank()
	for rank := range own {
		if rank == absent {
			continue
		}
		// Each process has its own time: one that waited for a process before it calls f
		// only when that time is over.
		wait, cancel := context.WithTimeout(ctx, min(insteadTimeout, cmp.Or(o.group.Timeout, DefaultTimeout)))
		doc, err := driver.Wait(wait, key(rank), rank)
		cancel()
		if err == nil {
			return errOf(doc)
		}
	}
	// Another one may have called f because this process was late.
	called, err := driver.List(ctx, prefix)
	if err != nil {
		return err
	}
	if len(called) > 0 {
		return errOf(called[0].Value)
	}
	err = f()
	r := report{What: o.what, Phase: insteadPhase}
	if err != nil {
		r.fail(own, err)
	}
	if serr := driver.Set(ctx, key(own), r.encode()); serr != nil {
		err = errors.Join(err, serr)
	}
	return err
}

// errOf returns the failures of a report.
func errOf(doc []byte) error {
	r, err := parseReport(doc)
	if err != nil {
		return err
	}
	return r.err()
}

// insteadPhase is the phase of Instead in errors.
const insteadPhase = "take over"

// insteadTimeout bounds the wait for processes that may not call Instead.
const insteadTimeout = 30 * time.Second
