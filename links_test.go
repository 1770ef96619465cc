//go:build unix

package orbax_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
)

// A chunk that is a link to a file outside of the checkpoint is read only if the
// caller lets links lead there.
func TestLinksOut(t *testing.T) {
	ctx := t.Context()
	top := t.TempDir()
	path := filepath.Join(top, "ck")
	state := map[string]any{"a": array.Of([]uint8{1, 2, 3}, 3), "b": array.Of([]uint8{4}, 1)}
	if err := orbax.Save(ctx, path, state, orbax.Storage(handler.StorageOptions{PlainFiles: true})); err != nil {
		t.Fatal(err)
	}
	move := func(from, to string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	load := func(path string, options ...orbax.OpenOption) error {
		ck, err := orbax.Open(ctx, path, options...)
		if err != nil {
			return err
		}
		defer ck.Close()
		if _, err := ck.Load(ctx); err != nil {
			return err
		}
		return ck.Verify(ctx)
	}
	move(filepath.Join(path, "state/a/c/0"), filepath.Join(path, "elsewhere"))
	if err := load(path); err != nil {
		t.Errorf("a link inside: %v", err)
	}
	move(filepath.Join(path, "elsewhere"), filepath.Join(top, "outside/chunk"))
	if err := load(path); !errors.Is(err, orbax.ErrLink) {
		t.Errorf("a chunk: %v", err)
	}
	if err := orbax.Verify(ctx, path); !errors.Is(err, orbax.ErrLink) {
		t.Errorf("verify: %v", err)
	}
	if err := load(path, orbax.FollowLinks()); err != nil {
		t.Errorf("a chunk that may be outside: %v", err)
	}
	// The whole checkpoint, and everything in it.
	move(path, filepath.Join(top, "moved/ck"))
	if err := load(path, orbax.FollowLinks()); err != nil {
		t.Errorf("a link to the checkpoint: %v", err)
	}
	if err := load(path); !errors.Is(err, orbax.ErrLink) {
		t.Errorf("a link to the checkpoint: %v", err)
	}
	move(filepath.Join(path, "state/_METADATA"), filepath.Join(top, "outside/tree"))
	if err := load(path); !errors.Is(err, orbax.ErrLink) {
		t.Errorf("a document: %v", err)
	}
	move(filepath.Join(path, "state/b"), filepath.Join(top, "outside/b"))
	move(filepath.Join(path, "state"), filepath.Join(top, "outside/state"))
	if err := load(path); !errors.Is(err, orbax.ErrLink) {
		t.Errorf("a part: %v", err)
	}
	if err := load(path, orbax.FollowLinks()); err != nil {
		t.Errorf("all outside: %v", err)
	}
}

// A store with links to itself is what it is without them.
func TestLinksToItself(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/a", 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"a/.zarray": `{"zarr_format":2,"shape":[2],"chunks":[2],"dtype":"<f4","compressor":null,"fill_value":0,"order":"C","filters":null}`,
		"a/0":       "\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"x", "y"} {
		if err := os.Symlink(".", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, options := range [][]orbax.OpenOption{nil, {orbax.FollowLinks()}} {
		ck, err := orbax.Open(t.Context(), dir, options...)
		if err != nil {
			t.Fatal(err)
		}
		md, err := ck.Metadata(t.Context())
		if err != nil || len(md.Tree.Leaves) != 1 {
			t.Errorf("%+v, %v", md, err)
		}
		if _, err := ck.Load(t.Context()); err != nil {
			t.Error(err)
		}
		if err := ck.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		ck.Close()
	}
}
