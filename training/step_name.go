package training

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// NameFormat defines the names of the directories of steps. The formats of this package
// are given by value. A program can have its own:
// Name must return an element of a path, a different one for each step, and Step must
// find the step in it. Several goroutines call both.
type NameFormat interface {
	// Name returns the name for step, which is not negative.
	Name(step int) string
	// Step returns the step whose name is name, or false if name is not the name of a
	// step: a root may have other directories too.
	Step(name string) (step int, ok bool)
}

// maxLength is the number of digits that fit in every int.
const maxLength = 18

// StandardNameFormat is the format of Orbax's names: the decimal number, padded with
// zeros to Length digits, after Prefix and an underscore. {} gives 7, and {Prefix: "ck",
// Length: 6} gives ck_000007.
type StandardNameFormat struct {
	// Prefix is put before the number, with an underscore; none if empty. It must not
	// contain a slash, backslash or NUL, or the mark of temporary directories.
	Prefix string
	// Length is the least number of digits, at most 18; 0 means no padding.
	Length int
}

// Name implements [NameFormat].
func (f StandardNameFormat) Name(step int) string {
	return fmt.Sprintf("%s%0*d", f.prefix(), min(max(f.Length, 1), maxLength), step)
}

// Step implements [NameFormat]. It finds exactly the names that Name returns: with a
// Length of 4 it finds 0007 and 12345 but not 7.
func (f StandardNameFormat) Step(name string) (step int, ok bool) {
	digits, ok := strings.CutPrefix(name, f.prefix())
	if !ok {
		return 0, false
	}
	step, err := strconv.Atoi(digits)
	if err != nil || step < 0 || f.Name(step) != name || strings.Contains(name, storage.TempMarker) {
		return 0, false
	}
	return step, true
}

func (f StandardNameFormat) prefix() string {
	if f.Prefix == "" {
		return ""
	}
	return f.Prefix + "_"
}

func (f StandardNameFormat) validate() error {
	var errs []error
	if err := checkName(f.Prefix); err != nil {
		errs = append(errs, fmt.Errorf("StandardNameFormat: Prefix: %w", err))
	}
	if f.Length < 0 || f.Length > maxLength {
		errs = append(errs, fmt.Errorf("StandardNameFormat: Length is %d, which must be from 0 to %d", f.Length, maxLength))
	}
	return errors.Join(errs...)
}

// CompositeNameFormat reads names of several formats and writes names of one, for a run
// whose format has changed.
//
// If a root has one step under several names, the name whose format comes first in Read
// is the step. If Write is not in Read, it comes before all of them. (Orbax requires it
// in Read. It finds a step by the same order, but lists such a step once for each name.)
type CompositeNameFormat struct {
	Write NameFormat
	Read  []NameFormat
}

// Name implements [NameFormat]. It returns the name that Write gives.
func (f CompositeNameFormat) Name(step int) string { return f.Write.Name(step) }

// Step implements [NameFormat]. It returns the step that the first format finds.
func (f CompositeNameFormat) Step(name string) (step int, ok bool) {
	for _, format := range f.formats() {
		if step, ok = format.Step(name); ok {
			return step, true
		}
	}
	return 0, false
}

// formats returns the formats for reading names, the preferred ones first.
func (f CompositeNameFormat) formats() []NameFormat {
	all := f.Read
	if !containsFormat(f.Read, f.Write) {
		all = append([]NameFormat{f.Write}, f.Read...)
	}
	var flat []NameFormat
	for _, format := range all {
		if c, ok := format.(CompositeNameFormat); ok {
			flat = append(flat, c.formats()...)
		} else {
			flat = append(flat, format)
		}
	}
	return flat
}

// containsFormat reports whether formats has f. Formats need not be comparable.
func containsFormat(formats []NameFormat, f NameFormat) bool {
	for _, format := range formats {
		if reflect.DeepEqual(format, f) {
			return true
		}
	}
	return false
}

func (f CompositeNameFormat) validate() error {
	if f.Write == nil {
		return errors.New("CompositeNameFormat: Write is nil")
	}
	errs := []error{validate(f.Write)}
	for i, format := range f.Read {
		if format == nil {
			errs = append(errs, fmt.Errorf("CompositeNameFormat: Read %d is nil", i))
		} else if !reflect.DeepEqual(format, f.Write) {
			errs = append(errs, validate(format))
		}
	}
	return errors.Join(errs...)
}

// nameRank returns the rank of a name; of several names of one step the lowest counts.
func nameRank(f NameFormat, name string) int {
	c, ok := f.(CompositeNameFormat)
	if !ok {
		return 0
	}
	formats := c.formats()
	for i, format := range formats {
		if _, ok := format.Step(name); ok {
			return i
		}
	}
	return len(formats)
}

// stepOf returns the step of an entry of a root. Whatever a format of the program
// returns, temporary names and negative numbers are not steps.
func stepOf(f NameFormat, name string) (step int, ok bool) {
	if strings.Contains(name, storage.TempMarker) {
		return 0, false
	}
	step, ok = f.Step(name)
	return step, ok && step >= 0
}

// nameOf returns the name for a new step. It fails if the name cannot be a directory's
// name or would not be found again.
func nameOf(f NameFormat, step int) (string, error) {
	if step < 0 {
		return "", fmt.Errorf("step %d is negative", step)
	}
	name := f.Name(step)
	if name == "" || name == "." || name == ".." {
		return "", fmt.Errorf("%w: the format calls step %d %q", fault.ErrReservedName, step, name)
	}
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("name of step %d: %w", step, err)
	}
	if back, ok := stepOf(f, name); !ok || back != step {
		return "", fmt.Errorf("%w: the format calls step %d %q, and takes that for (%d, %t)", fault.ErrReservedName, step, name, back, ok)
	}
	return name, nil
}

// checkName returns an error if name has characters that a directory's name must not
// have.
func checkName(name string) error {
	for _, bad := range []string{"/", `\`, "\x00", storage.TempMarker} {
		if strings.Contains(name, bad) {
			return fmt.Errorf("%w: %q contains %q", fault.ErrReservedName, name, bad)
		}
	}
	return nil
}
