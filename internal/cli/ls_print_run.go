package cli

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
)

// maxShownMetrics is the number of characters of a step's metrics that a table shows.
const maxShownMetrics = 60

// printRun writes the listing as a table.
func printRun(w io.Writer, l *inspect.RunListing) error {
	rows := [][]string{{"CHECKPOINT", "COMMITTED", "LEAVES", "SIZE", "METRICS"}}
	var bytes, stored int64
	for _, m := range l.Checkpoints {
		row := []string{m.Name, "", fmt.Sprint(m.Leaves), fault.Size(m.Bytes), ""}
		if m.CommitTime != nil {
			row[1] = m.CommitTime.Format(time.RFC3339)
		}
		if m.Error != nil {
			row[2], row[3] = "", "unreadable"
		}
		if m.Metrics.V != nil {
			row[4] = m.Metrics.OneLine(maxShownMetrics)
		}
		bytes += m.Bytes
		stored += m.StoredBytes
		rows = append(rows, row)
	}
	b := bufio.NewWriter(w)
	table(b, rows, 2, 3)
	fmt.Fprintf(b, "total %s, %s, stored in %s\n", inspect.Plural(len(l.Checkpoints), "checkpoint"), fault.Size(bytes), fault.Size(stored))
	if len(l.Unfinished) > 0 {
		fmt.Fprintf(b, "unfinished: %s\n", fault.List(l.Unfinished))
	}
	if !l.Custom.IsEmpty() {
		fmt.Fprintf(b, "custom metadata %s\n", l.Custom.OneLine(maxShownValue))
	}
	return b.Flush()
}
