package tree

import (
	"errors"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
)

// pathErrors collects the errors of one call.
type pathErrors []pathError

type pathError struct {
	path Path
	err  error
}

func (es *pathErrors) add(p Path, err error) { *es = append(*es, pathError{p, err}) }

// join returns the errors as one, in the order of their paths.
func (es pathErrors) join() error {
	slices.SortStableFunc(es, func(a, b pathError) int { return a.path.Compare(b.path) })
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = &fault.Leaf{Path: e.path.String(), Err: e.err}
	}
	return errors.Join(errs...)
}
