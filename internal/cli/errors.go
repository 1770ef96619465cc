package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
)

// These are the exit statuses, as the help of every verb lists them.
const (
	exitOK          = 0
	exitDamaged     = 1
	exitDiffer      = 1 // of diff
	exitFailed      = 2
	exitInterrupted = 130
)

var errInterrupted = errors.New("interrupted")

// errDamaged is the error of a verify that has reported damage, and errUnchecked that of
// a verify that has reported checkpoints that it could not check.
var (
	errDamaged   = errors.New("damaged")
	errUnchecked = errors.New("not checked")
)

// usageError reports a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

func withHint(err error, format string, args ...any) error {
	return hinted{err, fmt.Sprintf(format, args...)}
}

func exitStatus(err error) int {
	var t diffError
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case err == errDiffer:
		return exitDiffer
	case errors.As(err, &t):
		return exitFailed
	case damaged(err):
		return exitDamaged
	}
	return exitFailed
}

// damaged reports whether err means that data differs from the written data, or is
// incomplete.
func damaged(err error) bool {
	return errors.Is(err, errDamaged) || inspect.IsDamage(err)
}

// report writes the error, and the hint unless it is "".
func report(w io.Writer, command string, err error, hint string) {
	if err == errDamaged || err == errUnchecked || err == errDiffer {
		return
	}
	fmt.Fprintf(w, "%s: %s\n", command, describe(err))
	printHint(w, hint)
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(w, "Run '%s --help' for usage.\n", command)
	}
}

// printHint writes a hint unless it is "". A hint may have names and URLs in it.
func printHint(w io.Writer, hint string) {
	if hint != "" {
		fmt.Fprintf(w, "hint: %s\n", fault.Printable(hint))
	}
}

// describe returns the message of err: the path that it concerns, then the problem, or
// one line for each of several problems.
func describe(err error) string {
	prefix := ""
	var lib *orbax.Error
	if errors.As(err, &lib) {
		prefix = fault.Printable(lib.Path) + ": "
	}
	lines := inspect.Problems(err)
	if len(lines) == 1 {
		return prefix + strings.TrimPrefix(lines[0], prefix)
	}
	return fmt.Sprintf("%s%d problems:\n  %s", prefix, len(lines), strings.Join(lines, "\n  "))
}
