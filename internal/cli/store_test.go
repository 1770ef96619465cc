package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// TestStore runs every verb on checkpoints in a store that is not registered. Only the
// safetensors files are on the local disk.
func TestStore(t *testing.T) {
	t.Run("renames", func(t *testing.T) { testStore(t, mem.New()) })
	t.Run("needs markers", func(t *testing.T) { testStore(t, failstore.NewMarked(mem.New())) })
	t.Run("objects", func(t *testing.T) { testStore(t, object.New(membucket.New(), object.Options{})) })
}

func testStore(t *testing.T, store storage.Store) {
	t.Chdir(t.TempDir())
	ctx := t.Context()
	in := orbax.In(store)
	fill(ctx, t, store)
	for _, c := range []struct {
		args   string
		status int
		want   string // must be somewhere in the output
	}{
		{"ls one", exitOK, "total 2 leaves"},
		{"ls one/state", exitOK, "total 2 leaves"},
		{"ls --json one", exitOK, `"path": "one"`},
		{"ls run", exitOK, "total 2 checkpoints"},
		{"ls run", exitOK, "custom metadata {\"seed\":7}"},
		{"ls ona", exitFailed, "hint: did you mean one?"},
		{"ls run/3", exitFailed, "hint: the steps there are 1, 2; the newest is run/2"},
		{"ls one/state/a", exitFailed, "hint: give the checkpoint's path: one"},
		{"ls mem://one", exitFailed, "is a URL, and not a name in the store"},
		{"ls sessions", exitFailed, "hint: `orbax partial ls sessions` lists the sessions"},
		{"cat one a", exitOK, "[1. 2. 3.]"},
		{"cat one a[:2]", exitOK, "[1. 2.]"},
		{"cat two config", exitOK, `"lr": 0.5`},
		{"cat run", exitFailed, "LEAF is missing"},
		{"cat run a", exitFailed, "hint: the newest is run/2"},
		{"verify one two", exitOK, "OK  two"},
		{"verify run", exitOK, "OK  run: 2 steps"},
		{"verify broken", exitDamaged, "DAMAGED  broken"},
		{"verify sessions/ck.partial_save", exitDamaged, "a session of partial saves that is not finalized"},
		{"hash one", exitOK, "  one"},
		{"diff one one", exitOK, "no difference in 2 leaves"},
		{"diff one run/1", exitDiffer, "differences in 1 of 2 leaves"},
		{"convert one copies/one --compression zstd", exitOK, "copies/one  2 leaves"},
		{"convert one copies/one", exitFailed, "hint: --overwrite replaces it"},
		{"convert --overwrite two copies/one", exitOK, "copies/one  1 leaf"},
		{"convert one one.safetensors", exitOK, "one.safetensors  2 leaves"},
		{"convert one.safetensors imported", exitOK, "imported  2 leaves"},
		{"convert ona.safetensors other", exitFailed, "is on the local disk; did you mean one.safetensors?"},
		{"convert none.safetensors other", exitFailed, "hint: a SRC whose name ends with .safetensors is on the local disk"},
		{"cat imported a", exitOK, "[1. 2. 3.]"},
		{"repair one", exitOK, "NOTHING TO REPAIR  one"},
		{"repair processes", exitDamaged, "hint: --apply repairs it"},
		{"verify processes", exitDamaged, "hint: nothing is lost"},
		{"repair --apply processes", exitOK, "REPAIRED  processes"},
		{"repair processes", exitOK, "OK  processes"},
		{"partial ls sessions", exitOK, "sessions/ck "},
		{"partial ls sessions/ck", exitOK, "sessions/ck "},
		{"partial finalize sessions/ck", exitOK, "sessions/ck  2 parts  2 leaves"},
		{"partial finalize sessions/ck", exitOK, "was finalized before"},
		{"ls sessions/ck", exitOK, "total 2 leaves"},
		{"partial abort sessions/ck", exitFailed, "does not exist"},
		{"partial abort sessions/other", exitOK, ""},
		{"partial ls sessions", exitOK, "no sessions in sessions"},
		{"rm one/state", exitFailed, "hint: `orbax rm one --name state` removes that checkpointable"},
		{"rm two --name confug", exitFailed, "hint: did you mean --name config?"},
		{"rm two --name config", exitOK, ""},
		{"rm two", exitOK, ""},
		{"rm two", exitFailed, "does not exist"},
		{"rm --missing-ok two", exitOK, ""},
	} {
		var out bytes.Buffer
		status := Run(ctx, strings.Fields(c.args), Config{Out: &out, Err: &out, Store: store})
		if status != c.status || !strings.Contains(out.String(), c.want) {
			t.Errorf("orbax %s: status %d, %q; want status %d, %q", c.args, status, &out, c.status, c.want)
		}
	}
	var names []string
	infos, err := store.List(ctx, ".")
	for _, info := range infos {
		names = append(names, info.Name)
	}
	if want := []string{"broken", "copies", "imported", "one", "processes", "run", "sessions"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("the store has %q, %v; want %q", names, err, want)
	}
	if files, err := filepath.Glob("*"); err != nil || !slices.Equal(files, []string{"one.safetensors"}) {
		t.Errorf("the disk has %q, %v; want one.safetensors", files, err)
	}
	if err := orbax.Verify(ctx, "imported", in); err != nil {
		t.Error(err)
	}
}

