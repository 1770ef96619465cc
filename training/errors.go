package training

import (
	"errors"
	"fmt"

	"github.com/go-orbax/orbax"
)

// ErrOlderStep is what a save is refused with whose step comes before one that is
// saved already. Force saves it.
var ErrOlderStep = errors.New("older than the newest step")

// Error is the error that this package returns. With errors.Is it matches those of
// package orbax as well: ErrExist if the step is there already, ErrNotExist if
// there is none.
type Error struct {
	Op   string // "save", "load", "delete" …
	Root string
	Step int // -1 if it is not about one
	Err  error
}

func (e *Error) Error() string {
	if e.Step < 0 {
		return fmt.Sprintf("training: %s %s: %v", e.Op, e.Root, e.Err)
	}
	return fmt.Sprintf("training: %s step %d of %s: %v", e.Op, e.Step, e.Root, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// EarlierError is the failure of a save in the background that nobody had asked
// about before another method returned it: Save and SaveAsync, beside the outcome
// of a save of their own, which it does not concern, or Wait, or Close. It is told
// once.
type EarlierError struct {
	Step int
	Err  error
}

func (e *EarlierError) Error() string {
	return fmt.Sprintf("training: the earlier save of step %d has failed: %v", e.Step, e.Err)
}

func (e *EarlierError) Unwrap() error { return e.Err }

// noStep stands for a step in errors that are about none.
const noStep = -1

// wrap returns err as an *Error, or nil. Errors of package orbax name the
// checkpoint, and so the step, already.
func wrap(op, root string, step int, err error) error {
	if err == nil {
		return nil
	}
	var ours *Error
	var named *orbax.Error
	if errors.As(err, &ours) || errors.As(err, &named) {
		return err
	}
	return &Error{Op: op, Root: root, Step: step, Err: err}
}

// unfit is err of a load that asks a step for what it has not. It matches
// orbax.ErrStructure, and not orbax.ErrNotExist as err does: that says that there are
// no steps.
type unfit struct{ err error }

func (e unfit) Error() string { return e.err.Error() }

func (unfit) Is(target error) bool { return target == orbax.ErrStructure }
