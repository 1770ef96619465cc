package training_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// TestLogOfSaves checks that what the program asks for, or gets as the result of its call,
// is no error in the log, and that no error is there twice.
func TestLogOfSaves(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	c := openRun(t, t.TempDir(), training.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	take := func() string {
		defer log.Reset()
		return log.String()
	}
	if _, err := c.Save(t.Context(), 1, map[string]any{"state": make(chan int)}); !errors.Is(err, orbax.ErrLeafType) {
		t.Fatal(err)
	}
	if text := take(); strings.Contains(text, "level=ERROR") || strings.Count(text, "unsupported leaf type") != 1 || strings.Contains(text, "stats.error") {
		t.Errorf("a refused save is logged as\n%s", text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Save(ctx, 2, stateOf(2)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	take()
	resp, err := c.SaveAsync(t.Context(), 3, stateOf(3))
	if err != nil {
		t.Fatal(err)
	}
	resp.Cancel()
	saved, err := resp.Result(t.Context())
	text := take()
	if saved && err == nil {
		t.Skip("the save was faster than its cancellation")
	}
	if !errors.Is(err, context.Canceled) || strings.Contains(text, "level=ERROR") || !strings.Contains(text, `level=INFO msg="save canceled"`) ||
		strings.Contains(text, "stats.error") {
		t.Errorf("a canceled save gives %v, and is logged as\n%s", err, text)
	}
}

// TestCustomMetadataOfRootIsAnObject checks what the error says.
func TestCustomMetadataOfRootIsAnObject(t *testing.T) {
	t.Parallel()
	for _, v := range []any{3, "text", []int{1}, true} {
		_, err := training.New(t.Context(), t.TempDir(), training.Options{CustomMetadata: v})
		if !errors.Is(err, orbax.ErrLeafType) || !strings.Contains(err.Error(), "must be a JSON object, not ") || strings.Contains(err.Error(), "array") {
			t.Errorf("%v: %v", v, err)
		}
	}
}
