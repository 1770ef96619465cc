package storage_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
)

// filesOf returns the files below a directory.
func filesOf(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, filepath.ToSlash(file))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return files
}

// find returns the directory below top whose path ends with name, or "".
func find(t *testing.T, top, name string) (found string) {
	t.Helper()
	must(t, filepath.WalkDir(top, func(file string, e fs.DirEntry, err error) error {
		if file = filepath.ToSlash(file); err == nil && e.IsDir() && strings.HasSuffix(file, "/"+name) {
			found = file
		}
		return err
	}))
	return found
}

// swap moves a directory away, to safe, and puts a link to it in its place.
func swap(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll("safe", 0o777))
	must(t, os.Rename(dir, "safe/moved"))
	abs, err := filepath.Abs("safe/moved")
	must(t, err)
	must(t, os.Symlink(abs, dir))
}

// removals are the ways in which directories go.
var removals = map[string]func(context.Context, storage.Store) error{
	"delete": func(ctx context.Context, store storage.Store) error {
		return orbax.Delete(ctx, "run/step", orbax.In(store))
	},
	"in place": func(ctx context.Context, store storage.Store) error {
		return orbax.Delete(ctx, "run/step", orbax.In(store))
	},
	"part": func(ctx context.Context, store storage.Store) error {
		return orbax.Delete(ctx, "run/step", orbax.Name("opt"), orbax.In(store))
	},
	"overwrite": func(ctx context.Context, store storage.Store) error {
		return orbax.Save(ctx, "run/step", sample(2), orbax.Overwrite(), orbax.In(store))
	},
	"fallback": func(ctx context.Context, store storage.Store) error {
		return orbax.Save(ctx, "run/step", sample(2), orbax.Overwrite(), orbax.In(store))
	},
}

// A file that is moved out of a directory during its removal is not removed, even if a
// link to it takes its place.
func TestRemovalFollowsNoLink(t *testing.T) {
	for name, run := range removals {
		for _, moved := range []string{"opt", "opt/d", "state", "removed" + storage.TempMarker} {
			t.Run(name+" "+path.Base(moved), func(t *testing.T) {
				t.Chdir(scratch(t))
				swaps := 0
				for i, more := 0, true; more; i += testenv.Pick(1, 3) {
					must(t, os.RemoveAll("run"))
					must(t, os.RemoveAll("safe"))
					saveParts(t, "run/step")
					var before []string
					n := 0
					r := deleter(name == "in place", nil)
					r.NoExchange = name == "fallback"
					r.Removing = func(next string) {
						dir := moved
						if before != nil || n < i {
							n++
							return
						}
						// That which is being removed, and not the new one.
						top := next
						for path.Dir(top) != "." && path.Dir(top) != "run" {
							top = path.Dir(top)
						}
						if dir = find(t, top, dir); dir != "" {
							swap(t, dir)
							before = filesOf(t, "safe")
							swaps++
						}
						n++
					}
					err := run(t.Context(), r.Store())
					more = n > i
					for _, file := range before {
						if _, serr := os.Lstat(file); serr != nil {
							t.Fatalf("before removal %d of %d: %s is lost (%v)", i, n, file, err)
						}
					}
					if err != nil && !errors.Is(err, orbax.ErrInvalidCheckpoint) {
						t.Errorf("before removal %d of %d: %v", i, n, err)
					}
				}
				// Some of these never have such a directory.
				if rename := strings.HasPrefix(moved, "removed"); swaps == 0 && !rename && !(name == "part" && moved == "state") {
					t.Error("nothing was moved")
				}
			})
		}
	}
}

