package fault

import (
	"errors"
	"slices"
)

// classes are the classes of failure that errors keep on their way to another process.
var classes = []error{
	ErrExist, ErrNotExist, ErrBusy, ErrDeletionInProgress, ErrInPlace, ErrNoSpace, ErrNoMemory, ErrLink, ErrInvalidCheckpoint, ErrIncomplete,
	ErrCorrupt, ErrStructure, ErrShape, ErrDType, ErrLeafType, ErrKeyCollision, ErrReservedName, ErrUnsupported, ErrUsage, ErrOlderStep,
}

// ClassesOf returns the names of the classes that err matches, for [Remote].
func ClassesOf(err error) (names []string) {
	for _, c := range classes {
		if errors.Is(err, c) {
			names = append(names, c.Error())
		}
	}
	return names
}

// Remote returns an error of another process. It has the text of that error and matches the
// same classes. Remote ignores names that it does not know.
func Remote(text string, names []string) error {
	e := &remote{text: text}
	for _, c := range classes {
		if slices.Contains(names, c.Error()) {
			e.classes = append(e.classes, c)
		}
	}
	return e
}

type remote struct {
	text    string
	classes []error
}

func (e *remote) Error() string   { return e.text }
func (e *remote) Unwrap() []error { return e.classes }
