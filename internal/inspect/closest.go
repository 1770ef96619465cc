package inspect

import (
	"cmp"
	"slices"
	"strings"
)

// Closest returns up to n candidates that name may have been meant for. They differ from
// name by a few typing errors, or contain it.
func Closest(name string, candidates []string, n int) []string {
	type scored struct {
		name string
		cost int
	}
	var near []scored
	if name == "" {
		return nil
	}
	lower := strings.ToLower(name)
	for _, c := range candidates {
		limit := max(1, len(name)/4)
		cost := distance(lower, strings.ToLower(c), limit)
		if cost > limit {
			if len(name) < 2 || !strings.Contains(strings.ToLower(c), lower) {
				continue
			}
			cost = limit + 1
		}
		near = append(near, scored{c, cost})
	}
	slices.SortStableFunc(near, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, s := range near[:min(n, len(near))] {
		names = append(names, s.name)
	}
	return names
}

// distance returns the number of bytes that must be inserted, removed, replaced or
// swapped with their neighbours to turn a into b. If the number is more than limit, the
// result is some number above limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			replace := last[j]
			if a[i] != b[j] {
				replace++
			}
			row[j+1] = min(replace, row[j]+1, last[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
