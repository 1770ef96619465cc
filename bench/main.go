// Bench measures saving and loading side by side, in one run and on one disk: this
// module; the real Orbax, PyTorch and safetensors in Python; and the limits of the
// machine's disk and memory.
//
//	go run ./bench -dir /mnt/fast -n 7 -python ~/venv/bin/python -json result.json -svg result.svg
//
// Every measurement runs in its own process, except that those of incremental saves share
// one, and that those of saves by several processes have several. The methods take turns, in one order and then in the reverse, so that a machine
// that is slow for a while is slow for all. docs/performance.md describes the
// measurements.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	if os.Getenv(childVariable) != "" {
		os.Exit(serveChild(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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
	list := flags.String("cases", "64x16MiB,64x16MiB:bfloat16,4000x64KiB,20000x1KiB",
		"comma-separated `cases`, each COUNTxSIZE or COUNTxSIZE:bfloat16")
	growth := flags.String("growth", "1000x1KiB,10000x1KiB,100000x1KiB;16x16MiB,64x16MiB,256x16MiB,1024x16MiB",
		"`series` of growing cases, separated by semicolons")
	runs := flags.String("incremental", "64x16MiB,64x16MiB:bfloat16", "states of runs of which one array changes from step to step, as -cases")
	many := flags.String("together", "64x16MiB", "states that four processes save together, as -cases")
	only := flags.String("only", "", "measure only this `part`: cases, growth, incremental or together")
	rows := flags.String("rows", "", "measure only rows, such as \"load, cold: Go\", that match this regular `expression`")
	python := flags.String("python", "", "Python `interpreter` that has packages of requirements.txt; without it what needs them is left out")
	file := flags.String("json", "", "write everything that was measured to this `file`")
	plot := flags.String("svg", "", "write a plot to this `file`")
	from := flags.String("from", "", "measure nothing: show what an earlier run wrote to this JSON `file`")
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
	pattern, err := regexp.Compile(*rows)
	if err != nil {
		return err
	}
	cases, err := parseCases(*list)
	if err != nil {
		return err
	}
	growing, err := parseSeries(*growth)
	if err != nil {
		return err
	}
	changing, err := parseIncremental(*runs)
	if err != nil {
		return err
	}
	several, err := parseTogether(*many)
	if err != nil {
		return err
	}
	switch *only {
	case "":
	case "cases":
		growing, changing, several = nil, nil, nil
	case "growth":
		cases, changing, several = nil, nil, nil
	case "incremental":
		cases, growing, several = nil, nil, nil
	case "together":
		cases, growing, changing = nil, nil, nil
	default:
		return fmt.Errorf("-only %s: want cases, growth, incremental or together", *only)
	}
	r := &runner{dir: *dir, python: *python, rows: pattern, rounds: *rounds, log: log, start: time.Now()}
	report := newReport(*rounds)
	if *from != "" {
		err = report.readJSON(*from)
	} else {
		err = r.measureAll(ctx, report, cases, growing, changing, several)
	}
	if err != nil {
		return err
	}
	report.judge()
	return errors.Join(append(r.failed, report.write(out), report.writeJSON(*file), report.writeSVG(*plot))...)
}
