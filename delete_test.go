package orbax_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
)

// twoParts is what most of these tests save.
func twoParts() map[string]any {
	return map[string]any{"state": map[string]any{"a": 1}, "opt": map[string]any{"mu": []float32{1, 2}}}
}

func saveTwo(t *testing.T, path string) {
	t.Helper()
	if err := orbax.SaveCheckpointables(t.Context(), path, twoParts()); err != nil {
		t.Fatal(err)
	}
}

// strip removes files of a checkpoint.
func strip(t *testing.T, path string, names ...string) {
	t.Helper()
	for _, name := range names {
		remove(name)(t, path)
	}
}

// A checkpoint need not be in order to be deleted, but must be one.
func TestDeleteWhole(t *testing.T) {
	for name, tc := range map[string]struct {
		make func(t *testing.T, path string)
		want error  // nil if it is deleted
		says string // what the refusal advises
	}{
		"checkpoint": {saveTwo, nil, ""},
		"damaged metadata": {func(t *testing.T, p string) {
			saveTwo(t, p)
			writeFile(t, filepath.Join(p, "_CHECKPOINT_METADATA"), "{")
		}, nil, ""},
		"damaged digests": {func(t *testing.T, p string) {
			saveTwo(t, p)
			writeFile(t, filepath.Join(p, "digests.sha256"), "x")
		}, nil, ""},
		"damaged record": {func(t *testing.T, p string) {
			saveTwo(t, p)
			writeFile(t, filepath.Join(p, "_CHECKPOINT_DELETION"), "{")
		}, nil, ""},
		"lost metadata": {func(t *testing.T, p string) {
			saveTwo(t, p)
			strip(t, p, "_CHECKPOINT_METADATA")
		}, nil, ""},
		"of Orbax v0, composite": {func(t *testing.T, p string) {
			saveTwo(t, p)
			strip(t, p, "digests.sha256", "orbax.checkpoint", "commit_success.txt")
		}, nil, ""},
		"of Orbax v0, flat": {func(t *testing.T, p string) {
			if err := os.Mkdir(p, 0o777); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(p, "_METADATA"), `{"tree_metadata": {"('a',)": {"key_metadata": [{"key": "a", "key_type": 2}], `+
				`"value_metadata": {"value_type": "scalar", "skip_deserialize": false}}}}`)
		}, nil, ""},
		"only a document of that name": {func(t *testing.T, p string) {
			if err := os.Mkdir(p, 0o777); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(p, "_METADATA"), "{}")
		}, orbax.ErrInvalidCheckpoint, "_METADATA"},
		"half deleted by Orbax": {func(t *testing.T, p string) {
			saveTwo(t, p)
			strip(t, p, "opt", "digests.sha256", "commit_success.txt", "state/d")
		}, nil, ""},
		"only the markers left": {func(t *testing.T, p string) {
			saveTwo(t, p)
			strip(t, p, "opt", "state", "digests.sha256", "commit_success.txt", "orbax.checkpoint")
		}, nil, ""},
		"empty directory": {func(t *testing.T, p string) {
			if err := os.Mkdir(p, 0o777); err != nil {
				t.Fatal(err)
			}
		}, orbax.ErrInvalidCheckpoint, "empty"},
		"temporary directory of a dead save": {func(t *testing.T, p string) {
			dead := p + ".orbax-checkpoint-tmp-0123456789abcdef"
			if err := os.MkdirAll(filepath.Join(dead, "state"), 0o777); err != nil {
				t.Fatal(err)
			}
		}, nil, ""},
		"nothing":        {func(*testing.T, string) {}, orbax.ErrNotExist, "does not exist"},
		"below a file":   {func(t *testing.T, p string) { writeFile(t, filepath.Dir(p), "") }, orbax.ErrNotExist, "is a file"},
		"file":           {func(t *testing.T, p string) { writeFile(t, p, "mine") }, orbax.ErrInvalidCheckpoint, "it is a file"},
		"foreign":        {func(t *testing.T, p string) { saveTwo(t, filepath.Join(p, "a", "b")) }, orbax.ErrInvalidCheckpoint, "its entry a can be read"},
		"run of steps":   {func(t *testing.T, p string) { saveTwo(t, filepath.Join(p, "step_7")) }, orbax.ErrInvalidCheckpoint, "step_7"},
		"lost all marks": {func(t *testing.T, p string) { saveTwo(t, p); strip(t, p, "orbax.checkpoint", "_CHECKPOINT_METADATA") }, nil, ""},
		"checkpointable": {func(t *testing.T, p string) { saveTwo(t, filepath.Dir(p)) }, orbax.ErrInvalidCheckpoint, `Name("opt")`},
		"part of damaged": {func(t *testing.T, p string) {
			saveTwo(t, filepath.Dir(p))
			strip(t, filepath.Dir(p), "_CHECKPOINT_METADATA")
		}, orbax.ErrInvalidCheckpoint, `Name("opt")`},
		"link to a checkpoint": {func(t *testing.T, p string) {
			saveTwo(t, p+"2")
			if err := os.Symlink(p+"2", p); err != nil {
				t.Skip(err)
			}
		}, orbax.ErrInvalidCheckpoint, "symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "run", "opt")
			if !strings.Contains(name, "below") && !strings.Contains(name, "part") && name != "checkpointable" {
				if err := os.Mkdir(filepath.Dir(path), 0o777); err != nil {
					t.Fatal(err)
				}
			}
			tc.make(t, path)
			if strings.HasPrefix(name, "temporary") {
				path += ".orbax-checkpoint-tmp-0123456789abcdef"
			}
			before := snapshotDir(t, dir)
			err := orbax.Delete(t.Context(), path)
			if tc.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
					t.Errorf("left %v, %v", left, err)
				}
				if err := orbax.Delete(t.Context(), path); !errors.Is(err, orbax.ErrNotExist) || !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("again: %v", err)
				}
				return
			}
			var oerr *orbax.Error
			if !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.says) || !errors.As(err, &oerr) || oerr.Op != "delete" || oerr.Path != path {
				t.Errorf("got %v, want %v that says %q, of a deletion of %s", err, tc.want, tc.says, path)
			}
			if after := snapshotDir(t, dir); !slices.Equal(before, after) {
				t.Errorf("before %q, after %q", before, after)
			}
			if err := orbax.Delete(t.Context(), path, orbax.MissingOK()); (err == nil) != (tc.want == orbax.ErrNotExist) {
				t.Errorf("with MissingOK: %v", err)
			}
		})
	}
	for _, path := range []string{"", "/", "nosuch://bucket/ck", "file://"} {
		if err := orbax.Delete(t.Context(), path); err == nil {
			t.Errorf("%q was deleted", path)
		}
	}
	readOnly := files{"_CHECKPOINT_METADATA": []byte("{}")}.in()
	if err := orbax.Delete(t.Context(), "ckpt", readOnly); !errors.Is(err, orbax.ErrUnsupported) {
		t.Errorf("in a store that cannot: %v", err)
	}
}

