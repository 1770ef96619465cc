package training_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// TestMetadataOfARun reads what a run says of itself, which leaves the root as it is.
func TestMetadataOfARun(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	m, err := training.Metadata(t.Context(), root, training.ReadOptions{})
	if err != nil || m.Root != root || len(m.Custom) != 0 {
		t.Errorf("of no root: %+v, %v", m, err)
	}
	if _, err := os.Stat(root); err == nil {
		t.Error("the root was made")
	}
	custom := map[string]any{"run": "r1", "lr": 0.5}
	c := openRun(t, root, training.Options{CustomMetadata: custom})
	m, err = training.Metadata(t.Context(), root, training.ReadOptions{})
	if err != nil || !reflect.DeepEqual(m.Custom, custom) {
		t.Errorf("%+v, %v", m, err)
	}
	c.Close()
	file := filepath.Join(root, "metadata", "_ROOT_METADATA")
	if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	var ours *training.Error
	if _, err = training.Metadata(t.Context(), root, training.ReadOptions{}); !errors.Is(err, orbax.ErrCorrupt) || !errors.As(err, &ours) {
		t.Errorf("of a damaged document: %v", err)
	}
}
