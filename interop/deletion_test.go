package interop

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
)

const deletionFile = "_CHECKPOINT_DELETION"

// noFiles is a stateful checkpointable without any file.
type noFiles struct{}

func (*noFiles) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(context.Context, *handler.WriteDir) error { return nil }, nil
}

func (*noFiles) LoadState(context.Context, *handler.ReadDir) error { return nil }

// deletable makes a checkpoint of the parts "state", "opt" and "it", and copies of
// it.
type deletable struct {
	template string
	want     *node // what "state" is in Go
	wantPy   *node // and in Python
}

// byGo is a checkpoint that Go has saved, its part "it" without files.
func byGo(t *testing.T) *deletable {
	t.Helper()
	path := filepath.Join(t.TempDir(), "template")
	err := orbax.SaveCheckpointables(t.Context(), path, map[string]any{
		"state": map[string]any{"step": 7, "w": []float32{1, 2, 3}, "s": "ü"},
		"opt":   map[string]any{"mu": make([]float32, 5000), "nu": []float32{1}},
		"it":    &noFiles{},
	}, orbax.CustomMetadata(map[string]any{
		"run": "ä\u2028😀\"\\\x00", "rate": 1e-7, "large": 1e22, "whole": 3.0, "n": int64(1) << 60, "list": []any{nil, true, []any{}}, "words": []any{math.NaN(), math.Inf(1), math.Inf(-1), "NaN"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	return newDeletable(t, path)
}

// byPython is one that Python has saved.
func byPython(t *testing.T) *deletable {
	t.Helper()
	path := filepath.Join(t.TempDir(), "template")
	tree := pyLoad(t, byGo(t).template, nil)
	mustCall(t, "save_checkpointables", request{"path": path, "items": map[string]any{
		"state": request{"kind": "pytree", "tree": tree},
		"opt":   request{"kind": "pytree", "tree": tree},
		"it":    request{"kind": "json", "value": map[string]any{"a": 1}},
	}, "custom_json": `{"run": "ä", "best": NaN, "all": [Infinity, -Infinity, 1e22]}`}, nil)
	return newDeletable(t, path)
}

func newDeletable(t *testing.T, path string) *deletable {
	t.Helper()
	v, err := orbax.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return &deletable{template: path, want: mustNode(t, v), wantPy: pyLoad(t, path, nil)}
}

// make returns the path of a fresh copy.
func (d *deletable) make(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "checkpoint")
	if err := os.CopyFS(path, os.DirFS(d.template)); err != nil {
		t.Fatal(err)
	}
	return path
}

// check has Go and Python read all of the part "state", and Go verify the rest. It
// returns the names of the parts, and of the one that is being deleted.
func (d *deletable) check(t *testing.T, path string) (parts []string, pending string) {
	t.Helper()
	ck, err := orbax.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if err := ck.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := ck.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "Go", d.want, mustNode(t, v))
	mustEqual(t, "Python", d.wantPy, pyLoad(t, path, nil))
	meta, err := ck.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Items  map[string]any
		Custom map[string]any `json:"custom_metadata"`
	}
	mustCall(t, "checkpointables_metadata", request{"path": path}, &answer)
	if in := slices.Sorted(maps.Keys(answer.Items)); !slices.Equal(in, ck.Names()) {
		t.Errorf("Python sees %q, Go %q", in, ck.Names())
	}
	if run := meta.Custom.(map[string]any)["run"]; run == nil || run != answer.Custom["run"] {
		t.Errorf("custom metadata %v in Go, %v in Python", meta.Custom, answer.Custom)
	}
	return ck.Names(), meta.Deleting
}

// finished checks a checkpoint after the deletion of a part.
func (d *deletable) finished(t *testing.T, path, name string) {
	t.Helper()
	want := slices.DeleteFunc([]string{"it", "opt", "state"}, func(s string) bool { return s == name })
	if parts, pending := d.check(t, path); pending != "" || !slices.Equal(parts, want) {
		t.Errorf("parts %q, pending %q", parts, pending)
	}
	for _, gone := range []string{name, deletionFile} {
		if _, err := os.Lstat(filepath.Join(path, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
}

func eachDeletable(t *testing.T, f func(t *testing.T, d *deletable)) {
	needPython(t)
	t.Run("by Go", func(t *testing.T) { f(t, byGo(t)) })
	t.Run("by Python", func(t *testing.T) { f(t, byPython(t)) })
}

// What Orbax rewrites when it deletes a checkpointable is not damage, nor is what
// the other side deletes after that.
func TestDeleteInTurns(t *testing.T) {
	eachDeletable(t, func(t *testing.T, d *deletable) {
		for _, first := range []string{"opt", "it"} {
			for _, pythonFirst := range []bool{true, false} {
				path := d.make(t)
				second := map[string]string{"opt": "it", "it": "opt"}[first]
				byPython := func(name string) { mustCall(t, "delete", request{"path": path, "name": name}, nil) }
				byGo := func(name string) {
					if err := orbax.Delete(t.Context(), path, orbax.Name(name)); err != nil {
						t.Fatal(err)
					}
				}
				if !pythonFirst {
					byPython, byGo = byGo, byPython
				}
				byPython(first)
				d.finished(t, path, first)
				byGo(second)
				if parts, _ := d.check(t, path); !slices.Equal(parts, []string{"state"}) {
					t.Errorf("left %q", parts)
				}
			}
		}
	})
}

// Both leave the same bytes, and the same record while they are at it.
func TestDeletionsAreTheSame(t *testing.T) {
	eachDeletable(t, func(t *testing.T, d *deletable) {
		id := regexp.MustCompile(`"operation_id": "[0-9a-f]{32}"`)
		stop := func(byGo bool) map[string]string {
			path := d.make(t)
			if byGo {
				if !deleteStopped(t, path, "opt", 2) {
					t.Fatal("not stopped")
				}
			} else { // mkstemp, fsync, link, fsync, unlink
				mustCall(t, "delete_stopped", request{"path": path, "name": "opt", "at": 5}, nil)
			}
			record, err := os.ReadFile(filepath.Join(path, deletionFile))
			if err != nil || !id.Match(record) {
				t.Fatalf("%s, %v", record, err)
			}
			if byGo {
				mustCall(t, "delete", request{"path": path, "name": "opt"}, nil)
			} else if err := orbax.Delete(t.Context(), path, orbax.Name("opt")); err != nil {
				t.Fatal(err)
			}
			metadata, err := os.ReadFile(filepath.Join(path, "_CHECKPOINT_METADATA"))
			if err != nil {
				t.Fatal(err)
			}
			return map[string]string{"record": id.ReplaceAllString(string(record), ""), "metadata": string(metadata)}
		}
		inGo, inPython := stop(true), stop(false)
		for name := range inGo {
			if inGo[name] != inPython[name] {
				t.Errorf("%s\n%s in Go\n%s in Python", name, inGo[name], inPython[name])
			}
		}
	})
}

// Python dies at every step of a deletion; Go reads what is left, and finishes.
func TestGoFinishesDeletionsOfPython(t *testing.T) {
	eachDeletable(t, func(t *testing.T, d *deletable) {
		for _, name := range []string{"opt", "it", ""} {
			for at, more := 0, true; more; at++ {
				path := d.make(t)
				var answer struct {
					Stopped bool
					Calls   []string
				}
				mustCall(t, "delete_stopped", request{"path": path, "name": name, "at": at}, &answer)
				if more = answer.Stopped; !more {
					t.Logf("%q: %q", name, answer.Calls)
				}
				if name == "" {
					err := orbax.Delete(t.Context(), path, orbax.MissingOK())
					if os.Remove(path) == nil { // an empty directory proves nothing, and stays
						if !errors.Is(err, orbax.ErrInvalidCheckpoint) {
							t.Fatalf("stopped at call %d, before the empty directory goes: %v", at, err)
						}
					} else if err != nil {
						t.Fatalf("stopped at call %d: %v", at, err)
					}
					if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
						t.Fatalf("left %v, %v", left, err)
					}
					continue
				}
				d.stopped(t, path, name)
				if err := orbax.Delete(t.Context(), path, orbax.Name(name), orbax.MissingOK()); err != nil {
					t.Fatalf("stopped at call %d: %v", at, err)
				}
				d.finished(t, path, name)
				if t.Failed() {
					t.Fatalf("stopped at call %d", at)
				}
			}
		}
	})
}

// stopped checks what is left when the deletion of a part was stopped.
func (d *deletable) stopped(t *testing.T, path, name string) {
	t.Helper()
	parts, pending := d.check(t, path)
	all := []string{"it", "opt", "state"}
	rest := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == name })
	if pending == "" {
		if !slices.Equal(parts, all) && !slices.Equal(parts, rest) {
			t.Fatalf("parts %q", parts)
		}
		return
	}
	if pending != name || !slices.Equal(parts, rest) {
		t.Fatalf("parts %q, pending %q", parts, pending)
	}
	_, err := orbax.Load(t.Context(), path, orbax.Name(name))
	pyErr := call(t.Context(), "load", request{"path": path, "name": name}, nil)
	if !errors.Is(err, orbax.ErrNotExist) || !raises(pyErr, "DeletionInProgressError") {
		t.Errorf("load of %q: %v, %v", name, err, pyErr)
	}
	err = orbax.Save(t.Context(), path, map[string]any{"a": 1}, orbax.Overwrite())
	pyErr = call(t.Context(), "save", request{"path": path, "tree": d.wantPy, "overwrite": true}, nil)
	if !errors.Is(err, orbax.ErrBusy) || !raises(pyErr, "DeletionInProgressError") {
		t.Errorf("save: %v, %v", err, pyErr)
	}
	err = orbax.Delete(t.Context(), path, orbax.Name("state"))
	pyErr = call(t.Context(), "delete", request{"path": path, "name": "state"}, nil)
	if !errors.Is(err, orbax.ErrBusy) || !raises(pyErr, "DeletionRecoveryError") {
		t.Errorf("deletion of another: %v, %v", err, pyErr)
	}
}

func raises(err error, class string) bool {
	return pyRaises(err) && strings.Contains(err.Error(), class)
}

// Go dies at every step of a deletion; Python reads what is left, and finishes.
func TestPythonFinishesDeletionsOfGo(t *testing.T) {
	eachDeletable(t, func(t *testing.T, d *deletable) {
		for _, name := range []string{"opt", "it", ""} {
			for at, more := 0, true; more; at++ {
				path := d.make(t)
				more = deleteStopped(t, path, name, at)
				if name != "" {
					d.stopped(t, path, name)
				}
				mustCall(t, "delete", request{"path": path, "name": name, "missing_ok": true}, nil)
				if name != "" {
					d.finished(t, path, name)
				} else if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("it is still there: %v", err)
				}
				if t.Failed() {
					t.Fatalf("deletion of %q stopped at step %d", name, at)
				}
			}
		}
	})
}

