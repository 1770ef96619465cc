package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// runner makes the measurements.
type runner struct {
	dir    string // for all files
	python string // "" for none
	rows   *regexp.Regexp
	rounds int
	log    io.Writer
	start  time.Time
	failed []error // of rows, except those that this machine cannot measure
	// versions are the versions of the installed Python packages.
	versions map[string]string
}

// row is a method with its samples, one for each round.
type row struct {
	method
	Samples []sample `json:"samples"`
	Skipped string   `json:"skipped,omitempty"` // reason why there are no samples
}

// errSkip reports that this machine cannot measure a row.
var errSkip = errors.New("skipped")

// findPackages finds the Python packages that the interpreter has.
func (r *runner) findPackages(ctx context.Context) error {
	if r.python == "" {
		return nil
	}
	var names []string
	for _, packages := range needs {
		names = append(names, packages...)
	}
	slices.Sort(names)
	const script = `
import json, sys
from importlib import metadata
found = {"python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))`
	out, err := exec.CommandContext(ctx, r.python, append([]string{"-c", script}, slices.Compact(names)...)...).Output()
	if err != nil {
		return fmt.Errorf("%s: %w", r.python, err)
	}
	return json.Unmarshal(out, &r.versions)
}

// missing names the packages that the interpreter lacks for a program; "" if none.
func (r *runner) missing(p program) string {
	var lacks []string
	for _, name := range needs[p] {
		if r.versions[name] == "" {
			lacks = append(lacks, name)
		}
	}
	if len(lacks) == 0 {
		return ""
	}
	return "needs " + strings.Join(lacks, ", ") + " for Python"
}

// measureAll fills the report. It works in a new directory, which it removes at the end.
func (r *runner) measureAll(ctx context.Context, report *report, cases []benchCase, growing []*series, changing []*incremental, several []*together) error {
	if err := r.checkRows(cases); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(r.dir, "orbax-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r.dir = dir
	if err := r.findPackages(ctx); err != nil {
		return err
	}
	report.Python = r.versions
	for _, c := range cases {
		result, err := r.measureCase(ctx, c)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.Name, err)
		}
		report.Cases = append(report.Cases, result)
	}
	for _, s := range growing {
		if err := r.measureSeries(ctx, s); err != nil {
			return err
		}
	}
	report.Growth = growing
	for _, in := range changing {
		if err := r.measureIncremental(ctx, in); err != nil {
			return fmt.Errorf("incremental: %s: %w", in.Case.Name, err)
		}
	}
	report.Incremental = changing
	for _, t := range several {
		if err := r.measureTogether(ctx, t); err != nil {
			return fmt.Errorf("together: %s: %w", t.Case.Name, err)
		}
	}
	report.Together = several
	report.Took = time.Since(r.start).Seconds()
	return nil
}

// selects reports whether a method is to be measured.
func (r *runner) selects(m method) bool {
	return r.rows.MatchString(m.String()) || m.again != nil && r.rows.MatchString(m.again.String())
}

// checkRows fails if there is an expression for rows and no case has such a row.
func (r *runner) checkRows(cases []benchCase) error {
	if r.rows.String() == "" {
		return nil
	}
	for _, c := range cases {
		if slices.ContainsFunc(methodsFor(c), r.selects) {
			return nil
		}
	}
	return fmt.Errorf("no row of the cases matches -rows %#q: want an expression for names such as %q or %q",
		r.rows.String(), methods[0].String(), groupCold+": "+whoOurs)
}

// measureCase measures every method in every round.
func (r *runner) measureCase(ctx context.Context, c benchCase) (*caseResult, error) {
	if err := c.writeData(ctx, r.data()); err != nil {
		return nil, err
	}
	var rows []*row
	for _, m := range methodsFor(c) {
		if r.selects(m) {
			rows = append(rows, &row{method: m, Skipped: r.missing(m.Program)})
		}
	}
	if err := r.saveForLoads(ctx, c, rows); err != nil {
		return nil, err
	}
	turns := slices.Clone(rows)
	for round := range r.rounds {
		for _, row := range turns {
			if row.Skipped != "" || row.rare && round%2 == 1 {
				continue
			}
			label := fmt.Sprintf("%s: round %d of %d: %v", c.Name, round+1, r.rounds, row.method)
			if err := r.sample(ctx, row, round, label, func() (sample, error) { return r.measure(ctx, row.method, c) }); err != nil {
				return nil, err
			}
		}
		slices.Reverse(turns)
	}
	for _, row := range rows {
		if row.reads != "" {
			os.RemoveAll(r.checkpoint(row.reads))
		}
	}
	return newCaseResult(c, rows), nil
}

