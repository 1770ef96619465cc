package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-orbax/orbax"
)

// stepPath is the path of the checkpoint of a step.
func stepPath(dir string, step int) string {
	return filepath.Join(dir, "step_"+strconv.Itoa(step))
}

// latest returns the last step that has a checkpoint in dir, or false if there
// is none. The temporary directory that a save leaves when its process dies does
// not count.
func latest(ctx context.Context, dir string) (step int, found bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	for _, e := range entries {
		digits, _ := strings.CutPrefix(e.Name(), "step_")
		n, err := strconv.Atoi(digits)
		if err != nil || found && n <= step {
			continue
		}
		complete, err := orbax.IsCheckpoint(ctx, stepPath(dir, n))
		if err != nil {
			return 0, false, err
		}
		if complete {
			step, found = n, true
		}
	}
	return step, found, nil
}

// saver saves a state every now and then, in the background, one save at a
// time.
type saver struct {
	dir     string
	log     io.Writer
	memory  orbax.SnapshotMemory
	pending *orbax.AsyncResponse
}

// save starts to save state. The caller may change it as soon as save returns.
// The error may be that of the save before.
func (s *saver) save(ctx context.Context, state *State, loss float64) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	start := time.Now()
	pending, err := orbax.SaveAsync(ctx, stepPath(s.dir, state.Step), state,
		orbax.CustomMetadata(map[string]any{"loss": loss}), orbax.ReuseSnapshot(&s.memory))
	blocked := time.Since(start)
	if err != nil {
		return err
	}
	s.pending = pending
	fmt.Fprintf(s.log, "  step %4d  loss %.4f  save blocked training for %v\n",
		state.Step, loss, blocked.Round(time.Microsecond))
	return nil
}

// wait waits for the save that is under way, if any. Once ctx is cancelled that
// is the time that the save takes to remove what it has written, which it can
// do only while the program lives: so the wait itself is not cancelled.
func (s *saver) wait(ctx context.Context) error {
	if s.pending == nil {
		return nil
	}
	err := s.pending.Result(context.WithoutCancel(ctx))
	s.pending = nil
	return err
}
