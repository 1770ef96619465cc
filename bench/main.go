// Bench measures saving and loading side by side, in one run and on one disk:
// this module, the real Orbax in Python, and what the disk and the memory of
// the machine can do at most.
//
//	go run ./bench -dir /mnt/fast -n 5 -python ~/venv/bin/python -json result.json
//
// Every measurement is made by a process of its own, and the methods take turns,
// in one order and then in the reverse, so that a machine that is slow for a
// while is slow for all. docs/performance.md says what is measured and how.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

func main() {
	if os.Getenv(childVariable) != "" {
		os.Exit(serveChild(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the program: it writes the tables to out and its progress to log.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(log)
	dir := flags.String("dir", ".", "existing directory on the disk to measure")
	rounds := flags.Int("n", 3, "rounds; each measures every method once")
	list := flags.String("cases", "64x16MiB,4000x64KiB", "comma-separated `cases`, each COUNTxSIZE or COUNTxSIZE:bfloat16")
	python := flags.String("python", "", "Python `interpreter` that has orbax-checkpoint; without it Orbax is left out")
	file := flags.String("json", "", "write everything that was measured to this `file`")
	quiet := flags.Bool("q", false, "do not tell the progress")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *rounds < 1 {
		return fmt.Errorf("unexpected arguments %q or fewer than one round; see -help", flags.Args())
	}
	if *quiet {
		log = io.Discard
	}
	var cases []benchCase
	for s := range strings.SplitSeq(*list, ",") {
		c, err := parseCase(strings.TrimSpace(s))
		if err != nil {
			return err
		}
		cases = append(cases, c)
	}
	work, err := os.MkdirTemp(*dir, "orbax-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r := &runner{dir: work, python: *python, rounds: *rounds, log: log}
	report := newReport(*dir, *rounds)
	if report.Orbax, err = r.pythonVersions(ctx); err != nil {
		return err
	}
	for _, c := range cases {
		result, err := r.measureCase(ctx, c)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.Name, err)
		}
		report.add(result)
	}
	if err := report.write(out); err != nil {
		return err
	}
	if *file == "" {
		return nil
	}
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*file, append(data, '\n'), 0o666)
}
