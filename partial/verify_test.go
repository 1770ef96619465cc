package partial_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/partial"
)

// Verify notices that the index of the parts' databases is gone, although the checkpoint can
// be loaded without it.
func TestVerifyLostIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ck")
	whole := map[string]any{"a": large(1), "b": large(2)}
	for _, key := range []string{"a", "b"} {
		must(t, partial.Save(ctx, path, map[string]any{key: whole[key]}))
	}
	must(t, partial.Finalize(ctx, path))
	must(t, os.Remove(filepath.Join(path, "state", "manifest.ocdbt")))
	err := orbax.Verify(ctx, path)
	if !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), "missing file state/manifest.ocdbt") || !strings.Contains(err.Error(), "Repair") {
		t.Errorf("got %v, want ErrCorrupt with the file and the remedy", err)
	}
	_, err = orbax.Load(ctx, path)
	must(t, err)
	_, err = orbax.Repair(ctx, path, orbax.WriteRepairs())
	must(t, err)
	wantSame(t, path, whole)
	plain := filepath.Join(t.TempDir(), "ck")
	must(t, partial.Save(ctx, plain, whole, orbax.Storage(handler.StorageOptions{PlainFiles: true})))
	must(t, partial.Finalize(ctx, plain))
	must(t, orbax.Verify(ctx, plain))
}

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