// In a store that cannot rename, no verb takes a directory without the commit mark for a
// checkpoint, and only rm and an overwriting convert change it.
func TestUnmarkedStore(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, store := t.Context(), failstore.NewMarked(mem.New())
	fill(ctx, t, store)
	unmark := func(dir string) {
		t.Helper()
		edit, err := store.Edit(ctx, dir)
		orbaxtest.Must(t, err)
		orbaxtest.Must(t, errors.Join(edit.Remove(ctx, "commit_success.txt", nil), edit.Close()))
	}
	for _, dir := range []string{"two", "processes", "run/2"} {
		unmark(dir)
	}
	for _, c := range []struct {
		args   string
		status int
		want   string // must be somewhere in the output
	}{
		{"ls two", exitDamaged, "no commit_success.txt"},
		{"ls two/state", exitDamaged, "no commit_success.txt"},
		{"ls --json two", exitDamaged, "no commit_success.txt"},
		{"cat two a", exitDamaged, "no commit_success.txt"},
		{"verify one two", exitDamaged, "UNFINISHED  two"},
		{"hash two", exitDamaged, "no commit_success.txt"},
		{"diff one two", exitFailed, "no commit_success.txt"},
		{"diff two one", exitFailed, "no commit_success.txt"},
		{"convert two copy", exitDamaged, "no commit_success.txt"},
		{"convert two two.safetensors", exitDamaged, "no commit_success.txt"},
		{"repair processes", exitDamaged, "no commit_success.txt"},
		{"repair --apply processes", exitDamaged, "no commit_success.txt"},
		{"rm two --name config", exitDamaged, "no commit_success.txt"},
		{"ls run", exitOK, "total 1 checkpoint"},
		{"ls run/2", exitDamaged, "no commit_success.txt"},
		{"verify run", exitOK, "OK  run: 1 step"},
		{"convert one two", exitFailed, "already exists"},
		{"convert --overwrite one two", exitOK, "two  2 leaves"},
		{"verify two", exitOK, "OK  two"},
		{"rm run/2", exitOK, ""},
		{"ls run/2", exitFailed, "does not exist"},
	} {
		var out bytes.Buffer
		status := Run(ctx, strings.Fields(c.args), Config{Out: &out, Err: &out, Store: store})
		if status != c.status || !strings.Contains(out.String(), c.want) {
			t.Errorf("orbax %s: status %d, %q; want status %d, %q", c.args, status, &out, c.status, c.want)
		}
	}
}

