package partial_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/partial"
)

// Verify notices a flipped bit in any file of a checkpoint that was made of parts.
func TestVerifyEveryFile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ck")
	must(t, partial.Save(ctx, path, map[string]any{"a": large(1), "s": "one", "small": []int32{1, 2}}))
	must(t, partial.Save(ctx, path, map[string]any{"b": large(2), "t": "two"}))
	must(t, partial.Save(ctx, path, map[string]any{"c": large(3)}, orbax.Storage(handler.StorageOptions{PlainFiles: true})))
	must(t, partial.Finalize(ctx, path))
	must(t, orbax.Verify(ctx, path))
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		must(t, err)
		for at := 0; at < len(b); at += 1 + len(b)/16 {
			b[at] ^= 4
			must(t, os.WriteFile(name, b, 0o666))
			if err := orbax.Verify(ctx, path); !errors.Is(err, orbax.ErrCorrupt) {
				t.Errorf("byte %d of %d of %s: %v", at, len(b), name[len(path):], err)
			}
			b[at] ^= 4
		}
		must(t, os.WriteFile(name, b, 0o666))
		return nil
	})
	must(t, err)
	must(t, orbax.Verify(ctx, path))
}
