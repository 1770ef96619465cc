// Package storetest tests a [storage.Store] against its contract. The test of a store is
//
//	func TestContract(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) (storage.Store, string) {
//			return mem.New(), "dir"
//		})
//	}
//
// It tests all that the [storage.Properties] of the store promise, and that the store
// refuses everything else.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// Option changes what [Run] demands.
type Option int

// ReplaceInSteps allows Commit to leave the path missing for a moment when it replaces a
// directory, as the local disk does where the system cannot exchange two directories.
const ReplaceInSteps Option = 1

// VersionOfBytes allows a file that is made anew of the same bytes to keep its version, as
// the ETag of an object does.
const VersionOfBytes Option = 2

// Run tests a store. It calls open for each test. open returns a store and the name of a
// directory in it, which is missing or empty, and which only this test uses.
func Run(t *testing.T, open func(t *testing.T) (storage.Store, string), options ...Option) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"read", readTests}, {"snapshot", snapshotTests}, {"stage", stageTests}, {"replace", replaceTests}, {"into", intoTests}, {"into by marker", intoMarkedTests},
		{"marker", markerTests}, {"link", linkTests}, {"edit", editTests}, {"join", joinTests}, {"revoke", revokeTests}, {"failure", failureTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.tests {
				t.Run(c.name, func(t *testing.T) {
					store, dir := open(t)
					e := &env{T: t, store: store, dir: dir, can: store.Properties(), steps: slices.Contains(options, ReplaceInSteps), ofBytes: slices.Contains(options, VersionOfBytes)}
					if c.needs != nil && !c.needs(e.can) {
						t.Skip("the store does not promise it")
					}
					c.run(e)
				})
			}
		})
	}
}

// test is one rule that a store keeps.
type test struct {
	name  string
	needs func(storage.Properties) bool // nil: nothing
	run   func(e *env)
}

// env is the environment of one test.
type env struct {
	*testing.T
	store storage.Store
	dir   string
	can   storage.Properties
	steps bool // ReplaceInSteps
	// ofBytes is VersionOfBytes.
	ofBytes bool
}

func (e *env) at(name string) string { return path.Join(e.dir, name) }

// must ends the test with an error.
func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// want fails the test unless err matches target, or is nil if that is nil.
func (e *env) want(what string, err, target error) {
	e.Helper()
	if !errors.Is(err, target) {
		e.Errorf("%s: got the error %v, want %v", what, err, target)
	}
}

// refused fails the test if err is nil.
func (e *env) refused(what string, err error) {
	e.Helper()
	if err == nil {
		e.Errorf("%s: got no error", what)
	}
}

// begin begins a stage. At the end of the test it is aborted if it has not ended.
func (e *env) begin(name string, o storage.BeginOptions) storage.Stage {
	e.Helper()
	s, err := e.store.Begin(e.Context(), e.at(name), e.marked(o))
	e.must(err)
	e.Cleanup(func() { s.Abort() })
	if e.marked(o).Marker != o.Marker {
		s = markedStage{s}
	}
	return s
}

// mark is the marker of the directories that these tests make.
const mark = "done"

// marked returns options that a store without Rename accepts.
func (e *env) marked(o storage.BeginOptions) storage.BeginOptions {
	if !e.can.Rename && o.Into == nil {
		o.Marker = mark
	}
	return o
}

// markedStage writes the marker before Commit.
type markedStage struct{ storage.Stage }

func (s markedStage) Commit(ctx context.Context) error {
	if err := write(ctx, s.Stage, mark, nil); err != nil && !errors.Is(err, fault.ErrExist) {
		s.Abort()
		return err
	}
	return s.Stage.Commit(ctx)
}

// commit writes the marker, if the stage needs one, and commits.
func (e *env) commit(s storage.Stage) error {
	if !e.can.Rename {
		s = markedStage{s}
	}
	return s.Commit(e.Context())
}

