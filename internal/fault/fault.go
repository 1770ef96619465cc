// Package fault holds the errors that all layers report. Package orbax exports them under
// the same names. Because they are defined once, [errors.Is] works across packages that
// may not import each other.
package fault

import (
	"errors"
	"fmt"
	"io/fs"
)

// These are the classes of failure. Each message is a clause that follows the place of
// the failure: "leaf params.w: shape mismatch: …".
var (
	ErrExist              error = &class{"already exists", fs.ErrExist}
	ErrNotExist           error = &class{"does not exist", fs.ErrNotExist}
	ErrBusy                     = errors.New("another save or deletion is at work on this path")
	ErrDeletionInProgress       = errors.New("a deletion in the checkpoint has begun and is not finished")
	ErrInPlace                  = errors.New("the checkpoint is in place")
	ErrNoSpace                  = errors.New("the disk has not enough room")
	ErrNoMemory                 = errors.New("more memory is needed than this process can have")
	ErrLink                     = errors.New("a symbolic link leads out of the checkpoint")
	ErrInvalidCheckpoint        = errors.New("not a checkpoint")
	ErrIncomplete               = errors.New("incomplete checkpoint")
	ErrCorrupt                  = errors.New("corrupt data")
	ErrStructure                = errors.New("structure mismatch")
	ErrShape                    = errors.New("shape mismatch")
	ErrDType                    = errors.New("dtype mismatch")
	ErrLeafType                 = errors.New("unsupported leaf type")
	ErrKeyCollision             = errors.New("key collision")
	ErrReservedName             = errors.New("reserved or unsafe name")
	ErrUnsupported        error = &class{"unsupported", errors.ErrUnsupported}
	ErrUsage                    = errors.New("invalid request")
)

// ErrUnfinished is the [ErrIncomplete] of a checkpoint that is committed by the file
// commit_success.txt and lacks it. If Orbax is its writer, it holds no lock.
var ErrUnfinished = Advise(
	&class{"incomplete checkpoint: there is no commit_success.txt in it, so its save has died or goes on", ErrIncomplete},
	Delete, "Delete removes it, and Save with Overwrite replaces it")

// ErrNoMatch is the [ErrStructure] of a pattern that no leaf matches.
var ErrNoMatch error = &class{"structure mismatch", ErrStructure}

// ErrEmptyDirectory is the [ErrInvalidCheckpoint] of an empty directory. A save that
// commits by a file leaves one if it is killed at once.
var ErrEmptyDirectory error = &class{"not a checkpoint: the directory is empty", ErrInvalidCheckpoint}

// ErrHoldsOther is the [ErrInvalidCheckpoint] of a checkpoint that cannot be removed as a
// whole, because its directory has other content too.
var ErrHoldsOther error = &class{"the checkpoint holds what is not part of it", ErrInvalidCheckpoint}

// ErrNotFetched is the [ErrIncomplete] of a Git LFS pointer: the save was finished, but
// its files were not fetched.
var ErrNotFetched error = &class{"incomplete checkpoint", ErrIncomplete}

// ErrOlderStep is the error of a save of a step that is older than the newest one of its
// run.
var ErrOlderStep = errors.New("older than the newest step")

// IsFinding reports whether err says what a reading found. Any other error means that the
// reading failed, and that nothing is known.
func IsFinding(err error) bool {
	for _, class := range []error{ErrInvalidCheckpoint, ErrIncomplete, ErrCorrupt, ErrStructure, ErrShape, ErrDType, ErrKeyCollision, ErrReservedName, ErrUnsupported} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// class is a sentinel that also matches another sentinel.
type class struct {
	text string
	as   error
}

func (c *class) Error() string        { return c.text }
func (c *class) Is(target error) bool { return target == c.as }

// Leaf is an error that belongs to one leaf of a tree.
type Leaf struct {
	Path string // keys joined with dots; "" is the root
	Err  error
}

// OfLeaf returns err as an error of the leaf at path, unless it is one already. It
// returns nil if err is nil.
func OfLeaf(path string, err error) error {
	if err == nil {
		return nil
	}
	if l, ok := err.(*Leaf); ok && l.Path == path {
		return err
	}
	return &Leaf{Path: path, Err: err}
}

func (e *Leaf) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("leaf at the root: %v", e.Err)
	}
	return fmt.Sprintf("leaf %s: %v", Shown(e.Path), e.Err)
}

func (e *Leaf) Unwrap() error { return e.Err }

// InItem adds the name of the checkpointable to err.
func InItem(name string, err error) error {
	return fmt.Errorf("checkpointable %q: %w", name, err)
}
