// Package answers reads what the answers of services have in common, for the errors of
// drivers.
package answers

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxText is the number of bytes to which [OneLine] cuts a text.
const MaxText = 400

// OneLine returns a text in one line of at most about MaxText bytes.
func OneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > MaxText {
		cut := MaxText
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return text
}

// RetryAfter returns how long the header Retry-After asks the caller to wait; 0 if it does
// not say.
func RetryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 && seconds < 1<<20 {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, at.Sub(now))
}

// Quiet is an error of another package with a text that has no credentials. It wraps Err.
type Quiet struct {
	Text string
	Err  error
}

func (q *Quiet) Error() string { return q.Text }
func (q *Quiet) Unwrap() error { return q.Err }
