package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// pace returns a duration and the rate for n bytes in this time.
func pace(n int64, t time.Duration) string {
	s := fmt.Sprintf("%.2fs", t.Seconds())
	if t <= 0 {
		return s
	}
	return s + "  " + fault.Size(int64(float64(n)/t.Seconds())) + "/s"
}

// table prints rows of cells, each as [fault.Shown] shows it. The columns in right are
// right-aligned. An empty cell stays empty: a caller whose name may be empty prepares it
// with [fault.Shown].
func table(w io.Writer, rows [][]string, right ...int) {
	if len(rows) == 0 {
		return
	}
	for _, row := range rows {
		for i, cell := range row {
			if cell != "" {
				row[i] = fault.Shown(cell)
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
