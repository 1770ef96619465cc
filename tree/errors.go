package tree

import (
	"errors"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
)

// pathErrors collects the errors of one call.
type pathErrors []pathError

type pathError struct {
	path  Path
	err   error
	minor bool // the program can leave the leaf out
}

func (es *pathErrors) add(p Path, err error) { *es = append(*es, pathError{path: p, err: err}) }

// join returns the errors as one, in the order of their paths. The minor ones come last,
// because a message lists only the first errors.
func (es pathErrors) join() error {
	slices.SortStableFunc(es, func(a, b pathError) int {
		if a.minor != b.minor {
			if b.minor {
				return -1
			}
			return 1
		}
		return a.path.Compare(b.path)
	})
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = &fault.Leaf{Path: e.path.String(), Err: e.err}
	}
	return errors.Join(errs...)
}
