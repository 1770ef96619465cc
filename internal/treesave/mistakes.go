package treesave

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// optionError reports options that an array cannot have.
type optionError struct {
	options string // those that are wrong, as a text of any kind
	error
}

func (e *optionError) Unwrap() error { return e.error }

// sameAs returns what is the same for all arrays that the same options are wrong for in
// the same way: the message has the shape and dtype of the array only behind what is
// wrong.
func (e *optionError) sameAs() string {
	text := e.Error()
	if i := strings.IndexAny(text, "0123456789-["); i >= 0 {
		text = text[:i]
	}
	return e.options + "\n" + text
}

// mistakes are what is wrong with leaves that are to be saved. Options are given once
// for all arrays: what is wrong with them is reported once, for the first.
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