// The same between any two operations: a link replaces the checkpoint itself, or the
// temporary directory. A deletion may write only documents there.
func TestDeletionBehindLink(t *testing.T) {
	for _, name := range []string{"delete", "in place", "part"} {
		for _, own := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Chdir(scratch(t))
				for i, more := 0, true; more; i++ {
					must(t, os.RemoveAll("run"))
					must(t, os.RemoveAll("safe"))
					saveParts(t, "run/step")
					var before []string
					n := 0
					r := deleter(name == "in place", func(op storage.Op) error {
						if n++; n-1 != i {
							return nil
						}
						dir := "run/step"
						if own {
							dir = ""
							if temp := temporary(t, "run"); len(temp) > 0 {
								dir = "run/" + temp[0]
							}
						}
						if info, err := os.Lstat(dir); err == nil && info.IsDir() {
							swap(t, dir)
							before = filesOf(t, "safe")
						}
						return nil
					})
					err := removals[name](t.Context(), r.Store())
					more = n > i
					for _, file := range before {
						if _, serr := os.Lstat(file); serr != nil && !strings.Contains(path.Base(file), "_CHECKPOINT_") && path.Base(file) != "digests.sha256" {
							t.Fatalf("before operation %d of %d: %s is lost (%v)", i, n, file, err)
						}
					}
				}
			})
		}
	}
}

// A link in the place of a checkpointable is removed, and its target stays.
func TestDeletePartThatIsLink(t *testing.T) {
	t.Chdir(scratch(t))
	saveParts(t, "run/step")
	swap(t, "run/step/opt")
	before := filesOf(t, "safe")
	must(t, orbax.Delete(t.Context(), "run/step", orbax.Name("opt")))
	if after := filesOf(t, "safe"); !slices.Equal(before, after) || len(before) == 0 {
		t.Errorf("left %q of %q", after, before)
	}
	wantParts(t, "run/step", []string{"it", "state"})
}

// Files that other programs put into the temporary directory of a save or a removal, or
// into a directory that a save has made there, stay, and the error names them.
func TestTemporaryKeepsWhatOthersPut(t *testing.T) {
	runs := maps.Clone(removals)
	runs["failing save"] = func(ctx context.Context, store storage.Store) error {
		return orbax.Save(ctx, "run/step", sample(2), orbax.Overwrite(), orbax.In(store))
	}
	runs["failing marker"] = func(ctx context.Context, store storage.Store) error {
		return orbax.Save(ctx, "run/step", sample(2), orbax.Overwrite(), orbax.Atomicity(orbax.CommitFile), orbax.In(store))
	}
	for name, run := range runs {
		for _, in := range []string{"", "d", "state"} {
			if in != "" && !strings.HasPrefix(name, "failing") {
				continue
			}
			t.Run(name+" "+in, func(t *testing.T) {
				t.Chdir(scratch(t))
				puts := 0
				for i, more := 0, true; more; i++ {
					must(t, os.RemoveAll("run"))
					must(t, os.Mkdir("run", 0o777))
					if !strings.HasPrefix(name, "failing") {
						saveParts(t, "run/step")
					}
					n, put := 0, false
					r := deleter(name == "in place", func(op storage.Op) error {
						if n++; n-1 == i {
							for _, temp := range temporary(t, "run") {
								dir := "run/" + temp
								if in != "" {
									dir = find(t, dir, in)
								}
								if dir == "" {
									continue
								}
								put = true
								must(t, os.WriteFile(dir+"/mine.txt", nil, 0o666))
								must(t, os.MkdirAll(dir+"/mydir", 0o777))
								must(t, os.WriteFile(dir+"/mydir/mine.too", nil, 0o666))
							}
						}
						if strings.HasPrefix(name, "failing") && op.Kind == "create" && path.Base(op.Name) == "commit_success.txt" {
							return syscall.EIO
						}
						return nil
					})
					r.NoExchange = name == "fallback"
					err := run(t.Context(), r.Store())
					more = n > i
					if !put {
						continue
					}
					puts++
					files := filesOf(t, "run")
					for _, mine := range []string{"mine.txt", "mine.too"} {
						if !slices.ContainsFunc(files, func(f string) bool { return path.Base(f) == mine }) {
							t.Fatalf("before operation %d of %d: %s is lost (%v)", i, n, mine, err)
						}
					}
					left := temporary(t, "run")
					if len(left) > 0 && (!errors.Is(err, orbax.ErrInvalidCheckpoint) || !regexp.MustCompile(`\bm(ine|ydir)`).MatchString(err.Error())) {
						t.Errorf("before operation %d of %d: left %q, but %v", i, n, left, err)
					}
					if strings.HasPrefix(name, "failing") && !errors.Is(err, syscall.EIO) {
						t.Errorf("before operation %d of %d: %v", i, n, err)
					}
				}
				if puts == 0 {
					t.Error("nothing was put there")
				}
			})
		}
	}
}