// refuseBegin fails the test unless Begin fails with an error that matches target.
func (e *env) refuseBegin(name string, o storage.BeginOptions, target error) {
	e.Helper()
	s, err := e.store.Begin(e.Context(), e.at(name), e.marked(o))
	if err == nil {
		s.Abort()
	}
	e.want("Begin "+name, err, target)
}

// put writes a file.
func (e *env) put(to storage.Files, name, data string) {
	e.Helper()
	e.must(write(e.Context(), to, name, []byte(data)))
}

func write(ctx context.Context, to storage.Files, name string, data []byte) error {
	w, err := to.Create(ctx, name, int64(len(data)))
	if err != nil {
		return err
	}
	return errors.Join(w.WriteAt(ctx, data, 0), w.Close())
}

// save makes a directory of files, by name and contents.
func (e *env) save(name string, files map[string]string) {
	e.Helper()
	s := e.begin(name, storage.BeginOptions{})
	for file, data := range files {
		e.put(s, file, data)
	}
	e.must(s.Commit(e.Context()))
}

func (e *env) read(name string) ([]byte, error) {
	r, err := e.store.Open(e.Context(), name)
	if err != nil {
		return nil, err
	}
	data := make([]byte, r.Size())
	return data, errors.Join(r.ReadAt(e.Context(), data, 0), r.Close())
}

// tree returns the files below a directory, by name and contents.
func (e *env) tree(dir string) (map[string]string, error) {
	files := map[string]string{}
	var below func(name string) error
	below = func(name string) error {
		infos, err := e.store.List(e.Context(), path.Join(dir, name))
		for _, info := range infos {
			if err != nil {
				return err
			}
			file := path.Join(name, info.Name)
			if info.Dir {
				err = below(file)
				continue
			}
			var data []byte
			data, err = e.read(path.Join(dir, file))
			files[file] = string(data)
		}
		return err
	}
	return files, below("")
}

// has fails the test unless a directory has exactly these files. nil means that the
// directory does not exist.
func (e *env) has(name string, want map[string]string) {
	e.Helper()
	got, err := e.tree(e.at(name))
	if want == nil && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if _, marked := want[mark]; !e.can.Rename { // the store makes the marker, whatever it has
		want = maps.Clone(want)
		delete(got, mark)
		delete(want, mark)
		if marked {
			_, serr := e.store.Stat(e.Context(), e.at(path.Join(name, mark)))
			err = errors.Join(err, serr)
		}
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		e.Errorf("%s has %q, %v; want %q", name, got, err, want)
	}
}

// alone fails the test unless a directory has exactly these entries, temporary ones
// included.
func (e *env) alone(dir string, want ...string) {
	e.Helper()
	infos, err := e.store.List(e.Context(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	e.must(err)
	var got []string
	for _, info := range infos {
		got = append(got, info.Name)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		e.Errorf("%s has the entries %q, want %q", dir, got, want)
	}
}

// everything is a look that allows the removal of all entries.
func (e *env) everything(ctx context.Context, dir string) ([]storage.Item, error) {
	var items []storage.Item
	var below func(name string) error
	below = func(name string) error {
		entries, err := storage.Entries(ctx, e.store, path.Join(dir, name))
		for _, entry := range entries {
			if err != nil {
				return err
			}
			item := storage.Item{Name: path.Join(name, entry.Name), Dir: entry.Type.IsDir()}
			items = append(items, item)
			if item.Dir {
				err = below(item.Name)
			}
		}
		return err
	}
	return items, below("")
}

var errNo = errors.New("it must stay")

// nothing is a look that refuses the removal.
func nothing(context.Context, string) ([]storage.Item, error) { return nil, errNo }

func renames(p storage.Properties) bool { return p.Rename }

// pattern returns n bytes that differ from place to place.
func pattern(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef!"), n/17+1)[:n] }

// badNames lead out of a directory, or are not valid names.
var badNames = []string{"", "..", "../x", "/x", "a/../../x", "a//b", "a/"}

var errReserved error = fault.ErrReservedName
