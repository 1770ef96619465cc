package training_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/training"
)

// filesOfStep returns the data files of a step by the database that they belong to, such as
// ocdbt.process_1.
func filesOfStep(t *testing.T, step string) map[string][]os.FileInfo {
	t.Helper()
	files := map[string][]os.FileInfo{}
	err := filepath.WalkDir(filepath.Join(step, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) != "d" {
			return err
		}
		info, err := d.Info()
		database := filepath.Base(filepath.Dir(filepath.Dir(path)))
		files[database] = append(files[database], info)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sharers returns the databases of a step that have a file of another step.
func sharers(t *testing.T, step, other string) (names []string) {
	t.Helper()
	before := filesOfStep(t, other)
	for name, files := range filesOfStep(t, step) {
		if slices.ContainsFunc(files, func(f os.FileInfo) bool {
			return slices.ContainsFunc(before[name], func(o os.FileInfo) bool { return os.SameFile(f, o) })
		}) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Each process shares what it has written in the step before. A step keeps its bytes when
// the other is removed. A group of another size, and a single process, continue the run and
// share too.
func TestGroupShares(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	at := func(step int) string { return filepath.Join(root, fmt.Sprint(step)) }
	last := 0
	for _, size := range []int{4, 2, 1, 4} {
		var shared [4]int64 // of the second step, by process
		mustInGroup(t, size, func(ctx context.Context, g *coord.Group) (err error) {
			c, err := openGroup(ctx, root, g, training.Options{})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.Close()) }()
			for step := last + 1; step <= last+2; step++ {
				var stats orbax.Stats
				resp, err := c.SaveAsync(ctx, step, partOf(step, g), orbax.Report(&stats))
				if err == nil {
					_, err = resp.Result(ctx)
				}
				if err != nil {
					return err
				}
				shared[g.Rank()] = stats.Shared
			}
			return nil
		})
		var want []string
		for rank := range size {
			if shared[rank] == 0 {
				t.Errorf("process %d of %d shares nothing", rank, size)
			}
			want = append(want, fmt.Sprint("ocdbt.process_", rank))
		}
		if size == 1 {
			want = []string{"state"}
		}
		if got := sharers(t, at(last+2), at(last+1)); !slices.Equal(got, want) {
			t.Errorf("a group of %d: the databases %s share, want %s", size, got, want)
		}
		last += 2
	}
	mustInGroup(t, 3, func(ctx context.Context, g *coord.Group) (err error) {
		c, err := openGroup(ctx, root, g, training.Options{})
		for step := 1; step <= last && err == nil; step += 2 {
			err = c.Delete(ctx, step)
		}
		return errors.Join(err, c.Close())
	})
	wantRun(t, root, 2, 4, 6, 8)
}

// A save that replaces a step shares nothing, in any process.
func TestGroupOverwrites(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	for i, options := range [][]orbax.SaveOption{nil, {orbax.Overwrite()}} {
		mustInGroup(t, 3, func(ctx context.Context, g *coord.Group) (err error) {
			c, err := openGroup(ctx, root, g, training.Options{})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.Close()) }()
			for step := 1 + i; step <= 2; step++ {
				if _, err := c.Save(ctx, step, partOf(step, g), options...); err != nil {
					return err
				}
			}
			return nil
		})
		if got := strings.Join(sharers(t, filepath.Join(root, "2"), filepath.Join(root, "1")), " "); (got == "") != (i == 1) {
			t.Errorf("round %d: %q share", i, got)
		}
	}
	wantRun(t, root, 1, 2)
}
