package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that one run measured.
type report struct {
	Time   time.Time     `json:"time"`
	System string        `json:"system"`
	CPUs   int           `json:"cpus"`
	Go     string        `json:"go"`
	Dir    string        `json:"dir"`
	Rounds int           `json:"rounds"`
	Orbax  string        `json:"orbax,omitempty"` // versions of what was measured in Python
	Cases  []*caseResult `json:"cases"`
}

// caseResult is what was measured of one state.
type caseResult struct {
	Case   benchCase `json:"case"`
	Rows   []*row    `json:"rows"`
	Checks []check   `json:"checks"`
}

func newReport(dir string, rounds int) *report {
	return &report{
		Time: time.Now().UTC(), System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(),
		Go: runtime.Version(), Dir: dir, Rounds: rounds,
	}
}

func (r *report) add(c *caseResult) {
	groups := []string{groupLimit, groupSave, groupAsync, groupAgain, groupWarm, groupCold}
	slices.SortStableFunc(c.Rows, func(a, b *row) int {
		return cmp.Compare(slices.Index(groups, a.Group), slices.Index(groups, b.Group))
	})
	c.Checks = c.checks()
	r.Cases = append(r.Cases, c)
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

// beyond is in MiB.
func (r *row) beyond() spread {
	return r.over(func(s sample) float64 { return float64(s.Beyond) / (1 << 20) })
}

// ratio divides the times of r by those of the same rounds of base.
func (r *row) ratio(base *row) spread {
	var values []float64
	if r != nil && base != nil {
		for i := range min(len(r.Samples), len(base.Samples)) {
			values = append(values, r.Samples[i].Seconds/base.Samples[i].Seconds)
		}
	}
	return spreadOf(values)
}

func (c *caseResult) row(group, who string) *row {
	for _, r := range c.Rows {
		if r.Group == group && r.Who == who {
			return r
		}
	}
	return nil
}

// limit is the row that says how fast at most the work of a group is done.
func (c *caseResult) limit(group string) *row {
	if group == groupSave {
		return c.row(groupLimit, whoDisk)
	}
	return c.row(groupLimit, whoCopy)
}

// fastestOrbax is the row of a group with the least median of all ways to use
// Orbax.
func (c *caseResult) fastestOrbax(group string) *row {
	var best *row
	for _, r := range c.Rows {
		if r.Group == group && r.job.Python && len(r.Samples) > 0 && (best == nil || r.seconds().Median < best.seconds().Median) {
			best = r
		}
	}
	return best
}

func (r *report) write(out io.Writer) error {
	fmt.Fprintf(out, "%s, %d CPUs, %s, in %s, %d rounds: median (least to most)\n", r.System, r.CPUs, r.Go, r.Dir, r.Rounds)
	if r.Orbax != "" {
		fmt.Fprintln(out, r.Orbax)
	}
	for _, c := range r.Cases {
		if err := c.write(out); err != nil {
			return err
		}
	}
	return nil
}

func (c *caseResult) write(out io.Writer) error {
	name, _, _ := strings.Cut(c.Case.Name, ":")
	fmt.Fprintf(out, "\n%s of %s, %d MiB in all\n\n", name, c.Case.DType, c.Case.total()>>20)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\t\tseconds\tGB/s\tCPU s\tMiB beyond\tto limit\tto Orbax\t\n")
	group := ""
	for _, r := range c.Rows {
		title := ""
		if r.Group != group {
			title, group = r.Group, r.Group
		}
		fmt.Fprintf(w, "%s\t%s\t", title, r.Who)
		if len(r.Samples) == 0 {
			fmt.Fprintf(w, "%s\t\t\t\t\t\t\n", cmp.Or(r.Skipped, "not measured"))
			continue
		}
		t := r.seconds()
		fmt.Fprintf(w, "%s\t%.2f\t", t.text("%.3f"), float64(c.Case.total())/t.Median/1e9)
		if r.Group == groupAgain {
			fmt.Fprint(w, "\t\t")
		} else {
			fmt.Fprintf(w, "%.2f\t", r.over(func(s sample) float64 { return s.CPU }).Median)
			if r.job.Op == opDD {
				fmt.Fprint(w, "\t")
			} else {
				fmt.Fprintf(w, "%.0f\t", r.beyond().Max)
			}
		}
		if limit := c.limit(r.Group); r.Group != groupLimit {
			fmt.Fprint(w, r.ratio(limit).text("%.2f"))
		}
		fmt.Fprintf(w, "\t%s\t\n", r.ratio(c.row(r.Group, whoOrbax)).text("%.2f"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, ch := range c.Checks {
		fmt.Fprintln(out, ch)
	}
	return nil
}

// text returns the median and the extremes, or nothing if there is no value.
func (s spread) text(format string) string {
	if math.IsNaN(s.Median) {
		return ""
	}
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.Median, s.Min, s.Max)
}
