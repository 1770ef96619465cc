package training_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

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

// A link that leads nowhere, in the place of the document, is an error of New, which says
// so at once. A run has such a link if its files were not fetched from their store.
func TestMetadataLinkLeadsNowhere(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"x", "../.annex/x", "../../.annex/x", "/nowhere/x"} {
		root := filepath.Join(t.TempDir(), "run")
		link := filepath.Join(root, "metadata", "_ROOT_METADATA")
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o777), os.Symlink(to, link)); err != nil {
			t.Skip(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		c, err := training.New(ctx, root, training.Options{CustomMetadata: map[string]any{"a": 1}})
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, orbax.ErrIncomplete) || !strings.Contains(fmt.Sprint(err), "leads nowhere") {
			t.Errorf("%s: %v", to, err)
		}
		cancel()
		if at, err := os.Readlink(link); at != to {
			t.Errorf("%s: the link is gone: %v", to, err)
		}
		openRun(t, root, training.Options{}).Close() // writes no metadata
	}
}

// Links that lead nowhere under the other names of the directory hide no document.
func TestOtherMetadataLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"digests.sha256", "metadata.json"} {
		root := filepath.Join(t.TempDir(), "run")
		link := filepath.Join(root, "metadata", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o777), os.Symlink("../.annex/x", link)); err != nil {
			t.Skip(err)
		}
		c := openRun(t, root, training.Options{CustomMetadata: map[string]any{"a": 1}})
		if m, err := c.RootMetadata(t.Context()); err != nil || m.Custom["a"] != 1 {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}