// One checkpointable goes, and the rest is as it was.
func TestDeletePart(t *testing.T) {
	ctx := t.Context()
	for _, foreign := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "ck")
		parts := twoParts()
		parts["it"] = &counterIterator{}
		if err := orbax.SaveCheckpointables(ctx, path, parts, orbax.CustomMetadata(map[string]any{"lr": 1e-7})); err != nil {
			t.Fatal(err)
		}
		if foreign {
			strip(t, path, "digests.sha256", "go-orbax.handlers", "state/go-orbax.places", "opt/go-orbax.places")
		}
		before, err := orbax.CheckpointablesMetadata(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"it", "opt"} {
			if err := orbax.Delete(ctx, path, orbax.Name(name)); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(path, name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is still there: %v", name, err)
			}
			if err := orbax.Verify(ctx, path); err != nil {
				t.Error(err)
			}
			err := orbax.Delete(ctx, path, orbax.Name(name))
			if !errors.Is(err, orbax.ErrNotExist) || !strings.Contains(err.Error(), `"state"`) {
				t.Errorf("again: %v", err)
			}
			if err := orbax.Delete(ctx, path, orbax.Name(name), orbax.MissingOK()); err != nil {
				t.Errorf("again, with MissingOK: %v", err)
			}
		}
		after, err := orbax.CheckpointablesMetadata(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		if len(after.Checkpointables) != 1 || len(after.Handlers) != 1 || after.Deleting != "" || after.Digests == foreign ||
			!after.InitTime.Equal(before.InitTime) || !after.CommitTime.Equal(before.CommitTime) || after.Custom.(map[string]any)["lr"] != 1e-7 {
			t.Errorf("before %+v, after %+v", before, after)
		}
		err = orbax.Delete(ctx, path, orbax.Name("state"))
		if !errors.Is(err, orbax.ErrStructure) || !strings.Contains(err.Error(), "whole") {
			t.Errorf("the last: %v", err)
		}
		if v, err := orbax.LoadAs[map[string]int](ctx, path); err != nil || v["a"] != 1 {
			t.Errorf("loaded %v, %v", v, err)
		}
		temporary, others := namesIn(t, filepath.Dir(path))
		if len(temporary) > 0 || !slices.Equal(others, []string{"ck"}) {
			t.Errorf("left %q, %q", temporary, others)
		}
	}
}