// sample adds a sample to the row, or the reason why there is none: a run of many minutes
// continues without a row that fails, and fails at its end.
func (r *runner) sample(ctx context.Context, row *row, round int, label string, measure func() (sample, error)) error {
	s, err := measure()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		row.Samples, row.Skipped = nil, err.Error()
		if !errors.Is(err, errSkip) {
			row.Skipped = "failed"
			r.failed = append(r.failed, fmt.Errorf("%s: %w", label, err))
		}
		return nil
	}
	s.Round = round
	row.Samples = append(row.Samples, s)
	fmt.Fprintf(r.log, "%6.0fs %s: %.3f s\n", time.Since(r.start).Seconds(), label, s.Seconds)
	return nil
}

// checkpoint returns the path of the checkpoint that all loads of one kind read.
func (r *runner) checkpoint(who string) string {
	return filepath.Join(r.dir, "for-loads-"+strings.NewReplacer(" ", "", ",", "-", "'", "").Replace(who))
}

// written returns the path of checkpoints whose writing is measured.
func (r *runner) written() string { return filepath.Join(r.dir, "written") }

// data returns the path of the file with the values.
func (r *runner) data() string { return filepath.Join(r.dir, "data") }

func (r *runner) job(w work, c benchCase, path string) job {
	return job{work: w, Case: c, Data: r.data(), Path: path, Scratch: r.dir}
}

// saveForLoads makes the checkpoints that are loaded. If one cannot be made, the rows
// that read it report the reason.
func (r *runner) saveForLoads(ctx context.Context, c benchCase, rows []*row) error {
	for _, save := range methods {
		reads := func(load *row) bool { return save.Group == groupSave && load.reads == save.Who }
		if !slices.ContainsFunc(rows, reads) {
			continue
		}
		why := r.missing(save.Program)
		if why == "" {
			_, err := r.child(ctx, r.job(save.work, c, r.checkpoint(save.Who)), nil)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil:
				why = "failed"
				r.failed = append(r.failed, fmt.Errorf("%s: %v: %w", c.Name, save, err))
			}
		}
		for _, row := range rows {
			if why != "" && reads(row) {
				row.Skipped = why
			}
		}
	}
	return nil
}

// measure takes one sample.
func (r *runner) measure(ctx context.Context, m method, c benchCase) (sample, error) {
	if m.reads != "" {
		return r.load(ctx, r.job(m.work, c, r.checkpoint(m.reads)), m.cold)
	}
	j := r.job(m.work, c, r.written())
	defer func() {
		for _, suffix := range []string{"", "0", "1"} {
			os.RemoveAll(j.Path + suffix)
		}
		settle()
	}()
	return r.save(ctx, j)
}

// save measures the writing of a checkpoint that does not exist yet.
func (r *runner) save(ctx context.Context, j job) (s sample, err error) {
	if j.Op == opDD {
		return dd(ctx, j.Path, j.Case.total())
	}
	if j.How == howTogether || j.How == howTogetherRaw {
		s, err = r.together(ctx, j)
	} else {
		s, err = r.child(ctx, j, nil)
	}
	if err == nil && j.Op == opSave {
		err = eachFile(j.Path, func(f *os.File) error {
			info, err := f.Stat()
			if err == nil {
				s.Stored += info.Size()
			}
			return err
		})
	}
	return s, err
}

// load measures the reading of a checkpoint.
func (r *runner) load(ctx context.Context, j job, cold bool) (sample, error) {
	return r.child(ctx, j, func() error {
		if !cold {
			return readAll(j.Path)
		}
		if err := evict(j.Path); err != nil {
			return fmt.Errorf("%w: cannot empty the page cache: %w", errSkip, err)
		}
		return nil
	})
}

// readAll reads all files below dir, to bring them into the page cache.
func readAll(dir string) error {
	return eachFile(dir, func(f *os.File) error {
		// Discard alone would take pieces of 8 KiB.
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
		return err
	})
}

// eachFile calls do with every open file below dir, or with dir if it is a file.
func eachFile(dir string, do func(*os.File) error) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return do(f)
	})
}

// dd writes as many zeros as the state has bytes, past the page cache, with the program
// dd, and flushes them.
func dd(ctx context.Context, path string, n int64) (sample, error) {
	program, err := exec.LookPath("dd")
	if err != nil {
		return sample{}, fmt.Errorf("%w: there is no dd in PATH", errSkip)
	}
	// The last block may be shorter.
	cmd := exec.CommandContext(ctx, program, "if=/dev/zero", "of="+path, "bs=16M",
		fmt.Sprintf("count=%d", n), "iflag=count_bytes", "oflag=direct", "conv=fsync")
	settle()
	start := time.Now()
	out, err := cmd.CombinedOutput()
	s := sample{Seconds: time.Since(start).Seconds()}
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	if err != nil {
		return s, fmt.Errorf("%w: %s", errSkip, bytes.TrimSpace(out))
	}
	s.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return s, nil
}
