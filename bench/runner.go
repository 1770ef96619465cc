package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed child.py
var childScript string

// runner makes the measurements.
type runner struct {
	dir    string // for all files, removed at the end
	python string // "" for none
	rounds int
	log    io.Writer
}

// row is a method with what was measured of it, a sample for each round.
type row struct {
	method
	Samples []sample `json:"samples"`
	Skipped string   `json:"skipped,omitempty"` // why there are none
}

// errSkip says that this machine cannot do what a row measures.
var errSkip = errors.New("skipped")

// pythonVersions names what is measured in Python.
func (r *runner) pythonVersions(ctx context.Context) (string, error) {
	if r.python == "" {
		return "", nil
	}
	const script = "import sys; from importlib.metadata import version as v; print('Python', sys.version.split()[0]," +
		" *[f'{n} {v(n)}' for n in ('orbax-checkpoint', 'tensorstore', 'jax', 'numpy')], sep=', ')"
	out, err := exec.CommandContext(ctx, r.python, "-c", script).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s does not have Orbax: %w: %s", r.python, err, bytes.TrimSpace(out))
	}
	return string(bytes.TrimSpace(out)), nil
}

// measureCase measures every method in every round.
func (r *runner) measureCase(ctx context.Context, c benchCase) (*caseResult, error) {
	data := filepath.Join(r.dir, "data")
	if err := c.writeData(data); err != nil {
		return nil, err
	}
	rows := make([]*row, 0, 20)
	for _, m := range methods(r.python != "") {
		m.job.Case, m.job.Data, m.job.Scratch = c, data, r.dir
		rows = append(rows, &row{method: m})
	}
	if err := r.saveForLoads(ctx, rows); err != nil {
		return nil, err
	}
	for round := range r.rounds {
		for _, row := range rows {
			if row.Skipped != "" {
				continue
			}
			s, err := r.measure(ctx, row.method)
			switch {
			case errors.Is(err, errSkip):
				row.Skipped = err.Error()
				continue
			case err != nil:
				return nil, fmt.Errorf("%s, %s: %w", row.Group, row.Who, err)
			}
			row.Samples = append(row.Samples, s)
			fmt.Fprintf(r.log, "%s: round %d of %d: %s: %s: %.3f s\n", c.Name, round+1, r.rounds, row.Group, row.Who, s.Seconds)
		}
		slices.Reverse(rows)
	}
	if r.rounds%2 == 1 {
		slices.Reverse(rows)
	}
	for _, row := range rows {
		if row.reads != "" {
			os.RemoveAll(r.checkpoint(row.reads))
		}
	}
	return &caseResult{Case: c, Rows: withAgain(rows)}, nil
}

// withAgain gives the second of two asynchronous saves rows of its own.
func withAgain(rows []*row) []*row {
	for _, first := range slices.Clone(rows) {
		if first.Group != groupAsync {
			continue
		}
		again := &row{method: first.method}
		again.Group = groupAgain
		for _, s := range first.Samples {
			again.Samples = append(again.Samples, sample{Seconds: s.Again})
		}
		rows = append(rows, again)
	}
	return rows
}

// checkpoint is where the checkpoint lies that all loads of one kind read.
func (r *runner) checkpoint(who string) string {
	return filepath.Join(r.dir, "for-loads-"+strings.NewReplacer(" ", "", ",", "-").Replace(who))
}

// saveForLoads makes the checkpoints that are loaded.
func (r *runner) saveForLoads(ctx context.Context, rows []*row) error {
	for _, save := range rows {
		needed := func(load *row) bool { return load.reads == save.Who }
		if save.Group != groupSave || !slices.ContainsFunc(rows, needed) {
			continue
		}
		j := save.job
		j.Path = r.checkpoint(save.Who)
		if _, err := r.child(ctx, j, nil); err != nil {
			return fmt.Errorf("%s, %s: %w", save.Group, save.Who, err)
		}
	}
	return nil
}

// measure takes one sample.
func (r *runner) measure(ctx context.Context, m method) (sample, error) {
	j := m.job
	if m.reads != "" {
		j.Path = r.checkpoint(m.reads)
		prepare := readAll
		if m.cold {
			prepare = func(dir string) error {
				if err := evict(dir); err != nil {
					return fmt.Errorf("%w: cannot empty the page cache: %w", errSkip, err)
				}
				return nil
			}
		}
		return r.child(ctx, j, func() error { return prepare(j.Path) })
	}
	j.Path = filepath.Join(r.dir, "written")
	defer func() {
		for _, suffix := range []string{"", "0", "1"} {
			os.RemoveAll(j.Path + suffix)
		}
		settle()
	}()
	if j.Op == opDD {
		return dd(ctx, j.Path, j.Case.total())
	}
	return r.child(ctx, j, nil)
}

// readAll brings all files below dir into the page cache.
func readAll(dir string) error {
	return eachFile(dir, func(f *os.File) error {
		// Discard alone would take pieces of 8 KiB.
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
		return err
	})
}

// eachFile calls do with every file below dir, opened.
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

// dd writes as many zeros as the state has bytes, past the page cache, and
// flushes them: what a durable save takes at least on this disk.
func dd(ctx context.Context, path string, n int64) (sample, error) {
	program, err := exec.LookPath("dd")
	if err != nil {
		return sample{}, fmt.Errorf("%w: there is no dd in PATH", errSkip)
	}
	// The last block may be a part of one.
	cmd := exec.CommandContext(ctx, program, "if=/dev/zero", "of="+path, "bs=16M",
		fmt.Sprintf("count=%d", n), "iflag=count_bytes", "oflag=direct", "conv=fsync")
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

// child has a process of its own do a job. Before the job begins, and after the
// process has made all its preparations, prepare is called if it is not nil.
func (r *runner) child(ctx context.Context, j job, prepare func() error) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	cmd := exec.CommandContext(ctx, self)
	if j.Python {
		cmd = exec.CommandContext(ctx, r.python, "-c", childScript)
	}
	cmd.Env = append(os.Environ(), childVariable+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return sample{}, err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return sample{}, err
	}
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	s, err := converse(json.NewEncoder(in), in, bufio.NewReader(pipe), j, prepare)
	if err != nil {
		in.Close() // the child may be waiting
	}
	if werr := cmd.Wait(); err == nil || errors.Is(err, io.EOF) {
		err = werr
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case s.Error != "":
		err = errors.New(s.Error)
	case err != nil && !errors.Is(err, errSkip):
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()[max(0, stderr.Len()-2000):]))
	}
	return s, err
}

// converse is the parent's part of the conversation that childVariable
// describes.
func converse(job *json.Encoder, in io.Writer, out *bufio.Reader, j job, prepare func() error) (sample, error) {
	var s sample
	if err := job.Encode(j); err != nil {
		return s, err
	}
	line, err := out.ReadBytes('\n')
	if err != nil {
		return s, err
	}
	if len(line) > 1 { // an error came before the job
		return s, json.Unmarshal(line, &s)
	}
	settle()
	if prepare != nil {
		if err := prepare(); err != nil {
			return s, err
		}
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		return s, err
	}
	if line, err = out.ReadBytes('\n'); err != nil {
		return s, err
	}
	return s, json.Unmarshal(line, &s)
}
