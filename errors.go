package orbax

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// These are the classes of failure, for errors.Is. ErrExist and ErrNotExist also match
// fs.ErrExist and fs.ErrNotExist.
var (
	// ErrExist: something is at the path, and Overwrite was not given.
	ErrExist = fault.ErrExist
	// ErrNotExist: nothing is at the path, or a checkpointable is missing.
	ErrNotExist = fault.ErrNotExist
	// ErrBusy: another save or deletion is at work on the same path.
	ErrBusy = fault.ErrBusy
	// ErrDeletionInProgress: the deletion of a checkpointable has begun and not finished.
	// It was interrupted, is running, or has failed. [Delete] with the same Name finishes
	// it; [CheckpointMetadata.Deleting] has that name. The error of a change to the
	// checkpoint matches [ErrBusy] too, and that of a load of the checkpointable
	// [ErrNotExist].
	ErrDeletionInProgress = fault.ErrDeletionInProgress
	// ErrInPlace: the checkpoint is complete and at its path; a later action has failed.
	ErrInPlace = fault.ErrInPlace
	// ErrNoSpace: the disk, or the user's quota on it, has too little room. The error
	// also matches syscall.ENOSPC if the system returned that.
	ErrNoSpace = fault.ErrNoSpace
	// ErrNoMemory: the call needs more memory than the machine has, or than the control
	// group or the resource limits of the process allow. A program that gets more can try
	// again. A few bytes of a hostile checkpoint can ask for any amount.
	ErrNoMemory = fault.ErrNoMemory
	// ErrLink: a symbolic link inside a checkpoint leads out of it, and [FollowLinks] was
	// not given. In a model hub's cache, links from a snapshot to the directory blobs of
	// the same model are allowed.
	ErrLink = fault.ErrLink
	// ErrInvalidCheckpoint: the path does not hold a checkpoint.
	ErrInvalidCheckpoint = fault.ErrInvalidCheckpoint
	// ErrIncomplete: a checkpoint whose writing was not finished.
	ErrIncomplete = fault.ErrIncomplete
	// ErrCorrupt: stored bytes differ from the bytes that were written.
	ErrCorrupt = fault.ErrCorrupt
	// ErrStructure: a tree lacks the requested keys.
	ErrStructure = fault.ErrStructure
	// ErrShape: an array of another shape.
	ErrShape = fault.ErrShape
	// ErrDType: an array or number of another type.
	ErrDType = fault.ErrDType
	// ErrLeafType: a Go value that no checkpoint can hold.
	ErrLeafType = fault.ErrLeafType
	// ErrKeyCollision: different leaves that would have the same name.
	ErrKeyCollision = fault.ErrKeyCollision
	// ErrReservedName: a name has another meaning, or is unsafe.
	ErrReservedName = fault.ErrReservedName
	// ErrUnsupported: this version, the store or the checkpoint lacks the format or
	// feature. It matches [errors.ErrUnsupported].
	ErrUnsupported = fault.ErrUnsupported
	// ErrUsage: an option or an argument has no meaning for this call, whatever is at the
	// path. The program has to be changed.
	ErrUsage = fault.ErrUsage
)

// Error is the type of the errors that this package returns.
type Error struct {
	Op   string // "save", "load", "open" …
	Path string // of the checkpoint
	// Leaf is the leaf that failed, if it was one: its keys joined with dots. See
	// [Error.Leaves].
	Leaf string
	Err  error
}

// LeafError is the failure of one leaf. Its fields are Path, the keys of the leaf joined
// with dots, and Err, the cause. Every package of this module returns it.
type LeafError = fault.Leaf

// maxProblems is how many errors a message lists; Problems has all.
const maxProblems = 20

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "orbax: %s %s: ", e.Op, fault.Printable(e.Path))
	problems := e.Problems()
	if len(problems) == 1 {
		b.WriteString(fault.Printable(problems[0].Error()))
		return b.String()
	}
	fmt.Fprintf(&b, "%d errors:", len(problems))
	for i, p := range problems {
		if i == maxProblems {
			fmt.Fprintf(&b, "\n\tand %d more", len(problems)-i)
			break
		}
		b.WriteString("\n\t" + fault.Printable(p.Error()))
	}
	return b.String()
}

// Problems returns the errors that e joins, or the one that it wraps. A function that
// continues after a failure returns all failures at once.
func (e *Error) Problems() []error { return flatten(e.Err) }

// flatten returns the errors that errors.Join has joined in err, or err alone.
func flatten(err error) []error {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	// fmt.Errorf wraps several errors in one sentence, which stays whole.
	parts := several.Unwrap()
	if errors.Join(parts...).Error() != err.Error() {
		return []error{err}
	}
	var all []error
	for _, p := range parts {
		all = append(all, flatten(p)...)
	}
	return all
}

func (e *Error) Unwrap() error { return e.Err }

// Leaves returns the failure of each leaf that failed. A save or a load that is refused
// names all such leaves at once.
func (e *Error) Leaves() []*LeafError { return leafErrors(e.Err) }

func leafErrors(err error) []*LeafError {
	switch err := err.(type) {
	case *LeafError:
		return []*LeafError{err}
	case interface{ Unwrap() []error }:
		var all []*LeafError
		for _, e := range err.Unwrap() {
			all = append(all, leafErrors(e)...)
		}
		return all
	case interface{ Unwrap() error }:
		return leafErrors(err.Unwrap())
	}
	return nil
}

// wrap returns err as an *Error, or nil. If it came from the end of ctx it says
// why that ended.
func wrap(ctx context.Context, op, path string, err error) error {
	if err == nil {
		return nil
	}
	err = fault.WithCause(ctx, err)
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	e := &Error{Op: op, Path: path, Err: err}
	if leaves := leafErrors(err); len(leaves) == 1 {
		e.Leaf = leaves[0].Path
	}
	return e
}