// fill puts the checkpoints of TestStore into a store.
func fill(ctx context.Context, t *testing.T, store storage.Store) {
	t.Helper()
	in := orbax.In(store)
	state := map[string]any{"a": []float32{1, 2, 3}, "b": []int32{4, 5}}
	orbaxtest.Must(t, orbax.Save(ctx, "one", state, in))
	orbaxtest.Must(t, orbax.SaveCheckpointables(ctx, "two", map[string]any{"state": map[string]any{"a": 1}, "config": json.RawMessage(`{"lr": 0.5}`)}, in))
	ckpts, err := training.New(ctx, "run", training.Options{Store: store, CustomMetadata: map[string]any{"seed": 7}})
	orbaxtest.Must(t, err)
	for step := range 2 {
		_, err := ckpts.Save(ctx, step+1, map[string]any{"a": []float32{1, 2, float32(step)}, "b": []int32{4, 5}})
		orbaxtest.Must(t, err)
	}
	orbaxtest.Must(t, ckpts.Close())
	orbaxtest.Must(t, partial.Save(ctx, "sessions/ck", map[string]any{"a": []float32{1}}, in))
	orbaxtest.Must(t, partial.Save(ctx, "sessions/ck", map[string]any{"b": 2}, in))
	orbaxtest.Must(t, partial.Save(ctx, "sessions/other", map[string]any{"a": 1}, in))
	for _, name := range []string{"a", "b"} {
		orbaxtest.Must(t, partial.Save(ctx, "whole", map[string]any{name: make([]float32, 1000)}, in))
	}
	orbaxtest.Must(t, partial.Finalize(ctx, "whole", in))
	orbaxtest.Must(t, copyWithout(ctx, store, "whole", "processes", "state/manifest.ocdbt"))
	orbaxtest.Must(t, copyWithout(ctx, store, "one", "broken", "state/_METADATA"))
	orbaxtest.Must(t, orbax.Delete(ctx, "whole", in))
}

// copyWithout copies a directory of a store, except one file.
func copyWithout(ctx context.Context, store storage.Store, from, to, except string) error {
	var o storage.BeginOptions
	if store.Properties().NeedsMarker() {
		o.Marker = "commit_success.txt"
	}
	stage, err := store.Begin(ctx, to, o)
	if err != nil {
		return err
	}
	defer stage.Abort()
	var copyDir func(dir string) error
	copyDir = func(dir string) error {
		infos, err := store.List(ctx, path.Join(from, dir))
		if err != nil {
			return err
		}
		for _, info := range infos {
			name := path.Join(dir, info.Name)
			switch {
			case info.Dir:
				err = copyDir(name)
			case name != except:
				err = stage.Link(ctx, path.Join(from, name), name, storage.LinkOptions{})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := copyDir("."); err != nil {
		return err
	}
	return stage.Commit(ctx)
}

// TestStoreFails makes each operation of a store fail once. A failure is not damage: the
// verb reports the reason, unless it could do its work without the operation.
func TestStoreFails(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, store := t.Context(), mem.New()
	fill(ctx, t, store)
	boom := errors.New("boom")
	var looks atomic.Int64 // of Verify; the command line looks at more, to say how large it is
	count := func(string, string) error { looks.Add(1); return nil }
	orbaxtest.Must(t, orbax.Verify(ctx, "one", orbax.In(failstore.NewReads(store, count))))
	for _, args := range []string{
		"repair one", "ls one", "ls run", "cat one a", "verify one", "hash one", "diff one two", "convert one copy-%d",
		"convert one %d.safetensors", "partial ls sessions",
	} {
		done := 0
		for at, failed := int64(1), true; failed; at++ {
			var n atomic.Int64
			fail := func(string, string) error {
				if n.Add(1) == at {
					return boom
				}
				return nil
			}
			args := strings.Fields(strings.ReplaceAll(args, "%d", fmt.Sprint(at)))
			var out bytes.Buffer
			status := Run(ctx, args, Config{Out: &out, Err: &out, Store: failstore.New(failstore.NewReads(store, fail), fail)})
			failed = n.Load() >= at
			switch said := strings.Contains(out.String(), boom.Error()); {
			case said && status == exitFailed:
				done++
			case status == 0 && args[0] == "verify" && at <= looks.Load():
				t.Errorf("orbax %s says that all is intact, though operation %d fails: %q", args, at, &out)
			case said || status == exitDamaged && args[0] != "diff":
				t.Errorf("orbax %s, operation %d fails: status %d, %q", args, at, status, &out)
			}
		}
		if done == 0 {
			t.Errorf("orbax %s fails at no operation", args)
		}
	}
	infos, err := store.List(ctx, ".")
	orbaxtest.Must(t, err)
	for _, info := range infos {
		if !strings.HasPrefix(info.Name, "copy-") {
			continue
		}
		if err := orbax.Verify(ctx, info.Name, orbax.In(store)); err != nil {
			t.Errorf("a copy that failed left %s: %v", info.Name, err)
		}
	}
}
