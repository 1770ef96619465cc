package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage/mem"
)

// fullDisk is a writer that writes nothing. It counts the attempts.
type fullDisk struct{ writes int }

func (d *fullDisk) Write(p []byte) (int, error) {
	d.writes++
	if len(p) > 0 {
		return 0, errors.New("disk full")
	}
	return 0, nil
}

// TestFullDisk checks that no verb ends with success if its results cannot be written, and
// that each says so once.
func TestFullDisk(t *testing.T) {
	ctx, store := t.Context(), mem.New()
	for _, name := range []string{"run/1", "run/2"} {
		if err := orbax.Save(ctx, name, map[string]any{"x": []float32{1, 2}}, orbax.In(store)); err != nil {
			t.Fatal(err)
		}
	}
	if err := orbax.Save(ctx, "other", map[string]any{"y": 1}, orbax.In(store)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"s/c", "s/d"} {
		if err := partial.Save(ctx, name, map[string]any{"x": 1}, orbax.In(store)); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{
		"", "help", "help ls", "ls --help", "--help", "--version", "version", "completion bash", "partial", "partial --help",
		"ls run/1", "ls run", "ls --json run/1", "cat run/1 x", "cat --raw run/1 x", "cat --json run/1 x",
		"verify run/1", "verify run", "verify --json run", "hash run/1", "hash run/1 run/2", "hash --json run/1",
		"diff run/1 run/2", "diff run/1 other", "diff --json run/1 other", "repair run/1", "repair --json run/1",
		"partial ls s", "partial ls --json s", "partial finalize s/c", "convert run/1 copy",
	} {
		var errs bytes.Buffer
		status := Run(ctx, strings.Fields(line), Config{Out: &fullDisk{}, Err: &errs, Store: store})
		if status != exitFailed || strings.Count(errs.String(), "disk full") != 1 {
			t.Errorf("%s: status %d, %q", line, status, errs.String())
		}
	}
	for _, line := range []string{"verify --quiet run/1", "diff --quiet run/1 run/2", "partial abort s/d", "rm other"} {
		disk, errs := &fullDisk{}, bytes.Buffer{}
		if status := Run(ctx, strings.Fields(line), Config{Out: disk, Err: &errs, Store: store}); status != exitOK || disk.writes > 0 {
			t.Errorf("%s, which prints nothing: status %d, %d writes, %q", line, status, disk.writes, errs.String())
		}
	}
}
