package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/storage"
)

// In a store that commits by marker, a step that is overwritten lacks its marker for a
// moment. If its writer dies then, the next one finishes the exchange: a step is there
// whatever happens, and a run must not be continued as if it were not.

// inExchange reports whether the error of opening a step says that.
func inExchange(err error) bool { return exchangeOf(err) != nil }

func exchangeOf(err error) *fault.Claimed {
	var claimed *fault.Claimed
	if errors.As(err, &claimed) && claimed.Exchange {
		return claimed
	}
	return nil
}

// isReplaced reports whether the error of opening a step says that it is exchanged for a new
// one, so that it counts as a step. A step that was not there before is not there before it
// is complete.
func isReplaced(err error) bool {
	claimed := exchangeOf(err)
	return claimed != nil && !claimed.New
}

// inLiveExchange reports whether err, perhaps of another process, says that the writer of an
// exchange may be alive.
func inLiveExchange(err error) bool {
	return errors.Is(err, orbax.ErrBusy) && errors.Is(err, orbax.ErrIncomplete)
}

// finishDead finishes what the dead writers of steps have begun, if that is decided, and
// lists the root again then. The listing shows their claims, so a root without claims costs
// no request.
func (r *root) finishDead(ctx context.Context, e *entries) error {
	if !r.finishes || !r.needsMarker() {
		return nil
	}
	finished := false
	for _, o := range e.others {
		of, _, temporary := strings.Cut(o.Name, storage.TempMarker)
		if _, isStep := stepOf(r.names, of); !temporary || !isStep || !o.Dir {
			continue
		}
		at := r.at.Join(of)
		work, err := at.Store.Work(ctx, at.Name)
		if err != nil {
			return fault.WithCause(ctx, err)
		}
		if work == nil || work.Alive() || !work.Decided {
			continue
		}
		switch err := proof.RemoveLeft(ctx, at); {
		case err == nil:
			finished = true
		case errors.Is(err, orbax.ErrBusy), errors.Is(err, fs.ErrPermission): // another program does it, or has to
		default:
			return fmt.Errorf("%s: %w", r.path(of), fault.WithCause(ctx, err))
		}
	}
	if !finished {
		return nil
	}
	again, err := r.list(ctx)
	if err == nil {
		*e = *again
	}
	return err
}

// onlyExchanges returns the error of a run that has no intact step yet, and one in an
// exchange whose writer may be alive.
func (l stepList) onlyExchanges() (err error) {
	if len(l.steps) == 0 && inLiveExchange(l.none) {
		return l.none
	}
	for _, at := range l.steps {
		switch {
		case at.Err == nil:
			return nil
		case inLiveExchange(at.Err):
			err = fmt.Errorf("step %d: %w", at.Step, at.Err)
		}
	}
	return err
}
