package cli

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// pace returns a time and the rate that it means for n bytes.
func pace(n int64, t time.Duration) string {
	s := fmt.Sprintf("%.2fs", t.Seconds())
	if t <= 0 {
		return s
	}
	return s + "  " + fault.Size(int64(float64(n)/t.Seconds())) + "/s"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if base, ok := strings.CutSuffix(what, "f"); ok {
		what = base + "ve" // leaf
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// shown returns a name from a checkpoint as it may go to a terminal, see
// fault.Shown.
func shown(name string) string { return fault.Shown(name) }

// table prints rows of cells, which shown makes fit for it, of which the columns in right are right-aligned.
func table(w io.Writer, rows [][]string, right ...int) {
	if len(rows) == 0 {
		return
	}
	for _, row := range rows {
		for i, cell := range row {
			if cell != "" {
				row[i] = shown(cell)
			}
		}
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	isRight := make([]bool, len(widths))
	for _, i := range right {
		isRight[i] = true
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if isRight[i] {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// writeJSON writes v as an indented document.
func writeJSON(w io.Writer, v any) error {
	doc, err := layout.EncodeJSON(v)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(forJSON(w))
	writeIndented(b, doc)
	b.WriteByte('\n')
	return b.Flush()
}

// finite returns a value of custom metadata with the numbers that JSON does not
// have, which Python writes nonetheless, as strings.
func finite(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = finite(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = finite(e)
		}
		return l
	case float64:
		if s := nonFinite(v); s != "" {
			return s
		}
	}
	return v
}

// jsonValues is a value of custom metadata or metrics. In a document of --json it is as
// finite makes it.
type jsonValues struct{ v any }

func (j jsonValues) MarshalJSON() ([]byte, error) { return layout.EncodeJSON(finite(j.v)) }

// isEmpty reports whether there is nothing to print.
func (j jsonValues) isEmpty() bool {
	members, ok := j.v.(map[string]any)
	return j.v == nil || ok && len(members) == 0
}

// oneLine returns the value in a line of at most n characters, abridged if it is longer:
// as JSON with the words NaN and Infinity, which Python writes and no string looks like.
func (j jsonValues) oneLine(n int) string {
	doc, err := layout.EncodeNumbers(j.v)
	if err != nil {
		return "?" // what was parsed from JSON can be encoded again
	}
	if text := []rune(string(doc)); len(text) > n {
		return string(text[:n-3]) + "..."
	}
	return string(doc)
}

// nonFinite returns what stands in a JSON document for a number that JSON does
// not have, or "".
func nonFinite(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return ""
}
