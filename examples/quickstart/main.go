// Quickstart trains a small network on pictures of digits and saves it while it trains.
// It kills the process in the middle, resumes from the last checkpoint, and shows that
// the result equals, bit for bit, that of a run without a crash:
//
//	go run ./examples/quickstart
//
// The part to copy from is train.go: it resumes, trains, saves with a
// training.Checkpointer, and ends cleanly on a signal. State in model.go defines the
// content of a checkpoint, and Batches in data.go is an iterator whose position is saved
// with it. The rest is the network and the demonstration.
//
// A single run, which resumes from the last checkpoint in its directory:
//
//	go run ./examples/quickstart train -dir /tmp/digits -steps 2000
//
// Ctrl-C ends it at once, SIGTERM after one more save.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %w", err)
		}
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "train" {
		return trainCommand(ctx, args[1:])
	}
	return tourCommand(ctx, args)
}

func trainCommand(ctx context.Context, args []string) error {
	var r run
	flags := flag.NewFlagSet("quickstart train", flag.ExitOnError)
	flags.StringVar(&r.dir, "dir", "", "directory of the run's checkpoints")
	flags.IntVar(&r.steps, "steps", 600, "step to train up to")
	flags.IntVar(&r.every, "every", 100, "steps from one checkpoint to the next")
	flags.IntVar(&r.crashAt, "crash", 0, "step after which the process dies (0: never)")
	level := slog.LevelWarn
	flags.TextVar(&level, "log", level, "what the checkpointer logs: debug, info, warn or error")
	if err := parse(flags, args); err != nil {
		return err
	}
	if r.dir == "" || r.every < 1 {
		return errors.New("train needs a -dir, and -every of at least 1")
	}
	r.logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return train(ctx, r, os.Stdout)
}

func tourCommand(ctx context.Context, args []string) error {
	t := tour{steps: 600, every: 100, out: os.Stdout}
	flags := flag.NewFlagSet("quickstart", flag.ExitOnError)
	flags.StringVar(&t.dir, "dir", "", "directory for the checkpoints (default a new temporary one)")
	if err := parse(flags, args); err != nil {
		return err
	}
	if t.dir == "" {
		dir, err := os.MkdirTemp("", "orbax-quickstart-")
		if err != nil {
			return err
		}
		t.dir = dir
	}
	abs, err := filepath.Abs(t.dir) // Python's Orbax takes only absolute paths
	if err != nil {
		return err
	}
	t.dir = abs
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	return t.run(ctx)
}

// parse parses flags, and refuses other arguments. It exits if they are wrong.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}
