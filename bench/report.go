package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// write writes the tables, and then the goals.
func (r *report) write(out io.Writer) error {
	fmt.Fprintf(out, "%s, %s, %s, %s in %s: median (least to most)\n", r.System, plural(r.CPUs, "CPU"), r.Go, plural(r.Rounds, "round"), durationText(r.Took))
	if len(r.Python) > 0 {
		fmt.Fprintln(out, r.versions())
	}
	for _, c := range r.Cases {
		if err := c.write(out); err != nil {
			return err
		}
	}
	for _, s := range r.Growth {
		if err := s.write(out); err != nil {
			return err
		}
	}
	for _, in := range r.Incremental {
		if err := in.write(out); err != nil {
			return err
		}
	}
	for _, t := range r.Together {
		if err := t.write(out); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	if len(r.Goals) == 0 {
		fmt.Fprintln(out, "no goals: none is for what was measured; docs/performance.md says what each is for")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, g := range r.Goals {
		fmt.Fprintln(w, g)
	}
	return w.Flush()
}

// versions returns the versions of the measured Python packages.
func (r *report) versions() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(r.Python)) {
		all = append(all, name+" "+r.Python[name])
	}
	return strings.Join(all, ", ")
}

// plural returns a number and a noun whose plural ends in s.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// durationText returns a duration in seconds, or above two minutes in minutes.
func durationText(seconds float64) string {
	if seconds <= 120 {
		return plural(int(math.Ceil(seconds)), "second")
	}
	return plural(int(math.Ceil(seconds/60)), "minute")
}

// title describes the state.
func (c benchCase) title() string {
	name, _, _ := strings.Cut(c.Name, ":")
	return fmt.Sprintf("%s of %s, %s in all", name, c.DType, sizeText(c.total()))
}

// sizeText returns a size of at least a byte in binary units.
func sizeText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.4g %s", v, units[i])
}

func (c *caseResult) write(out io.Writer) error {
	fmt.Fprintf(out, "\n%s\n\n", c.Case.title())
	return c.writeRows(out, "seconds\tGB/s\tCPU s\tMiB beyond\tstored\tto limit\tto Orbax", c.cells)
}

// writeRows writes a table; each group has its name once.
func (c *caseResult) writeRows(out io.Writer, columns string, cells func(*row) []string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\t\t%s\t\n", columns)
	group := ""
	for _, r := range c.Rows {
		title := ""
		if r.Group != group {
			title, group = r.Group, r.Group
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t\n", title, r.Who, strings.Join(cells(r), "\t"))
	}
	return w.Flush()
}

// cells returns the row's cells in the table.
func (c *caseResult) cells(r *row) []string {
	cells := make([]string, 7)
	if len(r.Samples) == 0 {
		cells[0] = cmp.Or(r.Skipped, "not measured")
		return cells
	}
	cells[0] = r.seconds().text("%.4f")
	cells[1] = fmt.Sprintf("%.2f", c.rate(r).Median)
	if cpu := r.cpu().Median; cpu > 0 {
		cells[2] = fmt.Sprintf("%.2f", cpu)
	}
	if r.Samples[0].Memory != "" {
		cells[3] = fmt.Sprintf("%.0f", r.beyond().Max)
	}
	if stored := c.stored(r).Median; stored > 0 {
		cells[4] = fmt.Sprintf("%.3f", stored)
	}
	cells[5] = r.ratio(c.limit(r.Group)).text("%.2f")
	cells[6] = r.ratio(c.orbax(r.Group, whoOrbax)).text("%.3f")
	return cells
}

func (s *series) write(out io.Writer) error {
	fmt.Fprintf(out, "\nGrowth: %v to %v\n\n", s.Cases[0].Case.Name, s.Cases[len(s.Cases)-1].Case.Name)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\t\tseconds\tµs a leaf\ts a GiB\tCPU s\tMiB beyond\tto the first\t\n")
	for i, first := range s.Cases[0].Rows {
		title := first.Group
		for _, c := range s.Cases {
			r := c.Rows[i]
			if len(r.Samples) == 0 {
				fmt.Fprintf(w, "%s\t%s\t%s\t\t\t\t\t\t\n", title, c.Case.Name, cmp.Or(r.Skipped, "not measured"))
				continue
			}
			t := r.seconds()
			fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t%.3f\t%.2f\t%.0f\t%.2f\t\n", title, c.Case.Name, t.text("%.4f"),
				t.Median*1e6/float64(c.Case.Arrays), t.Median/gib(c.Case.total()), r.cpu().Median, r.beyond().Max,
				c.cost(i)/s.Cases[0].cost(i))
			title = ""
		}
	}
	return w.Flush()
}

func (in *incremental) write(out io.Writer) error {
	fmt.Fprintf(out, "\nIncremental: %s\n\n", in.Case.title())
	if err := in.writeRows(out, "seconds\tfingerprints\tcopy\tCPU s\tMiB beyond\twritten\tto whole", in.cells); err != nil {
		return err
	}
	return in.writeSteps(out)
}

// cells returns the row's cells in the table.
func (in *incremental) cells(r *row) []string {
	if len(r.Samples) == 0 {
		return append([]string{cmp.Or(r.Skipped, "not measured")}, make([]string, 6)...)
	}
	positive := func(format string, s spread) string {
		if s.Median <= 0 {
			return ""
		}
		return fmt.Sprintf(format, s.Median)
	}
	return []string{
		r.seconds().text("%.4f"),
		positive("%.4f", r.over(func(s sample) float64 { return s.Digest })),
		positive("%.4f", r.over(func(s sample) float64 { return s.Copy })),
		positive("%.2f", r.cpu()),
		fmt.Sprintf("%.0f", r.beyond().Max),
		positive("%.4f", in.stored(r)),
		r.ratio(in.row(r.Group, whoWhole)).text("%.3f"),
	}
}

// writeSteps shows the long run.
func (in *incremental) writeSteps(out io.Writer) error {
	if len(in.Steps) == 0 {
		return nil
	}
	fmt.Fprintf(out, "\nA run of %s; bytes are parts of the state's\n\n", plural(len(in.Steps), "step"))
	state := float64(in.Case.total())
	var all runStep
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "step\tseconds\twritten\ton disk\t\n")
	for i, s := range in.Steps {
		all = runStep{all.Seconds + s.Seconds, all.Written + s.Written, s.Disk}
		fmt.Fprintf(w, "%d\t%s\t\n", i, s.cells(state))
	}
	fmt.Fprintf(w, "all\t%s\t\n", all.cells(state))
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\nRemoved at random, until one was left; looked at %s that remained: %d damaged\n", plural(in.Verified, "step"), in.Damaged)
	return err
}

func (s runStep) cells(state float64) string {
	disk := ""
	if s.Disk > 0 {
		disk = fmt.Sprintf("%.4f", float64(s.Disk)/state)
	}
	return fmt.Sprintf("%.4f\t%.4f\t%s", s.Seconds, float64(s.Written)/state, disk)
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }

// text returns the median and the extremes, or nothing if there is no value.
func (s spread) text(format string) string {
	if math.IsNaN(s.Median) {
		return ""
	}
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.Median, s.Min, s.Max)
}

// readJSON reads a file that writeJSON has written.
func (r *report) readJSON(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, r); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// writeJSON writes the report to the file name, if name is not empty.
func (r *report) writeJSON(name string) error {
	if name == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(data, '\n'), 0o666)
}
