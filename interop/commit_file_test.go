package interop

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/training"
)

var must = orbaxtest.Must

const commitFile = "commit_success.txt"

var byCommitFile = orbax.Atomicity(orbax.CommitFile)

// commitFiles are the options of a context of Orbax that commits by marker.
var commitFiles = request{"atomicity": "commit_file"}

// A checkpoint that Go commits by marker loads in Python, whether Python looks for the
// marker or not; without the marker Python refuses it where it looks.
func TestCommitFile(t *testing.T) {
	needPython(t)
	for name, o := range map[string]struct {
		storage handler.StorageOptions
		by      orbax.SaveOption
	}{
		"database": {by: byCommitFile}, "files": {handler.StorageOptions{PlainFiles: true}, byCommitFile},
		"a store that cannot rename": {by: orbax.In(failstore.NewMarked(storage.Local()))},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ck")
			tree := newRun(t, "v1", nil, nil).tree(3, "go")
			goSave(t, path, tree, o.by, orbax.Storage(o.storage))
			want := pyLoad(t, path, nil)
			mustEqual(t, "Go", want.plain(), goLoad(t, path))
			var got struct{ Tree *node }
			mustCall(t, "load", request{"path": path, "options": commitFiles}, &got)
			mustEqual(t, "Python with COMMIT_FILE", want, got.Tree)

			// As if the process had died before its last write.
			must(t, os.Remove(filepath.Join(path, commitFile)))
			err := call(t.Context(), "load", request{"path": path, "options": commitFiles}, nil)
			if !pyRaises(err) || !strings.Contains(err.Error(), "incomplete") {
				t.Errorf("Python loads what is unfinished: %v", err)
			}
			if in, ok := o.by.(orbax.StoreOption); ok { // where nothing else shows it
				_, err = orbax.Load(t.Context(), path, in)
			} else {
				_, err = orbax.Load(t.Context(), path)
			}
			if !errors.Is(err, orbax.ErrIncomplete) {
				t.Errorf("Go loads what is unfinished: %v", err)
			}
			goSave(t, path, tree, o.by, orbax.Overwrite())
			mustCall(t, "load", request{"path": path, "options": commitFiles}, &got)
			mustEqual(t, "saved again", want, got.Tree)
		})
	}
}

// Go takes the place of what Python has not finished, and of nothing else.
func TestCommitFileOverPython(t *testing.T) {
	needPython(t)
	path := filepath.Join(t.TempDir(), "ck")
	tree := newRun(t, "v1", nil, nil).tree(3, "python")
	pySave(t, path, tree, commitFiles)
	v, err := tree.toGo()
	must(t, err)
	if err := orbax.Save(t.Context(), path, v, byCommitFile, orbax.Overwrite()); !errors.Is(err, orbax.ErrUnsupported) {
		t.Errorf("over a complete checkpoint: %v", err)
	}
	root := t.TempDir()
	killed := markerSaves(t)[0]
	for _, op := range killed.ops[:killed.marker/2] {
		must(t, op.do(root))
	}
	path = filepath.Join(root, killed.path)
	goSave(t, path, tree, byCommitFile, orbax.Overwrite())
	var got struct{ Tree *node }
	mustCall(t, "load", request{"path": path, "options": commitFiles}, &got)
	mustEqual(t, "saved again", pyLoad(t, path, nil), got.Tree)
}

// A run by marker goes from Go to Python and back; a step without its marker is none.
func TestCommitFileRun(t *testing.T) {
	t.Run("disk", func(t *testing.T) {
		testCommitFileRun(t, training.Options{SaveOptions: []orbax.SaveCheckpointablesOption{byCommitFile}})
	})
	t.Run("a store that cannot rename", func(t *testing.T) {
		testCommitFileRun(t, training.Options{Store: failstore.NewMarked(storage.Local())})
	})
}

func testCommitFileRun(t *testing.T, options training.Options) {
	needPython(t)
	r := newRun(t, "v1", nil, request{"atomicity": "commit_file"})
	save := func(step int) {
		r.one(step, "go")
		r.golang(options, func(c *training.Checkpointer) { r.saveGo(c, step) })
	}
	save(0)
	r.python(r.one(1, "python").save(1, nil), request{"act": "load", "step": 0})
	save(2)
	must(t, os.Remove(filepath.Join(r.root, "2", commitFile)))
	var steps []int
	for _, s := range r.ask().Steps {
		steps = append(steps, s.Step)
	}
	if !slices.Equal(steps, []int{0, 1}) {
		t.Errorf("Python lists %v", steps)
	}
	delete(r.steps, 2)
	save(3)
}
