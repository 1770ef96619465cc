package view

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/mmap"
	"github.com/go-orbax/orbax/internal/transfer"
)

// check is a part of a mapped leaf that has a checksum.
type check struct {
	leaf *Leaf
	part *Chunk
	data []byte // its elements
	rest []byte // the bytes that are stored after them
}

const (
	// checkBytes is about the number of bytes that one job verifies.
	checkBytes = 1 << 20
	// populateBytes is the number of bytes that are read at once if the elements are not
	// in memory yet: enough for the full rate of a disk.
	populateBytes = 2 << 20
	// checkStep is the number of bytes between two looks at ctx.
	checkStep = 256 << 10
)

// verifyAll reads the elements of checks and verifies them. Its error joins the errors of
// all checks that fail.
func verifyAll(ctx context.Context, e *transfer.Engine, checks []check) error {
	planned := int64(0)
	for i := range checks {
		planned += int64(len(checks[i].data))
	}
	meter := e.Counters()
	meter.Begin(transfer.Moving, planned)
	errs := make([]error, len(checks))
	err := transfer.Each(ctx, e, jobsOf(checks), nil, func(ctx context.Context, job [2]int, _ []byte) error {
		for i := job[0]; i < job[1]; i++ {
			if err := checks[i].verify(ctx); ctx.Err() != nil {
				return ctx.Err()
			} else if err != nil {
				errs[i] = checks[i].leaf.wrap(checks[i].part.describe(err))
			}
			meter.Moved.Add(int64(len(checks[i].data)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(errs...)
}

// jobsOf divides checks into jobs of about checkBytes each, and yields the bounds of each
// job.
func jobsOf(checks []check) iter.Seq[[2]int] {
	return func(yield func([2]int) bool) {
		first, bytes := 0, 0
		for i := range checks {
			if bytes += len(checks[i].data); bytes < checkBytes && i < len(checks)-1 {
				continue
			}
			if !yield([2]int{first, i + 1}) {
				return
			}
			first, bytes = i+1, 0
		}
	}
}

// verify compares the elements with their checksum.
func (c *check) verify(ctx context.Context) error {
	step, done := c.part.Form.Direct(c.part, c.data)
	for rest := c.data; len(rest) > 0; {
		if at := len(c.data) - len(rest); at%populateBytes == 0 {
			if err := populate(rest[:min(len(rest), populateBytes)]); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(rest), checkStep)
		step(rest[:n])
		rest = rest[n:]
	}
	return done(c.rest)
}

// populate brings elements into memory before they are read. For a few pages, the read
// itself does it.
func populate(elements []byte) error {
	if len(elements) < checkStep {
		return nil
	}
	if err := mmap.Populate(elements); err != nil {
		return fmt.Errorf("%w: its file was truncated or cannot be read: %w", fault.ErrCorrupt, err)
	}
	return nil
}
