package main

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"time"
)

// report is the result of one run.
type report struct {
	Time        time.Time         `json:"time"`
	Took        float64           `json:"took_seconds"`
	System      string            `json:"system"`
	CPUs        int               `json:"cpus"`
	Go          string            `json:"go"`
	Rounds      int               `json:"rounds"`
	Python      map[string]string `json:"python,omitempty"` // versions of the Python packages
	Cases       []*caseResult     `json:"cases"`
	Growth      []*series         `json:"growth"`
	Incremental []*incremental    `json:"incremental,omitempty"`
	Together    []*together       `json:"together,omitempty"`
	Goals       []goal            `json:"goals"`
}

// caseResult is the result for one state.
type caseResult struct {
	Case benchCase `json:"case"`
	Rows []*row    `json:"rows"`
}

func newReport(rounds int) *report {
	return &report{
		Time: time.Now().UTC(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Go: runtime.Version(), Rounds: rounds,
	}
}

// newCaseResult brings the rows into the order of the tables.
func newCaseResult(c benchCase, measured []*row) *caseResult {
	var rows []*row
	for _, first := range measured {
		rows = append(rows, first)
		if first.again == nil {
			continue
		}
		second := &row{method: *first.again, Skipped: first.Skipped}
		second.work = first.work
		for _, s := range first.Samples {
			second.Samples = append(second.Samples, sample{Round: s.Round, Seconds: s.Again, Moved: s.Moved})
		}
		rows = append(rows, second)
	}
	slices.SortStableFunc(rows, func(a, b *row) int {
		return cmp.Compare(slices.Index(groups, a.Group), slices.Index(groups, b.Group))
	})
	return &caseResult{Case: c, Rows: rows}
}

// spread is a median with the extremes.
type spread struct{ Median, Min, Max float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// over returns the spread of f over the samples; nothing if r is nil.
func (r *row) over(f func(sample) float64) spread {
	var values []float64
	if r != nil {
		for _, s := range r.Samples {
			values = append(values, f(s))
		}
	}
	return spreadOf(values)
}

func (r *row) seconds() spread { return r.over(func(s sample) float64 { return s.Seconds }) }

func (r *row) cpu() spread { return r.over(func(s sample) float64 { return s.CPU }) }

// beyond returns the memory in addition to the state, in MiB.
func (r *row) beyond() spread {
	return r.over(func(s sample) float64 { return float64(s.Beyond) / (1 << 20) })
}

// ratio divides the times of r by those of the same rounds of base.
func (r *row) ratio(base *row) spread {
	return r.ratioOf(base, func(s sample) float64 { return s.Seconds })
}

// ratioOf is ratio for a part of the times.
func (r *row) ratioOf(base *row, part func(sample) float64) spread {
	var values []float64
	if r != nil && base != nil {
		for _, s := range r.Samples {
			i := slices.IndexFunc(base.Samples, func(b sample) bool { return b.Round == s.Round })
			if i >= 0 {
				values = append(values, part(s)/part(base.Samples[i]))
			}
		}
	}
	return spreadOf(values)
}

// moved returns the number of bytes that the time of a sample is for.
func (c *caseResult) moved(s sample) float64 {
	return float64(cmp.Or(s.Moved, c.Case.total()))
}

// rate returns the rate in GB/s.
func (c *caseResult) rate(r *row) spread {
	return r.over(func(s sample) float64 { return c.moved(s) / s.Seconds / 1e9 })
}

// stored returns the size of the written files as a fraction of the data.
func (c *caseResult) stored(r *row) spread {
	return r.over(func(s sample) float64 { return float64(s.Stored) / c.moved(s) })
}

func (c *caseResult) row(group, who string) *row {
	for _, r := range c.Rows {
		if r.Group == group && r.Who == who {
			return r
		}
	}
	return nil
}

// disk returns the faster of the two rows that write past the page cache.
func (c *caseResult) disk() *row {
	dd, own := c.row(groupLimit, whoDD), c.row(groupLimit, whoDisk)
	if own.seconds().Median < dd.seconds().Median || math.IsNaN(dd.seconds().Median) {
		return own
	}
	return dd
}

// limit returns the row that limits the speed of a group.
func (c *caseResult) limit(group string) *row {
	switch group {
	case groupSave:
		return c.disk()
	case groupAsync, groupLoad:
		return c.row(groupLimit, whoCopyFresh)
	case groupAgain, groupInto:
		return c.row(groupLimit, whoCopy)
	case groupCold:
		return c.row(groupLimit, whoDiskRead)
	}
	return nil
}

// orbax returns the row of Orbax with which a group is compared. Orbax always loads into
// fresh memory.
func (c *caseResult) orbax(group, who string) *row {
	if group == groupInto {
		group = groupLoad
	}
	return c.row(group, who)
}
