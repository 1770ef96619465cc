package fault

import (
	"errors"
	"strings"
)

// Remedy names the part of this library's API that helps with an error. A program that
// offers the same in another way, as the command line does with a flag, gives its own
// advice.
type Remedy string

// The remedies are options and functions of the packages orbax, partial and convert.
const (
	FillMissing  Remedy = "FillMissing"
	FollowLinks  Remedy = "FollowLinks"
	Overwrite    Remedy = "Overwrite"
	Delete       Remedy = "Delete"
	PartialAbort Remedy = "partial.Abort"
	Select       Remedy = "Select"
	Flat         Remedy = "Flat"
	Repair       Remedy = "Repair"
	Finish       Remedy = "Repair with WriteRepairs" // of what a dead writer has begun
	Wait         Remedy = "wait"                     // for a writer that may be alive
)

// Advised is an error whose message ends with advice on what to do.
type Advised struct {
	Err    error
	Remedy Remedy
	Advice string // a clause that contains the remedy's name
}

// Advise returns err with advice. The advice follows the message after a semicolon.
func Advise(err error, remedy Remedy, advice string) error { return &Advised{err, remedy, advice} }

func (e *Advised) Error() string { return e.Err.Error() + e.tail() }
func (e *Advised) Unwrap() error { return e.Err }

func (e *Advised) tail() string { return "; " + e.Advice }

// RemedyOf returns the [Remedy] in the advice of err, or "".
func RemedyOf(err error) Remedy {
	var a *Advised
	if errors.As(err, &a) {
		return a.Remedy
	}
	return ""
}

// WithoutAdvice returns the message of err without the advice of every [Advised] in it.
func WithoutAdvice(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	walk(err, func(e error) {
		if a, ok := e.(*Advised); ok {
			text = strings.ReplaceAll(text, a.tail(), "")
		}
	})
	return text
}

// walk calls visit with err and all errors that it wraps.
func walk(err error, visit func(error)) {
	visit(err)
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		if inner := w.Unwrap(); inner != nil {
			walk(inner, visit)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range w.Unwrap() {
			walk(inner, visit)
		}
	}
}
