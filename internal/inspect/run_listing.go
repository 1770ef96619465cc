package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// RunListing describes a run. The help of orbax ls describes its JSON.
type RunListing struct {
	Path        string      `json:"path"`
	Checkpoints []runMember `json:"checkpoints"`
	Unfinished  []string    `json:"unfinished"`
	Custom      Values      `json:"custom_metadata"`

	Err error `json:"-"` // errors of the checkpoints that cannot be read
}

// runMember is a checkpoint in the directory of a run.
type runMember struct {
	Name        string     `json:"name"`
	Step        *int       `json:"step"`
	CommitTime  *time.Time `json:"commit_time"`
	Leaves      int        `json:"leaves"`
	Bytes       int64      `json:"bytes"`
	StoredBytes int64      `json:"stored_bytes"`
	Metrics     Values     `json:"metrics"`
	Error       *string    `json:"error"`
}

// List describes the checkpoints of a run. It reads only their documents.
func (r *Run) List(ctx context.Context) (*RunListing, error) {
	l := &RunListing{Path: r.at.String(), Checkpoints: []runMember{}, Unfinished: append([]string{}, r.unfinished...)}
	var errs []error
	for _, name := range slices.Concat(r.steps, r.others) {
		c, err := r.in.List(ctx, r.at.Join(name).Path(), "")
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if isUnfinishedSave(err) {
			l.Unfinished = append(l.Unfinished, name)
			continue
		}
		if isNone(err) {
			continue // not a checkpoint, or removed meanwhile
		}
		m := runMember{Name: name}
		if n, ok := StepNumber(name); ok {
			m.Step = &n
		}
		if err == nil {
			m.describe(c)
			err = c.Err
		}
		if err != nil {
			err = problemOf(err)
			m.Error = message(err)
			errs = append(errs, fmt.Errorf("%s: %w", fault.Shown(name), err))
		}
		l.Checkpoints = append(l.Checkpoints, m)
	}
	m, err := r.in.runMetadata(ctx, r.at)
	if err != nil {
		errs = append(errs, fmt.Errorf("metadata of the run: %w", err))
	} else if len(m.Custom) > 0 {
		l.Custom = Values{m.Custom}
	}
	if len(errs) > 0 {
		l.Err = InCheckpoint(r.at.Path(), errors.Join(errs...))
	}
	return l, nil
}

func (m *runMember) describe(l *Listing) {
	m.CommitTime, m.Metrics = l.CommitTime, l.Metrics
	for _, p := range l.Parts {
		if p.Pytree != nil {
			m.Leaves += len(p.Leaves)
			m.Bytes += p.Bytes
			m.StoredBytes += p.StoredBytes
		}
	}
}