// A save fails whose directory, or file, is moved away while it is written, if a link to
// it, another directory or nothing takes its place before it is complete. If one does so
// before anything is in it, the save may be complete in that.
func TestSaveBehindLink(t *testing.T) {
	for _, what := range []string{"state", "state/d", "file"} {
		for _, by := range []string{"link", "directory", "nothing"} {
			for _, mode := range []string{"new", "over another", "by marker"} {
				if what == "file" && by == "directory" {
					continue // which could not become a part of the checkpoint unnoticed
				}
				t.Run(strings.Join([]string{path.Base(what), by, mode}, " "), func(t *testing.T) {
					t.Chdir(scratch(t))
					refused := 0
					for i, more := 0, true; more; i += testenv.Pick(1, 5) {
						swapped, err := saveBehind(t, what, by, mode, i, &more)
						switch _, lerr := os.Lstat("run/step"); {
						case !swapped:
						case err == nil:
							if _, err := versionAt("run/step"); err != nil {
								t.Errorf("before step %d: saved what cannot be loaded: %v", i, err)
							}
						case (lerr == nil) != (mode == "over another"):
							t.Errorf("before step %d: at the path: %v", i, lerr)
						case errors.Is(err, orbax.ErrLink), by == "directory" && errors.Is(err, orbax.ErrInvalidCheckpoint),
							by == "nothing" && (errors.Is(err, orbax.ErrIncomplete) || errors.Is(err, fs.ErrNotExist)):
							refused++
						}
					}
					if refused == 0 {
						t.Error("none was found")
					}
				})
			}
		}
	}
}

// saveBehind saves, and before one step moves a directory, or a file, to safe.
func saveBehind(t *testing.T, what, by, mode string, step int, more *bool) (swapped bool, err error) {
	t.Helper()
	must(t, os.RemoveAll("run"))
	must(t, os.RemoveAll("safe"))
	must(t, os.Mkdir("run", 0o777))
	options, file := []orbax.SaveOption{orbax.Overwrite()}, "commit_success.txt"
	switch mode {
	case "over another":
		saveParts(t, "run/step")
	case "by marker":
		options, file = append(options, byMarker), "_CHECKPOINT_METADATA"
	}
	var before []string
	n, published := 0, false
	next := func() {
		if n++; n-1 != step || published {
			return
		}
		for _, dir := range places(t, what) {
			if what == "file" {
				dir = path.Dir(dir) + "/" + file
			}
			if _, err := os.Lstat(dir); err != nil || mode == "over another" && strings.HasPrefix(dir, "run/step/") {
				continue
			}
			swap(t, dir)
			if by != "link" {
				must(t, os.Remove(dir))
			}
			if by == "directory" {
				must(t, os.Mkdir(dir, 0o777))
			}
			swapped = true
			before = filesOf(t, "safe")
		}
	}
	r := &storage.Recorder{NoSync: true, Opening: func(string) { next() }}
	r.Before = func(op storage.Op) error {
		published = published || op.Kind == "rename" && (path.Base(op.To) == "step" || op.To == marker)
		next()
		return nil
	}
	err = orbax.Save(t.Context(), "run/step", sample(2), append(options, orbax.In(r.Store()))...)
	*more = n > step
	for _, file := range before {
		if _, serr := os.Lstat(file); serr != nil {
			t.Fatalf("before step %d of %d: %s is lost (%v)", step, n, file, err)
		}
	}
	return swapped, err
}
