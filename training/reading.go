package training

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/exchanged"
	"github.com/go-orbax/orbax/internal/fault"
)

// reading is the outcome of reading a step in a process. The most severe one counts for all.
type reading struct {
	Kind kind         `json:"kind"`
	Rank int          `json:"rank"`
	Err  *listedError `json:"error,omitempty"`
}

type kind int

// These are the kinds of readings, the less severe first. Any other failure fails the phase.
const (
	readIntact kind = iota
	readDamaged
	readMoved
)

// agreeMoved ends a phase in which each process has read a step. moved says that this
// process has found that the step was removed or replaced, and err is its error. If no
// process has another failure, and the step has moved for one of them, agreeMoved returns
// true and an error in all.
func (o *operation) agreeMoved(ctx context.Context, moved bool, err error) (bool, error) {
	if o.op == nil {
		return moved, err
	}
	if moved {
		err = fmt.Errorf("%w: %v", errMoved, err)
	}
	err = o.worst(ctx, err)
	return errors.Is(err, errMoved), err
}

// worst ends a phase in which each process has read a step. It returns the most severe error
// of all: one that does not match ErrCorrupt or errMoved, or one that matches errMoved, or
// one that matches ErrCorrupt.
func (o *operation) worst(ctx context.Context, err error) error {
	if o.op == nil {
		return err
	}
	own := reading{Rank: o.c.group.Rank(), Err: listError(err)}
	var failed error
	switch {
	case err == nil:
	case ctx.Err() != nil: // then err says nothing about the step
		failed = fault.WithCause(ctx, ctx.Err())
	case errors.Is(err, errMoved):
		own.Kind = readMoved
	case errors.Is(err, orbax.ErrCorrupt):
		own.Kind = readDamaged
	default:
		failed = err
	}
	doc, xerr := o.op.Exchange(ctx, "read", exchanged.Encode(own), failed, mergeReadings)
	if xerr != nil {
		return xerr
	}
	all, xerr := exchanged.Decode[reading](doc)
	switch {
	case xerr != nil:
		return xerr
	case all.Kind == readIntact:
		return nil
	case all.Rank == own.Rank:
		return err
	case all.Kind == readMoved:
		return fmt.Errorf("process %d: %w: %w", all.Rank, errMoved, all.Err.err())
	}
	return fmt.Errorf("process %d: %w", all.Rank, all.Err.err())
}

// mergeReadings returns the most severe reading, of the lowest rank that has it.
func mergeReadings(docs [][]byte) ([]byte, error) {
	var worst reading
	for i, doc := range docs {
		o, err := exchanged.Decode[reading](doc)
		if err != nil {
			return nil, err
		}
		if i == 0 || o.Kind > worst.Kind || o.Kind == worst.Kind && o.Rank < worst.Rank {
			worst = o
		}
	}
	return exchanged.Encode(worst), nil
}

// errMoved is the error of a read during which steps were removed or replaced: there are
// others by now.
var errMoved = fmt.Errorf("%w: the steps have changed while they were read", fault.ErrBusy)