func TestDeletePartRefuses(t *testing.T) {
	ctx := t.Context()
	for name, tc := range map[string]struct {
		part   string
		change func(t *testing.T, path string)
		want   error
	}{
		"no name":    {"", nil, orbax.ErrReservedName},
		"parent":     {"..", nil, orbax.ErrReservedName},
		"nested":     {"opt/d", nil, orbax.ErrReservedName},
		"metrics":    {"metrics", nil, orbax.ErrReservedName},
		"document":   {"_CHECKPOINT_METADATA", nil, orbax.ErrReservedName},
		"missing":    {"other", nil, orbax.ErrNotExist},
		"lost":       {"opt", remove("opt"), orbax.ErrCorrupt},
		"no handler": {"new", func(t *testing.T, p string) { saveTwo(t, p+"2"); must(t, os.Rename(p+"2/opt", p+"/new")) }, orbax.ErrUnsupported},
		"flat": {"opt", func(t *testing.T, p string) {
			strip(t, p, "digests.sha256")
			must(t, os.Rename(p+"/state/_METADATA", p+"/_METADATA"))
		}, orbax.ErrStructure},
		"nothing":                {"opt", remove("."), orbax.ErrNotExist},
		"damaged":                {"opt", func(t *testing.T, p string) { writeFile(t, p+"/_CHECKPOINT_METADATA", "{") }, orbax.ErrCorrupt},
		"damaged record":         {"opt", func(t *testing.T, p string) { writeFile(t, p+"/_CHECKPOINT_DELETION", "{}") }, orbax.ErrCorrupt},
		"directory for a record": {"opt", func(t *testing.T, p string) { must(t, os.Mkdir(p+"/_CHECKPOINT_DELETION", 0o777)) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ck")
			saveTwo(t, path)
			if tc.change != nil {
				tc.change(t, path)
			}
			before := snapshotDir(t, filepath.Dir(path))
			err := orbax.Delete(ctx, path, orbax.Name(tc.part))
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if strings.Contains(name, "record") && !strings.Contains(fmt.Sprint(err), "_CHECKPOINT_DELETION") {
				t.Errorf("the error does not name the record: %v", err)
			}
			if after := snapshotDir(t, filepath.Dir(path)); !slices.Equal(before, after) {
				t.Errorf("before %q, after %q", before, after)
			}
			err = orbax.Delete(ctx, path, orbax.Name(tc.part), orbax.MissingOK())
			if (err == nil) != (tc.want == orbax.ErrNotExist) {
				t.Errorf("with MissingOK: %v", err)
			}
		})
	}
}

// What a save is writing is not deleted, neither where it is to be nor where it is
// written, and the save is not disturbed.
func TestDeleteBusy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	saveTwo(t, path)
	held, resp, err := hold(t.Context(), path, orbax.Overwrite())
	must(t, err)
	for _, p := range []string{path, path + "/", filepath.Join(dir, unfinished(t, dir)[0])} {
		if err := orbax.Delete(t.Context(), p); !errors.Is(err, orbax.ErrBusy) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if err := orbax.Delete(t.Context(), path, orbax.Name("opt")); !errors.Is(err, orbax.ErrBusy) {
		t.Errorf("a checkpointable: %v", err)
	}
	close(held.release)
	must(t, resp.Result(t.Context()))
	wantVersion(t, path, 9)
	must(t, orbax.Delete(t.Context(), path))
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
