package partial_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage/mem"
)

// panics is custom metadata whose encoding panics.
type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("in the program") }

// A program that recovers from a panic of its own in SaveAsync can save the next part.
func TestSaveAfterPanic(t *testing.T) {
	store := mem.New()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("SaveAsync did not panic")
			}
		}()
		metadata := orbax.CustomMetadata(map[string]any{"x": panics{}})
		partial.SaveAsync(t.Context(), "ck", map[string]any{"a": 1}, orbax.In(store), metadata)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := partial.Save(ctx, "ck", map[string]any{"a": 1}, orbax.In(store)); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the next save waits for the one that panicked: %v", err)
	}
}
