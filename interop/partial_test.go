package interop

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage"
)

// savePart saves a part in Python or, if by is "go", here.
func savePart(t *testing.T, by, path string, n *node, options request) {
	t.Helper()
	if by == "go" {
		v, err := n.toGo()
		if err == nil {
			err = partial.Save(t.Context(), path, v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	mustCall(t, "partial_save", request{"path": path, "tree": n, "options": options}, nil)
}

func finalize(t *testing.T, by, path string) {
	t.Helper()
	if by != "go" {
		mustCall(t, "partial_finalize", request{"path": path}, nil)
		return
	}
	// Where Python's finalize has failed, threads of it go on to move files for a
	// moment.
	err := partial.Finalize(t.Context(), path)
	for try := 0; errors.Is(err, orbax.ErrBusy) && try < 100; try++ {
		time.Sleep(100 * time.Millisecond)
		err = partial.Finalize(t.Context(), path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// threeParts deals the example leaves to three parts. Python finalizes only if
// one of them alone has strings.
func threeParts(strings bool) (parts []*node, whole *node) {
	leaves := exampleLeaves()
	parts, whole = []*node{dict(), dict(), dict()}, dict()
	for i, name := range slices.Sorted(maps.Keys(leaves)) {
		part, leaf := parts[i%3], leaves[name]
		if leaf.T == "str" && !strings {
			part = parts[1]
		}
		part.Keys, part.Kids = append(part.Keys, name), append(part.Kids, leaf)
		whole.Keys, whole.Kids = append(whole.Keys, name), append(whole.Kids, leaf)
	}
	// A subtree to which all parts add.
	deep := dict()
	for i, part := range parts {
		key, leaf := fmt.Sprint("w", i), leaves["sharded bfloat16"]
		part.Keys, part.Kids = append(part.Keys, "deep"), append(part.Kids, dict(key, leaf))
		deep.Keys, deep.Kids = append(deep.Keys, key), append(deep.Kids, leaf)
	}
	whole.Keys, whole.Kids = append(whole.Keys, "deep"), append(whole.Kids, deep)
	return parts, whole.plain()
}

// wantWhole loads the checkpoint in both languages.
func wantWhole(t *testing.T, path string, whole *node) {
	t.Helper()
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "in Go", whole, goLoad(t, path))
	mustEqual(t, "in Python", whole, pyLoad(t, path, nil))
	if _, err := os.Stat(path + ".partial_save"); err == nil {
		t.Error("the session is still there")
	}
}

// Whoever saves the parts and whoever finalizes, both load the checkpoint.
func TestPartial(t *testing.T) {
	needPython(t)
	for _, by := range []string{"go go go", "py py py", "py go py", "go py go"} {
		for _, last := range []string{"go", "py"} {
			t.Run(by+" "+last, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "ck")
				parts, whole := threeParts(last == "go")
				for i, writer := range strings.Fields(by) {
					savePart(t, writer, path, parts[i], nil)
				}
				finalize(t, last, path)
				wantWhole(t, path, whole)
			})
		}
	}
}

// copyTo copies a directory into a new one, under the name that it has.
func copyTo(t *testing.T, dir string) string {
	t.Helper()
	dst := filepath.Join(t.TempDir(), filepath.Base(dir))
	if err := os.CopyFS(dst, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(dst, ".partial_save")
}

// mixedSession is a session of parts of both.
func mixedSession(t *testing.T) (dir string, whole *node) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ck")
	a := exampleLeaves()
	savePart(t, "py", path, dict("a", a["np float32"], "p", dict("s", a["sharded float32"], "key", a["key rbg"])), nil)
	savePart(t, "go", path, dict("b", a["int"], "text", text("t"), "e", dict()), nil)
	savePart(t, "py", path, dict("c", a["float"], "p", dict("t", a["jax int4"])), nil)
	return path + ".partial_save", dict("a", a["np float32"], "b", a["int"], "c", a["float"], "e", dict(),
		"p", dict("key", a["key rbg"], "s", a["sharded float32"], "t", a["jax int4"]), "text", text("t")).plain()
}

// filesSession is a session whose arrays are plain files.
func filesSession(t *testing.T) (dir string, whole *node) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ck")
	a, files := exampleLeaves(), request{"use_ocdbt": false}
	savePart(t, "py", path, dict("a", a["np float32"], "text", text("t")), files)
	savePart(t, "py", path, dict("b", a["jax int4"], "c", a["sharded float32"]), files)
	return path + ".partial_save", dict("a", a["np float32"], "b", a["jax int4"], "c", a["sharded float32"], "text", text("t")).plain()
}

// A finalize in Python that stops after any number of steps is finished here.
func TestPartialStoppedPython(t *testing.T) {
	needPython(t)
	for name, session := range map[string]func(*testing.T) (string, *node){"mixed": mixedSession, "files": filesSession} {
		t.Run(name, func(t *testing.T) {
			dir, whole := session(t)
			for n := 0; ; n++ {
				path := copyTo(t, dir)
				var answer struct{ Stopped bool }
				mustCall(t, "partial_finalize_stopped", request{"path": path, "after": n}, &answer)
				if !answer.Stopped {
					t.Logf("%d steps", n)
					return
				}
				if _, err := orbax.Load(t.Context(), path+".partial_save"); !errors.Is(err, orbax.ErrIncomplete) && !errors.Is(err, orbax.ErrNotExist) {
					t.Errorf("after %d steps the session is loaded: %v", n, err)
				}
				if err := partial.Finalize(t.Context(), path); err != nil {
					t.Fatalf("after %d steps: %v", n, err)
				}
				wantWhole(t, path, whole)
			}
		})
	}
}

// What Python gives up is finished here: strings in two parts, and lists of
// different length in the custom metadata.
func TestPartialFailedPython(t *testing.T) {
	needPython(t)
	path := filepath.Join(t.TempDir(), "ck")
	savePart(t, "py", path, dict("a", text("one"), "w", integer(1)), nil)
	savePart(t, "go", path, dict("b", text("two"), "x", integer(2)), nil)
	savePart(t, "py", path, dict("c", text("three"), "y", integer(3)), nil)
	if err := call(t.Context(), "partial_finalize", request{"path": path}, nil); !pyRaises(err) {
		t.Fatalf("Python: %v", err)
	}
	finalize(t, "go", path)
	wantWhole(t, path, dict("a", text("one"), "b", text("two"), "c", text("three"), "w", integer(1), "x", integer(2), "y", integer(3)))

	path = filepath.Join(t.TempDir(), "ck")
	for i, list := range [][]int{{1, 2}, {3}} {
		mustCall(t, "partial_save", request{"path": path, "tree": dict(fmt.Sprint("w", i), integer(1)),
			"custom_metadata": map[string]any{"list": list, "of": map[string]any{fmt.Sprint(i): i}}}, nil)
	}
	if err := call(t.Context(), "partial_finalize", request{"path": path}, nil); !pyRaises(err) {
		t.Fatalf("Python: %v", err)
	}
	finalize(t, "go", path)
	wantWhole(t, path, dict("w0", integer(1), "w1", integer(1)))
	meta, err := orbax.Metadata(t.Context(), path)
	if err != nil || fmt.Sprint(meta.Custom) != "map[list:[3] of:map[0:0 1:1]]" {
		t.Errorf("custom metadata %v, %v", meta.Custom, err)
	}
}

// Parts in different forms: Python makes of them what it cannot load, or fails.
func TestPartialForms(t *testing.T) {
	needPython(t)
	files, zarr2 := request{"use_ocdbt": false}, request{"use_zarr3": false}
	filesZarr2 := request{"use_ocdbt": false, "use_zarr3": false}
	w := exampleLeaves()["np float32"]
	for name, c := range map[string]struct {
		forms  []request
		python bool // finalizes and loads it
		ok     bool
	}{
		"files":           {[]request{files, files}, true, true},
		"files and OCDBT": {[]request{files, nil}, false, true},
		"OCDBT and files": {[]request{nil, files}, false, true},
		"zarr2":           {[]request{zarr2, zarr2}, true, true},
		"zarr2 both ways": {[]request{zarr2, filesZarr2}, false, true},
		"zarr2 and zarr3": {[]request{zarr2, nil}, false, false},
		"zarr3 and zarr2": {[]request{nil, zarr2}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ck")
			whole := dict()
			for i, form := range c.forms {
				key := fmt.Sprint("w", i)
				savePart(t, "py", path, dict(key, w), form)
				whole.Keys, whole.Kids = append(whole.Keys, key), append(whole.Kids, w)
			}
			inPython := copyTo(t, path+".partial_save")
			err := call(t.Context(), "partial_finalize", request{"path": inPython}, nil)
			if err == nil {
				err = call(t.Context(), "load", request{"path": inPython}, nil)
			}
			if (err == nil) != c.python {
				t.Errorf("Python: %v", err)
			}
			err = partial.Finalize(t.Context(), path)
			if !c.ok {
				s, serr := partial.Open(t.Context(), path)
				if !errors.Is(err, orbax.ErrUnsupported) || serr != nil || len(s.Parts) != len(c.forms) {
					t.Errorf("Finalize: %v; the session: %v", err, serr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantWhole(t, path, whole)
		})
	}
}

// Each refuses to replace what the other has saved.
func TestPartialReplacement(t *testing.T) {
	needPython(t)
	path := filepath.Join(t.TempDir(), "ck")
	savePart(t, "py", path, dict("p", dict("a", integer(1))), nil)
	savePart(t, "go", path, dict("q", dict("b", integer(2))), nil)
	for _, n := range []*node{dict("p", dict("a", integer(1))), dict("q", dict("b", integer(1))), dict("p", integer(1)), dict("q", dict("b", dict("c", integer(1))))} {
		v, err := n.toGo()
		if err != nil {
			t.Fatal(err)
		}
		if err := partial.Save(t.Context(), path, v); !errors.Is(err, orbax.ErrKeyCollision) {
			t.Errorf("Go saves %v: %v", n, err)
		}
		if err := call(t.Context(), "partial_save", request{"path": path, "tree": n}, nil); !pyRaises(err) {
			t.Errorf("Python saves %v: %v", n, err)
		}
		os.RemoveAll(path + ".partial_save.orbax-checkpoint-tmp") // which Python leaves
	}
	finalize(t, "py", path)
	wantWhole(t, path, dict("p", dict("a", integer(1)), "q", dict("b", integer(2))))
}

// lastAt returns the local disk, of which the n-th operation is the process's last.
func lastAt(n int) storage.Store {
	var left atomic.Int64
	left.Store(int64(n))
	return failstore.New(storage.Local(), func(string, string) error {
		if left.Add(-1) == -1 {
			p, _ := os.FindProcess(os.Getpid())
			p.Kill()
			select {} // it takes a moment
		}
		return nil
	})
}

// TestPartialChild is a process that dies while it finalizes.
func TestPartialChild(t *testing.T) {
	_, job, ok := testenv.Child()
	if !ok {
		t.Skip("only for the test of crashes")
	}
	at, path, _ := strings.Cut(job, ":")
	n, err := strconv.Atoi(at)
	if err != nil {
		t.Fatal(err)
	}
	if err := partial.Finalize(t.Context(), path, orbax.In(lastAt(n))); err != nil {
		t.Fatal(err)
	}
}

// A finalize that dies at any operation here is finished in Python.
func TestPartialDeath(t *testing.T) {
	needPython(t)
	dir, whole := mixedSession(t)
	for n := 0; ; n++ {
		path := copyTo(t, dir)
		cmd := orbaxtest.Child(t, "TestPartialChild", "finalize", fmt.Sprintf("%d:%s", n, filepath.ToSlash(path)))
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() > 0 {
			t.Fatalf("at %d: %v\n%s", n, err, out)
		}
		if _, serr := os.Stat(path); serr != nil {
			finalize(t, "py", path)
		} else if err != nil { // killed between its commit and its removal of the session
			os.RemoveAll(path + ".partial_save")
		}
		wantWhole(t, path, whole)
		if err == nil {
			return
		}
	}
}

// A finalize in Python that stops before it merges the databases, and is then
// repeated, makes a checkpoint that Python cannot load. It can be repaired.
func TestPartialRepair(t *testing.T) {
	needPython(t)
	dir, whole := mixedSession(t)
	for n := 0; ; n++ {
		path := copyTo(t, dir)
		var answer struct{ Stopped bool }
		mustCall(t, "partial_finalize_stopped", request{"path": path, "after": n}, &answer)
		if !answer.Stopped {
			t.Fatal("it never happens")
		}
		left, err := filepath.Glob(path + ".partial_save/*.pending_*")
		if err != nil || len(left) > 0 {
			continue
		}
		finalize(t, "py", path)
		if err := call(t.Context(), "load", request{"path": path}, nil); !pyRaises(err) {
			t.Fatalf("Python loads it: %v", err)
		}
		mustEqual(t, "in Go, before", whole, goLoad(t, path))
		report, err := orbax.Repair(t.Context(), path, orbax.WriteRepairs())
		if err != nil || !report.Written {
			t.Fatalf("%v, %v", report, err)
		}
		wantWhole(t, path, whole)
		return
	}
}
