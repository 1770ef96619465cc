package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

// An error matches the same classes in another process.
func TestRemote(t *testing.T) {
	for _, err := range append([]error{errors.New("other"), fmt.Errorf("%w, and %w", ErrShape, ErrNotFetched)}, classes...) {
		got := Remote(err.Error(), append(ClassesOf(err), "unknown"))
		if got.Error() != err.Error() {
			t.Errorf("%v: %v", err, got)
		}
		for _, c := range append(classes, fs.ErrExist, fs.ErrNotExist, errors.ErrUnsupported) {
			if errors.Is(got, c) != errors.Is(err, c) {
				t.Errorf("%v matches %v: %v", err, c, errors.Is(got, c))
			}
		}
	}
}
