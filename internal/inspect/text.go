package inspect

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
)

// Plural returns a number and a noun, which is plural unless n is 1: "1 leaf", "2 leaves".
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if base, ok := strings.CutSuffix(what, "f"); ok {
		what = base + "ve" // leaf
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// ShapeText returns a shape as in Python: "[2, 3]".
func ShapeText(shape []int) string { return strings.ReplaceAll(fmt.Sprint(shape), " ", ", ") }

// Unique returns list without repetitions.
func Unique(list []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// message returns the message of err for a document: without advice for programs, and
// without the credentials of URLs, which the errors of stores may have. It returns nil if
// err is nil.
func message(err error) *string {
	if err == nil {
		return nil
	}
	text := fault.Redacted(fault.WithoutAdvice(err))
	return &text
}

// Problems returns the messages of err's problems, each once, without the path of the
// checkpoint and without advice for programs.
func Problems(err error) []string {
	var lib *orbax.Error
	if !errors.As(err, &lib) {
		return []string{fault.Printable(fault.WithoutAdvice(err))}
	}
	var lines []string
	for _, p := range lib.Problems() {
		lines = append(lines, fault.Printable(fault.WithoutAdvice(p)))
	}
	return Unique(lines)
}
