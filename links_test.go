//go:build unix

package orbax_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/view"
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

// A repair reads through links as a load does. What it makes has files in their place.
func TestRepairThroughLinks(t *testing.T) {
	path, state := manyDatabases(t)
	outside := filepath.Join(t.TempDir(), "state")
	if err := os.Rename(filepath.Join(path, "state"), outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(path, "state")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(outside, "manifest.ocdbt")); err != nil {
		t.Fatal(err)
	}
	before := readFiles(t, outside)
	if _, err := orbax.Repair(t.Context(), path); !errors.Is(err, orbax.ErrLink) {
		t.Errorf("without the option: %v", err)
	}
	report, err := orbax.Repair(t.Context(), path, orbax.FollowLinks())
	if err != nil || len(report.Trees) != 1 || report.Trees[0].Damage == nil || report.Trees[0].Obstacle != nil {
		t.Fatalf("%v, %v", report, err)
	}
	if report, err = orbax.Repair(t.Context(), path, orbax.FollowLinks(), orbax.WriteRepairs()); err != nil || !report.Written {
		t.Fatalf("%v, %v", report, err)
	}
	wantRepaired(t, path, state)
	if !reflect.DeepEqual(readFiles(t, outside), before) {
		t.Error("the files that the links lead to have changed")
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

// What opens a path by itself takes FollowLinks; a checkpoint that is open takes it as
// far as it was opened so.
func TestFollowLinksEverywhere(t *testing.T) {
	ctx := t.Context()
	top := t.TempDir()
	path := filepath.Join(top, "ck")
	state := map[string]any{"a": array.Of([]uint8{1, 2, 3}, 3)}
	if err := orbax.Save(ctx, path, state, orbax.Storage(handler.StorageOptions{PlainFiles: true})); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(top, "outside")
	if err := os.Rename(filepath.Join(path, "state"), outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(path, "state")); err != nil {
		t.Fatal(err)
	}
	type target struct {
		A []uint8 `orbax:"a"`
	}
	for name, do := range map[string]func(o ...orbax.LinksOption) error{
		"Load": func(o ...orbax.LinksOption) error {
			_, err := orbax.Load(ctx, path, optionsAs[orbax.LoadOption](o)...)
			return err
		},
		"LoadInto": func(o ...orbax.LinksOption) error {
			return orbax.LoadInto(ctx, path, &target{}, optionsAs[orbax.LoadOption](o)...)
		},
		"LoadAs": func(o ...orbax.LinksOption) error {
			got, err := orbax.LoadAs[target](ctx, path, optionsAs[orbax.LoadOption](o)...)
			if err == nil && string(got.A) != "\x01\x02\x03" {
				t.Errorf("loaded %v", got.A)
			}
			return err
		},
		"LoadAbstract": func(o ...orbax.LinksOption) error {
			_, err := orbax.LoadAbstract(ctx, path, map[string]any{"a": array.ShapeDtypeStruct{}}, optionsAs[orbax.LoadOption](o)...)
			if len(o) > 0 && errors.Is(err, orbax.ErrShape) {
				return nil // it was read as far as the description goes
			}
			return err
		},
		"LoadCheckpointables": func(o ...orbax.LinksOption) error {
			_, err := orbax.LoadCheckpointables(ctx, path, nil, optionsAs[orbax.LoadCheckpointablesOption](o)...)
			return err
		},
		"Metadata": func(o ...orbax.LinksOption) error {
			_, err := orbax.Metadata(ctx, path, optionsAs[orbax.LoadOption](o)...)
			return err
		},
		"CheckpointablesMetadata": func(o ...orbax.LinksOption) error {
			_, err := orbax.CheckpointablesMetadata(ctx, path, optionsAs[orbax.LoadCheckpointablesOption](o)...)
			return err
		},
		"Verify": func(o ...orbax.LinksOption) error {
			return orbax.Verify(ctx, path, optionsAs[orbax.VerifyOption](o)...)
		},
		"Hash": func(o ...orbax.LinksOption) error {
			_, err := orbax.Hash(ctx, path, optionsAs[orbax.LoadOption](o)...)
			return err
		},
		"Diff": func(o ...orbax.LinksOption) error {
			_, err := orbax.Diff(ctx, path, path, view.DiffOptions{}, optionsAs[orbax.LoadOption](o)...)
			return err
		},
	} {
		err := do()
		if !errors.Is(err, orbax.ErrLink) || !strings.Contains(err.Error(), "FollowLinks") {
			t.Errorf("%s: %v", name, err)
		}
		if err := do(orbax.FollowLinks()); err != nil {
			t.Errorf("%s with FollowLinks: %v", name, err)
		}
	}
	followed, err := orbax.Open(ctx, path, orbax.FollowLinks())
	if err != nil {
		t.Fatal(err)
	}
	defer followed.Close()
	if _, err := followed.Load(ctx, orbax.FollowLinks()); err != nil {
		t.Error(err)
	}
	if err := followed.Verify(ctx, orbax.FollowLinks()); err != nil {
		t.Error(err)
	}
	whole := filepath.Join(top, "whole")
	if err := orbax.Save(ctx, whole, state); err != nil {
		t.Fatal(err)
	}
	ck, err := orbax.Open(ctx, whole)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	_, loadErr := ck.Load(ctx, orbax.FollowLinks())
	_, metaErr := ck.Metadata(ctx, orbax.FollowLinks())
	_, partsErr := ck.LoadCheckpointables(ctx, nil, orbax.FollowLinks())
	for _, err := range []error{loadErr, metaErr, partsErr, ck.Verify(ctx, orbax.FollowLinks())} {
		if !errors.Is(err, orbax.ErrUsage) || !strings.Contains(err.Error(), "Open") {
			t.Errorf("too late: %v", err)
		}
	}
}

func optionsAs[To any](options []orbax.LinksOption) []To {
	all := make([]To, len(options))
	for i, o := range options {
		all[i] = o.(To)
	}
	return all
}
