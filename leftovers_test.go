package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/partial"
)

func init() {
	children["die"] = func(path string) error {
		_, _, err := hold(context.Background(), path, orbax.Overwrite())
		if err != nil {
			return err
		}
		fmt.Println("saved", 0)
		time.Sleep(time.Hour)
		return nil
	}
}

// What saves have left that were killed goes with the next save to their path, and so
// do what handlers of their own have written until then, and what removals have left.
// What others are at work on, what is of Orbax in Python, and what is not known stays.
func TestSaveRemovesLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	for range 3 {
		c := startChild(t, "die", path)
		<-c.started
		c.kill(t)
		if left := unfinished(t, dir); len(left) != 1 {
			t.Fatalf("left %q", left)
		}
	}
	put := func(name string, files ...string) string {
		must(t, os.MkdirAll(filepath.Join(dir, name), 0o777))
		for _, file := range files {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name, file)), 0o777))
			writeFile(t, filepath.Join(dir, name, file), "x")
		}
		return name
	}
	const mark = ".orbax-checkpoint-tmp"
	put("ck" + mark + "-00000000000000aa" + mark + "-00000000000000bb")
	saveTwo(t, filepath.Join(dir, "other"))
	must(t, os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, put("ck"+mark+"-00000000000000cc"), "removed"+mark)))
	put("ck"+mark+"-00000000000000dd", "state/d/0123456789abcdef0123456789abcdef")
	stays := []string{
		put("ck" + mark),
		put("ck" + mark + "-1700000000000000"),
		put("ck"+mark+"-00000000000000ee", "thesis.tex"),
		put("ck"+mark+"-00000000000000ff", "state/d/0123456789abcdef0123456789abcdef", "state/d/measured"),
		put("ck2" + mark + "-00000000000000aa"),
		put("ck" + mark + "-0000000000aa-old"), // there is nothing at the path, so it is the only copy
	}
	slices.Sort(stays)
	must(t, orbax.Save(t.Context(), path, map[string]any{"a": 1}))
	if left := unfinished(t, dir); !slices.Equal(left, stays) {
		t.Errorf("left %q, want %q", left, stays)
	}
	must(t, orbax.Save(t.Context(), path, map[string]any{"a": 2}, orbax.Overwrite()))
	for _, name := range unfinished(t, dir) {
		if strings.HasSuffix(name, "-old") {
			t.Errorf("%s stays although its successor is there", name)
		}
	}
}

// The same of partial saves, which write beside their session.
func TestPartialSaveRemovesLeftovers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	dead := path + ".partial_save.orbax-checkpoint-tmp-00000000000000aa"
	saveTwo(t, path)
	must(t, os.Rename(path, dead))
	must(t, partial.Save(t.Context(), path, map[string]any{"a": 1}))
	if left := unfinished(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// The same of deletions, and of what ends a session.
func TestDeleteRemovesLeftovers(t *testing.T) {
	for name, c := range map[string]struct {
		session bool
		do      func(ctx context.Context, path string) error
	}{
		"delete": {false, func(ctx context.Context, path string) error { return orbax.Delete(ctx, path) }},
		"delete a part": {false, func(ctx context.Context, path string) error {
			return orbax.Delete(ctx, path, orbax.Name("opt"))
		}},
		"finalize": {true, func(ctx context.Context, path string) error { return partial.Finalize(ctx, path) }},
		"abort":    {true, func(ctx context.Context, path string) error { return partial.Abort(ctx, path) }},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "ck")
		if c.session {
			must(t, partial.Save(t.Context(), path, map[string]any{"a": 1}))
		} else {
			saveTwo(t, path)
		}
		targets := []string{"ck"}
		if c.session {
			targets = append(targets, "ck.partial_save")
		}
		for i, of := range targets {
			dead := fmt.Sprintf("%s.orbax-checkpoint-tmp-00000000000000a%d", filepath.Join(dir, of), i)
			saveTwo(t, filepath.Join(dir, "dead"))
			must(t, os.Rename(filepath.Join(dir, "dead"), dead))
		}
		must(t, c.do(t.Context(), path))
		if left := unfinished(t, dir); len(left) > 0 {
			t.Errorf("%s: left %q", name, left)
		}
	}
}

// A save that is refused leaves what is there.
func TestLeftoversOfRefusedSave(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	saveTwo(t, path)
	must(t, os.Mkdir(path+".orbax-checkpoint-tmp-00000000000000aa", 0o777))
	if err := orbax.Save(t.Context(), path, map[string]any{"a": 1}); !errors.Is(err, orbax.ErrExist) {
		t.Error(err)
	}
	if left := unfinished(t, dir); len(left) != 1 {
		t.Errorf("left %q", left)
	}
}

// What a save has replaced and could not remove, as something had come into it, is left by
// the next one too: names of Orbax's documents have no place at the root of a checkpoint
// that has checkpointables.
func TestLeftWithFilesOfOthers(t *testing.T) {
	for _, name := range []string{"data.json", "metadata", "metrics", "process_0-of-1.json", "proto.pbtxt"} {
		path := filepath.Join(t.TempDir(), "step")
		must(t, orbax.Save(t.Context(), path, map[string]any{"a": 1}))
		left := path + ".orbax-checkpoint-tmp-0123456789abcdef"
		must(t, os.Rename(path, left))
		mine := filepath.Join(left, name)
		writeFile(t, mine, `{"mine": 1}`)
		must(t, orbax.Save(t.Context(), path, map[string]any{"a": 2}))
		if _, err := os.Stat(mine); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		must(t, os.Remove(mine))
		must(t, orbax.Save(t.Context(), path, map[string]any{"a": 3}, orbax.Overwrite()))
		if _, err := os.Stat(left); err == nil {
			t.Errorf("%s: what was left is there still", name)
		}
	}
}
