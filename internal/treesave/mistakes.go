package treesave

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// optionError reports options that do not fit an array.
type optionError struct {
	options string // the wrong options, as a text of any kind
	error
}

func (e *optionError) Unwrap() error { return e.error }

// sameAs returns a text that is equal for all arrays for which the same options are wrong
// in the same way. The message of the error names the shape and dtype of the array only
// after the mistake.
func (e *optionError) sameAs() string {
	text := e.Error()
	if i := strings.IndexAny(text, "0123456789-["); i >= 0 {
		text = text[:i]
	}
	return e.options + "\n" + text
}

// mistakes are the errors of leaves that are to be saved. Options are given once for all
// arrays, so an error in them is reported once, for the first array.
type mistakes struct {
	errs    []error
	options map[string]*optionMistake
}

type optionMistake struct {
	first *fault.Leaf
	more  int
}

func (m *mistakes) add(path string, err error) {
	leaf := &fault.Leaf{Path: path, Err: err}
	var o *optionError
	if !errors.As(err, &o) {
		m.errs = append(m.errs, leaf)
		return
	}
	if known := m.options[o.sameAs()]; known != nil {
		known.more++
		return
	}
	if m.options == nil {
		m.options = map[string]*optionMistake{}
	}
	m.options[o.sameAs()] = &optionMistake{first: leaf}
	m.errs = append(m.errs, leaf)
}

// all returns the mistakes in the order in which they were found.
func (m *mistakes) all() []error {
	for _, o := range m.options {
		switch {
		case o.more == 1:
			o.first.Err = fmt.Errorf("%w (and 1 other leaf)", o.first.Err)
		case o.more > 1:
			o.first.Err = fmt.Errorf("%w (and %d other leaves)", o.first.Err, o.more)
		}
	}
	return m.errs
}
