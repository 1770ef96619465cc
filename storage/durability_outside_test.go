package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
)

// victim makes a directory to which links are put that lead out of a stage. Its files
// are called as those that are created and changed.
func victim(t *testing.T) {
	t.Helper()
	must(t, os.MkdirAll("victim/opt", 0o700))
	for _, file := range []string{"_CHECKPOINT_METADATA", "commit_success.txt", "digests.sha256", "_METADATA", "manifest.ocdbt", "big"} {
		must(t, os.WriteFile("victim/"+file, []byte("of a victim"), 0o600))
	}
}

// describe returns the names, modes and contents of all that is below a directory.
func describe(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v", file, info.Mode())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(file)
			fmt.Fprintf(&b, " %q %v", data, err)
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

// makers are the ways to make files and directories, during a removal in the same place.
var makers = map[string]struct {
	old  func(t *testing.T) // makes the file or directory at the path before, or nil
	fail string             // the file that cannot be created
	run  func(t *testing.T, store storage.Store) error
}{
	"save":           {nil, "", savesOver()},
	"failing":        {nil, "commit_success.txt", savesOver()},
	"overwrite":      {saveOld, "", savesOver()},
	"fallback":       {saveOld, "", savesOver()},
	"marker":         {nil, "", savesOver(byMarker)},
	"failing marker": {nil, "commit_success.txt", savesOver(byMarker)},
	"marker again":   {leaveByMarker, "", savesOver(byMarker)},
	"delete":         {saveOld, "", deletes()},
	"in place":       {saveOld, "", deletes()},
	"part":           {saveOld, "", deletes(orbax.Name("opt"))},
	"share":          {saveOld, "", stages(storage.BeginOptions{Replace: storage.Everything})},
	"into":           {nil, "", stages(storage.BeginOptions{Into: called("state")})},
}

func saveOld(t *testing.T) { saveParts(t, "run/step") }

func savesOver(options ...orbax.SaveOption) func(*testing.T, storage.Store) error {
	return func(t *testing.T, store storage.Store) error {
		return orbax.Save(t.Context(), "run/step", sample(2), append(options, orbax.Overwrite(), orbax.In(store))...)
	}
}

func deletes(options ...orbax.DeleteOption) func(*testing.T, storage.Store) error {
	return func(t *testing.T, store storage.Store) error {
		return orbax.Delete(t.Context(), "run/step", append(options, orbax.In(store))...)
	}
}

// stages writes a stage by all of its methods.
func stages(o storage.BeginOptions) func(*testing.T, storage.Store) error {
	return func(t *testing.T, store storage.Store) error {
		must(t, os.WriteFile("from", []byte("of another"), 0o644))
		s, err := store.Begin(t.Context(), "run/step", o)
		if err != nil {
			return err
		}
		write := func() error {
			if err := s.Mkdir(t.Context(), "opt/d"); err != nil {
				return err
			}
			if err := share(t, s, "from", "state/d/shared"); err != nil {
				return err
			}
			if err := s.Link(t.Context(), "from", "state/linked", storage.LinkOptions{}); err != nil {
				return err
			}
			w, err := s.Create(t.Context(), "state/big", 2<<20)
			if err != nil {
				return err
			}
			return errors.Join(w.WriteAt(t.Context(), make([]byte, 8192), 0), w.Close())
		}
		if err := write(); err != nil {
			return errors.Join(err, s.Abort())
		}
		return s.Commit(context.Background())
	}
}

// A link that is put in the place of a directory while that is written or removed leads
// nothing out of it: nothing is created, changed or removed where the link leads to.
func TestNothingOutside(t *testing.T) {
	for name, way := range makers {
		t.Run(name, func(t *testing.T) {
			t.Chdir(scratch(t))
			victim(t)
			before := describe(t, "victim")
			swaps := map[string]int{}
			for _, moved := range []string{"temporary", "step", "state", "state/d", "opt"} {
				for i, more := 0, true; more; i += testenv.Pick(1, 7) {
					must(t, os.RemoveAll("run"))
					must(t, os.RemoveAll("safe"))
					must(t, os.Mkdir("run", 0o777))
					if way.old != nil {
						way.old(t)
					}
					n := 0
					next := func() {
						if n++; n-1 != i {
							return
						}
						for _, dir := range places(t, moved) {
							if os.Rename(dir, "safe") == nil {
								must(t, os.Symlink(abs(t, "victim"), dir))
								swaps[moved]++
								return
							}
						}
					}
					r := deleter(name == "in place", func(op storage.Op) error {
						next()
						if op.Kind == "create" && path.Base(op.Name) == way.fail {
							return syscall.EIO
						}
						return nil
					})
					r.NoExchange = name == "fallback"
					r.Opening = func(string) { next() }
					err := way.run(t, r.Store())
					more = n > i
					if after := describe(t, "victim"); after != before {
						t.Fatalf("%s behind a link before step %d of %d: %v; where it leads to there is now\n%s", moved, i, n, err, after)
					}
				}
			}
			if swaps["temporary"] == 0 || swaps["step"]+swaps["state"] == 0 {
				t.Errorf("links in the place of %v", swaps)
			}
		})
	}
}

// places returns the directories that are there of a name, or called temporary or step.
func places(t *testing.T, name string) (dirs []string) {
	t.Helper()
	for _, temp := range temporary(t, "run") {
		dirs = append(dirs, "run/"+temp)
	}
	switch name {
	case "temporary":
		return dirs
	case "step":
		return []string{"run/step"}
	}
	for i, dir := range dirs {
		dirs[i] = dir + "/" + name
	}
	return append(dirs, "run/step/"+name)
}

// Directories above the path may be reached through links, as the user has named them.
func TestPathBelowLink(t *testing.T) {
	for name, way := range makers {
		if way.fail != "" || name == "in place" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Chdir(scratch(t))
			must(t, os.MkdirAll("real/run", 0o777))
			must(t, os.Symlink("real/run", "run"))
			if way.old != nil {
				way.old(t)
			}
			must(t, way.run(t, (&storage.Recorder{}).Store()))
			if left := temporary(t, "real/run"); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}
