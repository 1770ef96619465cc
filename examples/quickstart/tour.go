package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// tour trains twice, once with a crash in the middle and once without, and shows that
// both runs end with the same state.
type tour struct {
	dir   string
	steps int
	every int
	out   io.Writer
}

func (t tour) run(ctx context.Context) error {
	broken, whole := filepath.Join(t.dir, "broken"), filepath.Join(t.dir, "whole")
	for _, dir := range []string{broken, whole} {
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("%s is there already; choose another directory with -dir", dir)
		}
	}
	crashAt := t.steps / 2 / t.every * t.every // when a save has just begun

	fmt.Fprintln(t.out, "1. Train, and lose the process in the middle of a save")
	err := t.train(ctx, "-dir", broken, "-crash", fmt.Sprint(crashAt))
	if ctx.Err() != nil {
		return err
	}
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != crashed {
		return errors.Join(errors.New("the process has not crashed as it should"), err)
	}
	if err := list(broken, t.out); err != nil {
		return err
	}
	fmt.Fprintln(t.out, "\n2. Start it again: it goes on from the last complete checkpoint")
	if err := t.train(ctx, "-dir", broken); err != nil {
		return err
	}
	fmt.Fprintln(t.out, "\n3. Train without a crash")
	if err := t.train(ctx, "-dir", whole); err != nil {
		return err
	}

	fmt.Fprintln(t.out, "\n4. Compare the two")
	end, err := training.Latest(ctx, broken, training.ReadOptions{})
	if err != nil {
		return err
	}
	end2, err := training.Latest(ctx, whole, training.ReadOptions{})
	if err != nil {
		return err
	}
	parts, differ, err := compare(ctx, end.Path, end2.Path)
	if err != nil {
		return err
	}
	if end.Step != end2.Step || len(differ) > 0 {
		return fmt.Errorf("the runs ended differently, at steps %d and %d, in %s", end.Step, end2.Step, strings.Join(differ, ", "))
	}
	fmt.Fprintf(t.out, "  step %d: all %d leaves and the position in the data are identical, bit for bit\n", end.Step, parts-1)

	fmt.Fprintln(t.out, "\n5. What was kept: the two newest steps, the most accurate, and every 300th")
	if err := listSteps(ctx, broken, t.out); err != nil {
		return err
	}
	fmt.Fprintln(t.out, "\n6. What is in a step")
	if err := describe(ctx, end.Path, t.out); err != nil {
		return err
	}
	fmt.Fprintf(t.out, `
Next
  Load it in Python:  python -c 'import orbax.checkpoint.experimental.v1 as ocp; print(ocp.load("%[1]s"))'
  List it:            go run ./cmd/orbax ls %[1]s
  Check every byte:   go run ./cmd/orbax verify %[1]s
  Remove everything:  rm -r %[2]s
`, end.Path, t.dir)
	return nil
}

// train runs this program again as "quickstart train", with args, in a new process. If
// ctx is cancelled the process gets a signal, so that it can clean up.
func (t tour) train(ctx context.Context, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args = append(args, "-steps", fmt.Sprint(t.steps), "-every", fmt.Sprint(t.every))
	fmt.Fprintln(t.out, "  $ quickstart train", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, self, append([]string{"train"}, args...)...)
	cmd.Stdout, cmd.Stderr = t.out, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}

// list prints the entries of dir. The temporary directory of a save that was running may
// be there. It is never taken for a step, and the next run removes it.
func list(dir string, out io.Writer) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "  $ ls", dir)
	for _, e := range entries {
		fmt.Fprintln(out, " ", e.Name())
	}
	return nil
}

// listSteps prints the steps of the run at root, with their metrics.
func listSteps(ctx context.Context, root string, out io.Writer) (err error) {
	c, err := training.New(ctx, root, training.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, ck := range c.Checkpoints() {
		fmt.Fprintf(out, "  %4d  %v\n", ck.Step, ck.Metrics)
	}
	return nil
}

// describe prints the content of the checkpoint at path. It reads no weights.
func describe(ctx context.Context, path string, out io.Writer) error {
	m, err := orbax.Metadata(ctx, path)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %s\n  %d bytes, saved in %v, custom metadata %v\n\n", path,
		m.Tree.Bytes(), m.CommitTime.Sub(m.InitTime).Round(time.Microsecond), m.Custom)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  LEAF\tTYPE\tDTYPE\tSHAPE\tBYTES")
	for _, l := range m.Tree.Leaves {
		fmt.Fprintf(w, "  %v\t%s\t%v\t%v\t%d\n", l.Path, l.ValueType, l.DType, l.Shape, l.Bytes)
	}
	return w.Flush()
}
