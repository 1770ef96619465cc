package training_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// No bit of a root's metadata changes unseen, nor do they disappear; what Orbax has
// written, without digests, is read as it is.
func TestRootMetadataAreCovered(t *testing.T) {
	dir := t.TempDir()
	open := func() *training.Checkpointer {
		c, err := training.New(t.Context(), dir, training.Options{CustomMetadata: map[string]any{"run": 1, "name": "ä"}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	defer c.Close()
	read := func() error {
		m, err := c.RootMetadata(t.Context())
		if err == nil && (len(m.Custom) != 2 || m.Custom["name"] != "ä") {
			t.Errorf("custom metadata %v", m.Custom)
		}
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"_ROOT_METADATA", "digests.sha256"} {
		name := filepath.Join(dir, "metadata", file)
		good, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for bit := 0; bit < 8*len(good); bit += 5 {
			b := bytes.Clone(good)
			b[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(name, b, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := read(); !errors.Is(err, orbax.ErrCorrupt) {
				t.Fatalf("bit %d of byte %d of %s: %v", bit%8, bit/8, file, err)
			}
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := read(); (err == nil) != (file == "digests.sha256") || err != nil && !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("without %s: %v", file, err)
		}
		open().Close() // which does not write what it takes for damaged
		if _, err := os.Stat(name); err == nil {
			t.Errorf("%s was written again", file)
		}
		if err := os.WriteFile(name, good, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// The metadata that are put into a directory that another program has made have
// digests, too.
func TestRootMetadataInDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "metadata"), 0o777); err != nil {
		t.Fatal(err)
	}
	for range 2 { // of which the second finds them
		c, err := training.New(t.Context(), dir, training.Options{CustomMetadata: map[string]any{"run": 1}})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := c.RootMetadata(t.Context()); err != nil || m.Custom["run"] != 1 {
			t.Errorf("%v, %v", m, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	name := filepath.Join(dir, "metadata", "_ROOT_METADATA")
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(doc, []byte("1"), []byte("2"), 1), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := training.New(t.Context(), dir, training.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if m, err := c.RootMetadata(t.Context()); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("damaged: %v, %v", m, err)
	}
}
