package training_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

func TestRootsThatAreNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	ck := filepath.Join(dir, "checkpoint")
	if err := orbax.Save(t.Context(), ck, stateOf(1)); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{
		file, filepath.Join(file, "below"),
		ck, filepath.Join(ck, "state"), filepath.Join(ck, "run"),
		"", "nowhere://run",
	} {
		c, err := training.New(t.Context(), root, training.Options{CustomMetadata: map[string]any{"a": 1}})
		if err == nil {
			_, err = c.Save(t.Context(), 1, stateOf(1))
			c.Close()
			t.Errorf("%q can be opened; a save gives %v", root, err)
			continue
		}
		var e *training.Error
		if !errors.As(err, &e) || e.Root != root || e.Step >= 0 {
			t.Errorf("%q: %v", root, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "text" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if err := orbax.Verify(t.Context(), ck); err != nil {
		t.Error(err)
	}
	if names, err := filepath.Glob(filepath.Join(ck, "*")); err != nil || slices.Contains(names, filepath.Join(ck, "metadata")) {
		t.Errorf("the checkpoint has %q", names)
	}
}

// What is not a step of the run is told, and stays as it is.
func TestForeignEntries(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c := openRun(t, root, training.Options{Preservation: training.LatestN{N: 1}})
	mustSave(t, c, 1)
	foreign := map[string]func(path string) error{
		"notes.txt": func(path string) error { return os.WriteFile(path, []byte("n"), 0o644) },
		"plots":     func(path string) error { return os.Mkdir(path, 0o755) },
		"007":       func(path string) error { return os.Mkdir(path, 0o755) }, // padded otherwise
		"ck_7":      func(path string) error { return os.Mkdir(path, 0o755) },
		"-5":        func(path string) error { return os.Mkdir(path, 0o755) },
		"50":        func(path string) error { return os.Mkdir(path, 0o755) }, // empty
		"51":        func(path string) error { return os.WriteFile(path, []byte("n"), 0o644) },
		"52": func(path string) error { // somebody's files
			if err := os.Mkdir(path, 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(path, "thesis.txt"), []byte("n"), 0o644)
		},
		"99999999999999999999": func(path string) error { return os.Mkdir(path, 0o755) }, // no int
	}
	if runtime.GOOS != "windows" {
		foreign["53"] = func(path string) error { return os.Symlink(path, path) }
		foreign["54"] = func(path string) error { return os.Symlink("notes.txt/below", path) }
	}
	if os.Geteuid() > 0 { // whom permissions stop
		foreign["55"] = func(path string) error { return os.Mkdir(path, 0) }
	}
	for name, make := range foreign {
		if err := make(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := openRun(t, root, training.Options{Preservation: training.LatestN{N: 1}, CleanTemporary: true})
	for _, c := range []*training.Checkpointer{c, again} {
		told := map[string]bool{}
		for _, i := range c.Ignored() {
			told[filepath.Base(i.Path)] = i.Err != nil
		}
		for name := range foreign {
			if !told[name] {
				t.Errorf("%s is not told: %v", name, c.Ignored())
			}
		}
		if got := listed(c); !slices.Equal(got, []int{1}) {
			t.Errorf("steps %v", got)
		}
	}
	mustSave(t, c, 2)
	if _, err := c.Save(t.Context(), 50, stateOf(50)); err == nil {
		t.Error("a save to a name that is taken by an empty directory has made a step")
	} else if !errors.Is(err, orbax.ErrExist) {
		t.Error(err)
	}
	for _, n := range []int{51, 52} {
		for _, o := range [][]orbax.SaveOption{nil, {orbax.Overwrite()}} {
			if saved, err := c.Save(t.Context(), n, stateOf(n), o...); err == nil || saved {
				t.Errorf("step %d is written over what is not a step: %t, %v", n, saved, err)
			}
		}
	}
	for _, n := range []int{50, 51, 52} {
		if err := c.Delete(t.Context(), n); err == nil {
			t.Errorf("%d is deleted", n)
		}
	}
	mustSave(t, c, 100)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	wantSteps(t, c, 100)
	for name := range foreign {
		if _, err := os.Lstat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(root, "52", "thesis.txt")); err != nil || string(text) != "n" {
		t.Errorf("somebody's file is %q, %v", text, err)
	}
}

// What unfinished saves have left goes when its writer is dead, and stays while
// that lives or nobody can tell.
func TestTemporaryDirectories(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c := openRun(t, root, training.Options{})
	mustSave(t, c, 1)
	const (
		dead   = "5.orbax-checkpoint-tmp-0123456789abcdef"
		python = "6.orbax-checkpoint-tmp"
		others = "thesis.orbax-checkpoint-tmp"
	)
	const data = "0123456789abcdef0123456789abcdef"
	for _, name := range []string{dead, python, others} {
		if err := os.MkdirAll(filepath.Join(root, name, "state", "d"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name, "state", "d", data), []byte("data"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h, resp := hold(t, t.Context(), c, 4)
	var living string
	for _, name := range leftovers(t, root) {
		if strings.HasPrefix(name, "4.") {
			living = name
		}
	}
	for _, o := range []struct {
		clean bool
		want  []string
	}{{false, []string{living, python, others}}, {true, []string{living, others}}} {
		other := openRun(t, root, training.Options{CleanTemporary: o.clean})
		if err := other.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		slices.Sort(o.want)
		if got := leftovers(t, root); !slices.Equal(got, o.want) {
			t.Errorf("clean %t: left %q, want %q", o.clean, got, o.want)
		}
		if got := listed(other); !slices.Equal(got, []int{1}) {
			t.Errorf("steps %v", got)
		}
	}
	h.end <- nil
	if saved, err := resp.Result(t.Context()); err != nil || !saved {
		t.Errorf("%t, %v", saved, err)
	}
	mustSave(t, c, 5, 6)
	if err := os.RemoveAll(filepath.Join(root, others)); err != nil {
		t.Fatal(err)
	}
	if got := listed(c); !slices.Equal(got, []int{1, 4, 5, 6}) {
		t.Errorf("steps %v", got)
	}
}

// A step that is a link to a checkpoint elsewhere can be read. That it is removed
// from the run is no reason to touch what it leads to.
func TestLinkedSteps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	elsewhere, root := filepath.Join(dir, "elsewhere"), filepath.Join(dir, "run")
	mustSave(t, openRun(t, elsewhere, training.Options{}), 1, 2)
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"1", "2"} {
		if err := os.Symlink(filepath.Join(elsewhere, n), filepath.Join(root, n)); err != nil {
			t.Skipf("no links: %v", err)
		}
	}
	c := openRun(t, root, training.Options{Preservation: training.LatestN{N: 1}})
	var s runState
	if n, err := c.Resume(t.Context(), &s); err != nil || n != 2 {
		t.Fatalf("resumed %d, %v", n, err)
	}
	if saved, err := c.Save(t.Context(), 2, stateOf(7)); saved || !errors.Is(err, orbax.ErrExist) {
		t.Errorf("%t, %v", saved, err)
	}
	mustSave(t, c, 3, 4)
	if err := c.Wait(t.Context()); err == nil {
		t.Error("nobody says that the links stay")
	}
	if err := checkStep(c, 4); err != nil {
		t.Error(err)
	}
	if _, err := c.Load(t.Context(), 3); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("step 3: %v", err)
	}
	wantSteps(t, openRun(t, elsewhere, training.Options{}), 1, 2)
}

// A root that may not be written to is read, and the run goes on when it may be.
func TestReadOnlyRoot(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("permissions do not stop this user")
	}
	root := t.TempDir()
	c := openRun(t, root, training.Options{})
	mustSave(t, c, 1)
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(root, 0o755) })
	for _, c := range []*training.Checkpointer{c, openRun(t, root, training.Options{})} {
		var s runState
		if n, err := c.Resume(t.Context(), &s); err != nil || n != 1 {
			t.Errorf("resumed %d, %v", n, err)
		}
		if saved, err := c.Save(t.Context(), 2, stateOf(2)); saved || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("saved %t, %v", saved, err)
		}
		if err := c.Delete(t.Context(), 1); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("delete: %v", err)
		}
		wantSteps(t, c, 1)
	}
	if _, err := training.New(t.Context(), root, training.Options{CustomMetadata: map[string]any{"a": 1}}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("the root gets metadata: %v", err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	mustSave(t, c, 2)
	wantSteps(t, c, 1, 2)
}

// The root may be a link, and may vanish: then the run begins anew.
func TestRootThatIsALinkAndVanishes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, link := filepath.Join(dir, "run"), filepath.Join(dir, "link")
	c := openRun(t, root, training.Options{})
	mustSave(t, c, 1)
	if err := os.Symlink(root, link); err != nil {
		t.Skipf("no links: %v", err)
	}
	linked := openRun(t, link, training.Options{})
	mustSave(t, linked, 2)
	if saved, err := c.Save(t.Context(), 2, stateOf(7)); saved || !errors.Is(err, orbax.ErrExist) {
		t.Errorf("%t, %v", saved, err)
	}
	h, resp := hold(t, t.Context(), linked, 3)
	if saved, err := c.Save(t.Context(), 3, stateOf(7)); saved || !errors.Is(err, orbax.ErrBusy) {
		t.Errorf("%t, %v", saved, err)
	}
	h.end <- nil
	if saved, err := resp.Result(t.Context()); err != nil || !saved {
		t.Errorf("%t, %v", saved, err)
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Resume(t.Context(), new(runState)); !errors.Is(err, orbax.ErrNotExist) {
		t.Error(err)
	}
	mustSave(t, c, 1)
	wantSteps(t, c, 1)
}