// A damaged record is an error wherever it is read, which names the file.
func TestDamagedDeletionRecord(t *testing.T) {
	needPython(t)
	d := byGo(t)
	path := d.make(t)
	deleteStopped(t, path, "opt", 2)
	file := filepath.Join(path, deletionFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string][]byte{
		"truncated":   good[:len(good)/2],
		"other name":  bytes.Replace(good, []byte(`name": "opt"`), []byte(`name": "state"`), 1),
		"other times": bytes.Replace(good, []byte(`commit_timestamp_nsecs": 1`), []byte(`commit_timestamp_nsecs": 2`), 1),
		"empty":       {},
	} {
		if err := os.WriteFile(file, doc, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := orbax.Load(t.Context(), path)
		pyErr := call(t.Context(), "load", request{"path": path}, nil)
		if !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), deletionFile) || !raises(pyErr, "DeletionRecoveryError") {
			t.Errorf("%s: %v; %v", name, err, pyErr)
		}
	}
	if err := orbax.Delete(t.Context(), path); err != nil {
		t.Error(err)
	}
}

// What one refuses to delete, the other does as well.
func TestDeletionsRefused(t *testing.T) {
	eachDeletable(t, func(t *testing.T, d *deletable) {
		for what, c := range map[string]struct{ below, name string }{
			"part's directory": {"opt", ""},
			"data":             {"state/d", ""},
			"run":              {"..", ""},
			"missing":          {"../none", ""},
			"missing part":     {"", "none"},
			"no part's name":   {"", ".."},
		} {
			path := d.make(t)
			target := filepath.Join(path, filepath.FromSlash(c.below))
			var options []orbax.DeleteOption
			if c.name != "" {
				options = append(options, orbax.Name(c.name))
			}
			err := orbax.Delete(t.Context(), target, options...)
			pyErr := call(t.Context(), "delete", request{"path": target, "name": c.name}, nil)
			if err == nil || !pyRaises(pyErr) {
				t.Errorf("%s: %v; %v", what, err, pyErr)
			}
			if parts, _ := d.check(t, path); len(parts) != 3 {
				t.Errorf("%s: left %q", what, parts)
			}
		}
	})
}

// Checkpoints of Orbax v0 are deleted as well, but not the run that they are in.
func TestDeleteV0(t *testing.T) {
	needPython(t)
	run := filepath.Join(t.TempDir(), "run")
	tree := pyLoad(t, byGo(t).template, nil)
	flat := filepath.Join(t.TempDir(), "flat")
	mustCall(t, "v0_save", request{"path": flat, "tree": tree}, nil)
	mustCall(t, "v0_save", request{"path": run, "tree": tree, "step": 3}, nil)
	step := filepath.Join(run, "3")
	for path, want := range map[string]string{run: "3", filepath.Join(step, "default"): `Name("default")`} {
		err := orbax.Delete(t.Context(), path)
		if !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, name := range []string{"default", "other"} {
		if err := orbax.Delete(t.Context(), flat, orbax.Name(name), orbax.MissingOK()); !errors.Is(err, orbax.ErrStructure) {
			t.Errorf("%q of one without names: %v", name, err)
		}
	}
	for _, path := range []string{flat, step} {
		if err := orbax.Delete(t.Context(), path); err != nil {
			t.Error(err)
		}
		if left, err := filepath.Glob(path + "*"); err != nil || len(left) > 0 {
			t.Errorf("left %q, %v", left, err)
		}
	}
}
