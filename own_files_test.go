package orbax_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/storage/mem"
)

// ownFiles is saved as files of these names. unchecked writes them as releases without the
// check of names did.
type ownFiles struct {
	names     []string
	unchecked bool
}

type ownFilesHandler struct{}

func (ownFilesHandler) Type() string       { return "example.com/files.Handler" }
func (ownFilesHandler) CanSave(v any) bool { _, ok := v.(ownFiles); return ok }
func (ownFilesHandler) CanLoad(t any) bool { _, ok := t.(string); return ok }
func (ownFilesHandler) Metadata(context.Context, *handler.ReadDir) (any, error) {
	return nil, nil
}

func (ownFilesHandler) Save(_ context.Context, v any, _ handler.SaveOptions) (handler.WriteFunc, error) {
	files := v.(ownFiles)
	return func(ctx context.Context, dir *handler.WriteDir) error {
		for _, name := range files.names {
			write := dir.WriteFile
			if files.unchecked {
				write = (*ckdir.WriteDir)(dir).WriteFile
			}
			if err := write(ctx, name, []byte("of "+name)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (ownFilesHandler) Load(ctx context.Context, dir *handler.ReadDir, target any, _ handler.LoadOptions) (any, error) {
	doc, err := dir.ReadFile(ctx, target.(string))
	return string(doc), err
}

// ofCheckpoints are names that make a directory look like a checkpoint.
var ofCheckpoints = []string{
	"orbax.checkpoint", "sub/orbax.checkpoint", "orbax.checkpoint/a", "_CHECKPOINT_METADATA", "a/b/_CHECKPOINT_METADATA", "a/_CHECKPOINT_DELETION",
	"digests.sha256", "sub/digests.sha256", "digests.0a.sha256", "x.orbax-checkpoint-tmp-1/a", "a/x.partial_save/b",
}

// ofTrees are names that make a checkpointable look like a pytree.
var ofTrees = []string{
	"_METADATA", "_sharding", "_strings.json", "manifest.ocdbt", "manifest.0123456789abcdef", "go-orbax.places", "go-orbax.places.a", "go-orbax.chunks",
	"go-orbax.new", "d/a", "d/b/c", "ocdbt.process_0/a", "array_metadatas/a", "commit_success.txt",
}

func ownFilesRegistry() interface {
	orbax.CommonOption
	orbax.VerifyOption
} {
	var r handler.Registry
	r.Add(ownFilesHandler{})
	return orbax.Handlers(&r)
}

// A handler cannot write a file that would keep its checkpoint from being removed, or make
// it look damaged.
func TestOwnFilesRefused(t *testing.T) {
	store := mem.New()
	for _, name := range append(append([]string{}, ofCheckpoints...), ofTrees...) {
		items := map[string]any{"v": ownFiles{names: []string{"a.txt", name}}}
		err := orbax.SaveCheckpointables(t.Context(), "ck", items, ownFilesRegistry(), orbax.In(store))
		if !errors.Is(err, orbax.ErrReservedName) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want ErrReservedName with the name", name, err)
		}
		if ok, err := orbax.IsCheckpoint(t.Context(), "ck", orbax.In(store)); ok || err != nil {
			t.Errorf("%s: %v, %v: a checkpoint is left", name, ok, err)
		}
	}
	allowed := ownFiles{names: []string{"a.txt", "sub/_METADATA", "sub/manifest.ocdbt", "sub/commit_success.txt", "sub/d/a", "a.partial_save", "manifest.json", "digests.txt"}}
	if err := orbax.SaveCheckpointables(t.Context(), "ck", map[string]any{"v": allowed}, ownFilesRegistry(), orbax.In(store)); err != nil {
		t.Error(err)
	}
	if err := orbax.Verify(t.Context(), "ck", ownFilesRegistry(), orbax.In(store)); err != nil {
		t.Error(err)
	}
	if err := orbax.Delete(t.Context(), "ck", orbax.In(store)); err != nil {
		t.Error(err)
	}
}

// A checkpoint with such files, which earlier releases saved, can be loaded, replaced and
// deleted: its digests list the files. One with a file that they do not list stays.
func TestOwnFilesOfEarlierReleases(t *testing.T) {
	ctx := t.Context()
	handlers := ownFilesRegistry()
	for _, name := range append(append([]string{"sub/commit_success.txt"}, ofCheckpoints...), ofTrees...) {
		if strings.Contains(name, ".partial_save/") || strings.Contains(name, "-tmp-") {
			continue // their store refuses these
		}
		t.Run(strings.ReplaceAll(name, "/", "+"), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ck")
			save := func(options ...orbax.SaveCheckpointablesOption) {
				t.Helper()
				items := map[string]any{"v": ownFiles{[]string{"a.txt", name}, true}, "state": map[string]any{"a": []float32{1}}}
				if err := orbax.SaveCheckpointables(ctx, path, items, append(options, handlers)...); err != nil {
					t.Error(err)
				}
			}
			save()
			got, err := orbax.LoadCheckpointables(ctx, path, map[string]any{"v": name}, handlers)
			if err != nil || got["v"] != "of "+name {
				t.Errorf("loaded %v, %v", got["v"], err)
			}
			if name != "_METADATA" && name != "commit_success.txt" { // which copies leave out, or take for a pytree
				into := path + "2"
				if _, err := convert.Copy(ctx, path, into, convert.Options{}); err != nil {
					t.Error(err)
				} else if err := orbax.Delete(ctx, into); err != nil {
					t.Error(err)
				}
			}
			save(orbax.Overwrite())
			if err := orbax.Delete(ctx, path, orbax.Name("v")); err != nil {
				t.Error(err)
			}
			save(orbax.Overwrite())
			other := filepath.Join(path, "v", filepath.Dir(filepath.FromSlash(name)), "unlisted")
			if err := os.WriteFile(other, nil, 0o666); err != nil {
				t.Fatal(err)
			}
			if err := orbax.Delete(ctx, path); err == nil || !strings.Contains(err.Error(), filepath.Base(other)) {
				t.Errorf("with a file that is not listed: %v", err)
			}
			if err := os.Remove(other); err != nil {
				t.Fatal(err)
			}
			if err := orbax.Delete(ctx, path); err != nil {
				t.Error(err)
			}
		})
	}
}
