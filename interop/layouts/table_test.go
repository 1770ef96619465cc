package layouts

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// table is what became of each pytree of each layout, in each column.
type table struct {
	mu   sync.Mutex
	rows map[string]map[string]string
}

// add is called when a column has been checked.
func (r *table) add(s *stored, column string, t *testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rows == nil {
		r.rows = map[string]map[string]string{}
	}
	row := s.layout.Row + " " + s.Name
	if r.rows[row] == nil {
		r.rows[row] = map[string]string{}
	}
	switch {
	case t.Failed():
		r.rows[row][column] = "FAIL"
	case t.Skipped():
		r.rows[row][column] = "-"
	default:
		r.rows[row][column] = "ok"
	}
}

// String returns the table, "-" where a column has no meaning.
func (r *table) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	line := func(name string, cell func(column string) string) {
		cells := []string{name}
		for _, c := range columns {
			cells = append(cells, cell(c.name))
		}
		w.Write([]byte(strings.Join(cells, "\t") + "\n"))
	}
	line("", func(column string) string { return column })
	for _, row := range slices.Sorted(maps.Keys(r.rows)) {
		line(row, func(column string) string { return cmp.Or(r.rows[row][column], "?") })
	}
	w.Flush()
	return b.String()
}
