package coord

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrTimeout matches the errors about a process that did not arrive in time.
var ErrTimeout = errors.New("did not arrive in time")

// ErrStopped is the error with which a process gives up because another one has failed;
// see [Op.Watch]. Only the failure of the other is reported.
var ErrStopped = errors.New("stopped, because another process has failed")

// LostError reports that a process has left the group or has died, or that it did not
// show for a while that it lives.
type LostError struct{ Rank int }

func (e *LostError) Error() string { return fmt.Sprintf("process %d is lost", e.Rank) }

// Failure is the failure of one process in a phase.
type Failure struct {
	Rank  int
	Phase string
	// Err is the failure. In the process that failed it is the error itself. The other
	// processes know its text, whether it is a [*LostError] or matches [ErrTimeout], and
	// which classes of errors of package orbax it matches, such as orbax.ErrExist.
	Err error
}

func (f *Failure) Error() string {
	if _, ok := f.Err.(*LostError); ok {
		return fmt.Sprintf("%v in phase %s", f.Err, f.Phase)
	}
	return fmt.Sprintf("process %d in phase %s: %v", f.Rank, f.Phase, f.Err)
}

func (f *Failure) Unwrap() error { return f.Err }

// Error is the failure of a phase, which all processes get.
type Error struct {
	What     string     // the operation
	Failures []*Failure // at most maxFailures, those of the lowest ranks
	More     int        // how many other processes have failed
	// Unknown says that this process does not know the outcome of the phase: its context
	// has ended, it is lost, or rank 0 is lost, late, or could not publish the outcome.
	Unknown bool
}

// maxFailures is the number of failures that an error describes.
const maxFailures = 8

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.What)
	separator := ": "
	for i := 0; i < len(e.Failures); {
		f, same := e.Failures[i], 1
		for i+same < len(e.Failures) && f.isLike(e.Failures[i+same]) {
			same++
		}
		b.WriteString(separator)
		separator = "; "
		if same == 1 {
			b.WriteString(f.Error())
		} else { // all say the same, as when they do not fit together
			ranks := make([]string, same)
			for k := range ranks {
				ranks[k] = strconv.Itoa(e.Failures[i+k].Rank)
			}
			fmt.Fprintf(&b, "processes %s in phase %s: %v", strings.Join(ranks, ", "), f.Phase, f.Err)
		}
		i += same
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "; and %d other processes", e.More)
	}
	return b.String()
}

// isLike reports whether another process has failed in the same way.
func (f *Failure) isLike(other *Failure) bool {
	return f.Phase == other.Phase && f.Err.Error() == other.Err.Error()
}

func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f
	}
	return errs
}
