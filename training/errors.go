package training

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
)

// ErrOlderStep is the error of a save of a step that is older than the newest step in the
// root. [Force] saves it.
var ErrOlderStep = fault.ErrOlderStep

// Error is the error of all functions and methods of this package that read or write a
// root, so [errors.As] finds it. If a step could not be saved, loaded or deleted, it
// wraps an *orbax.Error. Outside of a group it then has its text, which names the step. With [errors.Is] it
// matches the errors of package orbax: ErrExist if the step exists already, ErrNotExist
// if there is none.
//
// Two errors are not of this type: the error of a context that ends while
// [Response.Result] waits, and an [EarlierError] that a save returns together with its
// own outcome. An [EarlierError] wraps an *Error.
type Error struct {
	Op   string // "save", "load", "delete" …
	Root string
	Step int // -1 if the error is not about a step
	Err  error
}

func (e *Error) Error() string {
	text := e.Err.Error()
	if strings.HasPrefix(text, "orbax: ") { // it names the step
		return text
	}
	text = strings.TrimPrefix(text, e.Op+": ") // of the operation of a group
	if e.Step < 0 {
		return fault.Redacted(fmt.Sprintf("training: %s %s: %s", e.Op, e.Root, text))
	}
	text = strings.TrimPrefix(text, fmt.Sprintf("%s step %d: ", e.Op, e.Step))
	return fault.Redacted(fmt.Sprintf("training: %s step %d of %s: %s", e.Op, e.Step, e.Root, text))
}

func (e *Error) Unwrap() error { return e.Err }

// EarlierError is the failure of a background save whose [Response] the program has not
// asked. The next save returns it together with its own outcome, which the failure does
// not affect; or Wait or Close returns it. It is returned once.
type EarlierError struct {
	Step int
	Err  error
}

func (e *EarlierError) Error() string {
	return fmt.Sprintf("training: the earlier save of step %d has failed: %v", e.Step, e.Err)
}

func (e *EarlierError) Unwrap() error { return e.Err }

// noStep is the step in errors that are not about a step.
const noStep = -1

// wrap returns err as an *Error, or nil.
func wrap(op, root string, step int, err error) error {
	if err == nil {
		return nil
	}
	if errors.As(err, new(*Error)) {
		return err
	}
	return &Error{Op: op, Root: root, Step: step, Err: err}
}

// unfit is the error err of a load that asks a step for something that it lacks. It
// matches orbax.ErrStructure. It does not match orbax.ErrNotExist as err does, because
// that means that there are no steps.
type unfit struct{ err error }

func (e unfit) Error() string { return e.err.Error() }

// As finds the *orbax.Error.
func (e unfit) As(target any) bool { return errors.As(e.err, target) }

func (unfit) Is(target error) bool { return target == orbax.ErrStructure }
