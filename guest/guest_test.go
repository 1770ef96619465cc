package guest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/guest"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

var must = orbaxtest.Must

var state = map[string]any{"cursor": 7, "name": "train", "buffer": make([]float32, 3000)}

const treeHandler = "orbax.checkpoint.experimental.v1._src.handlers.pytree_handler.PyTreeHandler"

// begun returns a directory as Orbax makes it for a checkpoint with the checkpointable
// go_state.
func begun(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "step_1.orbax-checkpoint-tmp")
	must(t, os.MkdirAll(filepath.Join(dir, "go_state"), 0o777))
	return dir
}

// commit makes a checkpoint of dir as Orbax does, and returns its path.
func commit(t *testing.T, dir string, handlers map[string]string) (ck string) {
	t.Helper()
	doc, err := (&layout.CheckpointMetadata{Handlers: handlers}).Document()
	must(t, err)
	orbaxtest.WriteFile(t, filepath.Join(dir, layout.CheckpointFile), string(doc))
	ck = strings.TrimSuffix(dir, storage.TempMarker)
	must(t, os.Rename(dir, ck))
	return ck
}

func TestWritePart(t *testing.T) {
	dir := begun(t)
	must(t, guest.WritePart(t.Context(), dir, "go_state", state))
	must(t, guest.WritePart(t.Context(), dir, "second", map[string]any{"a": []int32{1, 2}}, orbax.Storage(handler.StorageOptions{PlainFiles: true})))
	must(t, guest.WritePart(t.Context(), dir, "config", handler.JSON{Value: map[string]any{"lr": 0.5}}))
	if got := strings.Join(orbaxtest.Names(t, dir), " "); got != "config go_state second" {
		t.Errorf("the directory has %s", got)
	}
	ck := commit(t, dir, map[string]string{"go_state": treeHandler, "second": treeHandler, "config": handler.JSONHandler{}.Type()})
	must(t, orbax.Verify(t.Context(), ck))
	got, err := orbax.Load(t.Context(), ck, orbax.Name("go_state"))
	must(t, err)
	if cursor := got.(map[string]any)["cursor"]; cursor != 7 {
		t.Errorf("the cursor is %v", cursor)
	}
	all, err := orbax.LoadCheckpointables(t.Context(), ck, nil)
	must(t, err)
	if len(all) != 3 {
		t.Errorf("the checkpointables are %v", all)
	}
	if err := guest.WritePart(t.Context(), ck, "late", state); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("a part of a complete checkpoint: %v", err)
	}
	if got := orbaxtest.Names(t, filepath.Join(ck, "go_state")); strings.Contains(strings.Join(got, " "), layout.PlacesFile) {
		t.Errorf("the part has %s", got)
	}
}

// A training.Checkpointer of Orbax gives the directory of a checkpointable its name when
// that is complete.
// In a store that cannot rename, the checkpoint is made in its place, and the part gets a
// marker of its own. It is no checkpoint before the other program ends.
func TestWritePartByMarker(t *testing.T) {
	store := failstore.NewMarked(storage.Local())
	in := orbax.In(store)
	ck := filepath.ToSlash(filepath.Join(t.TempDir(), "step_1"))
	boom := errors.New("boom")
	failing := failstore.NewMarked(failstore.New(storage.Local(), func(op, name string) error {
		if op == "close" && path.Base(name) == layout.TreeFile {
			return boom
		}
		return nil
	}))
	if err := guest.WritePart(t.Context(), ck, "go_state", state, orbax.In(failing)); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if _, err := store.Stat(t.Context(), ck); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a failure: %v", err)
	}
	must(t, guest.WritePart(t.Context(), ck, "go_state", state, in))
	if _, err := os.Stat(ck + "/go_state/" + layout.CommitFile); err != nil {
		t.Error(err)
	}
	doc, err := (&layout.CheckpointMetadata{Handlers: map[string]string{"go_state": treeHandler}}).Document()
	must(t, err)
	orbaxtest.WriteFile(t, ck+"/"+layout.CheckpointFile, string(doc))
	for _, path := range []string{ck, ck + "/go_state"} {
		if _, err := orbax.Load(t.Context(), path, in); !errors.Is(err, orbax.ErrIncomplete) {
			t.Errorf("before the other program ends, %s: %v", path, err)
		}
	}
	orbaxtest.WriteFile(t, ck+"/"+layout.CommitFile, "")
	got, err := orbax.Load(t.Context(), ck, in)
	must(t, err)
	if cursor := got.(map[string]any)["cursor"]; cursor != 7 {
		t.Errorf("the cursor is %v", cursor)
	}
	if err := guest.WritePart(t.Context(), ck, "late", state, in); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("a part of a complete checkpoint: %v", err)
	}
}

func TestTemporaryName(t *testing.T) {
	dir := begun(t)
	name := "go_state" + storage.TempMarker
	must(t, os.Rename(filepath.Join(dir, "go_state"), filepath.Join(dir, name)))
	must(t, guest.WritePart(t.Context(), dir, name, state))
	if err := guest.WritePart(t.Context(), dir, name, state); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("a second part: %v", err)
	}
	must(t, os.Rename(filepath.Join(dir, name), filepath.Join(dir, "go_state")))
	ck := commit(t, dir, map[string]string{"go_state": treeHandler})
	must(t, orbax.Verify(t.Context(), ck))
	if _, err := orbax.Load(t.Context(), ck, orbax.Name("go_state")); err != nil {
		t.Error(err)
	}
}

func TestWritePartInMemory(t *testing.T) {
	store := mem.New()
	stage, err := store.Begin(t.Context(), "run/1", storage.BeginOptions{})
	must(t, err)
	must(t, stage.Mkdir(t.Context(), "go_state"))
	must(t, guest.WritePart(t.Context(), stage.Dir(), "go_state", state, orbax.In(store)))
	must(t, guest.WritePart(t.Context(), stage.Dir(), "other", state, orbax.In(store)))
	entries, err := store.List(t.Context(), stage.Dir())
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("the directory has %v", entries)
	}
	must(t, stage.Abort())
}

func TestRefused(t *testing.T) {
	dir := begun(t)
	must(t, guest.WritePart(t.Context(), dir, "there", state))
	orbaxtest.WriteFile(t, filepath.Join(dir, "file"), "")
	complete := filepath.Join(t.TempDir(), "complete")
	must(t, orbax.Save(t.Context(), complete, state))
	bare := t.TempDir()
	marked := begun(t)
	orbaxtest.WriteFile(t, filepath.Join(marked, layout.CommitFile), "")
	busy := begun(t)
	stage, err := storage.Local().Begin(t.Context(), filepath.ToSlash(filepath.Join(busy, "go_state")), storage.BeginOptions{Into: func(context.Context) (string, error) { return "x", nil }})
	must(t, err)
	defer stage.Abort()
	for what, c := range map[string]struct {
		dir, name string
		value     any
		option    orbax.SaveCheckpointablesOption
		want      error
	}{
		"no directory":            {dir + "2", "go_state", state, nil, orbax.ErrNotExist},
		"a file":                  {filepath.Join(dir, "file"), "go_state", state, nil, orbax.ErrInvalidCheckpoint},
		"a name that is taken":    {dir, "there", state, nil, orbax.ErrExist},
		"the name of a file":      {dir, "file", state, nil, orbax.ErrExist},
		"a complete checkpoint":   {complete, "go_state", state, nil, orbax.ErrExist},
		"its checkpointable":      {filepath.Join(complete, "state"), "go_state", state, nil, orbax.ErrInvalidCheckpoint},
		"a marked checkpoint":     {marked, "go_state", state, nil, orbax.ErrExist},
		"a live writer":           {busy, "go_state", state, nil, orbax.ErrBusy},
		"no name":                 {dir, "", state, nil, orbax.ErrReservedName},
		"no name but a suffix":    {dir, ".orbax-checkpoint-tmp", state, nil, orbax.ErrReservedName},
		"a name outside":          {dir, "../x", state, nil, orbax.ErrReservedName},
		"no value":                {dir, "new", nil, nil, orbax.ErrLeafType},
		"a value of no handler":   {dir, "new", map[string]any{"f": func() {}}, nil, orbax.ErrLeafType},
		"Overwrite":               {dir, "new", state, orbax.Overwrite(), orbax.ErrUsage},
		"Atomicity":               {dir, "new", state, orbax.Atomicity(orbax.CommitFile), orbax.ErrUsage},
		"CustomMetadata":          {dir, "new", state, orbax.CustomMetadata(map[string]any{"a": 1}), orbax.ErrUsage},
		"Metrics":                 {dir, "new", state, orbax.Metrics(map[string]any{"a": 1}), orbax.ErrUsage},
		"Together":                {dir, "new", state, multihost.Together{Group: coord.InProcess(1)[0]}, orbax.ErrUsage},
		"another program's files": {bare, "file", state, nil, nil},
	} {
		before := orbaxtest.ReadFiles(t, dir)
		err := guest.WritePart(t.Context(), c.dir, c.name, c.value, c.option)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
		if !orbaxtest.Same(orbaxtest.ReadFiles(t, dir), before) {
			t.Errorf("%s has changed the directory", what)
		}
	}
	if got := strings.Join(orbaxtest.Names(t, dir), " "); got != "file go_state there" {
		t.Errorf("the directory has %s", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := guest.WritePart(ended, dir, "new", state); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

var errStopped = errors.New("stopped")

// stopAt returns the local disk, except that the operation after n others fails, or kills
// the process.
func stopAt(n int, die bool) orbax.StoreOption {
	var left atomic.Int64
	left.Store(int64(n))
	return orbax.In(failstore.New(storage.Local(), func(op, name string) error {
		switch {
		case left.Add(-1) != -1:
			return nil
		case die:
			p, _ := os.FindProcess(os.Getpid())
			p.Kill()
			select {} // the process takes a moment to die
		}
		return fmt.Errorf("%w: %s %s", errStopped, op, name)
	}))
}

func stride() int { return testenv.Pick(1, 5) }

// If any operation fails, nothing is left.
func TestEveryFailure(t *testing.T) {
	t.Parallel()
	for n := rand.N(stride()); ; n += stride() {
		dir := begun(t)
		err := guest.WritePart(t.Context(), filepath.ToSlash(dir), "go_state", state, stopAt(n, false))
		if err == nil {
			break
		}
		if !errors.Is(err, errStopped) {
			t.Errorf("operation %d: %v", n, err)
		}
		if got := orbaxtest.Names(t, dir); len(got) != 1 || len(orbaxtest.Names(t, filepath.Join(dir, "go_state"))) > 0 {
			t.Errorf("operation %d leaves %s", n, got)
		}
		must(t, guest.WritePart(t.Context(), dir, "go_state", state))
	}
}

// TestChild is run by a child process that dies at an operation.
func TestChild(t *testing.T) {
	at, dir, ok := testenv.Child()
	if !ok {
		t.Skip("only for the test of crashes")
	}
	n, err := strconv.Atoi(at)
	must(t, err)
	must(t, guest.WritePart(context.Background(), filepath.ToSlash(dir), "go_state", state, stopAt(n, true)))
}

// A process that dies leaves no part, or the whole part; the next one writes it.
func TestEveryDeath(t *testing.T) {
	t.Parallel()
	step := testenv.Pick(2, 9)
	for n := rand.N(step); ; n += step {
		dir := begun(t)
		child := orbaxtest.Child(t, "TestChild", strconv.Itoa(n), dir)
		if out, err := child.CombinedOutput(); err == nil {
			break
		} else if child.ProcessState.ExitCode() >= 0 {
			t.Fatalf("%v: %s", err, out)
		}
		err := guest.WritePart(t.Context(), dir, "go_state", state)
		if err != nil && !errors.Is(err, orbax.ErrExist) {
			t.Fatalf("operation %d: %v", n, err)
		}
		if got := strings.Join(orbaxtest.Names(t, dir), " "); got != "go_state" {
			t.Errorf("operation %d: the directory has %s", n, got)
		}
		ck := commit(t, dir, map[string]string{"go_state": treeHandler})
		must(t, orbax.Verify(t.Context(), ck))
		if _, err := orbax.Load(t.Context(), ck, orbax.Name("go_state")); err != nil {
			t.Error(err)
		}
	}
}

// If the owner gives the checkpoint up while the part is written, the part is not put into
// another directory of that name.
func TestOwnerGivesUp(t *testing.T) {
	for _, again := range []bool{false, true} {
		dir := begun(t)
		moved := dir + "-moved"
		writing := failstore.New(storage.Local(), func(op, name string) error {
			if op == "commit" {
				if again {
					must(t, os.RemoveAll(dir))
					must(t, os.MkdirAll(filepath.Join(dir, "go_state"), 0o777))
				} else {
					must(t, os.Rename(dir, moved))
				}
			}
			return nil
		})
		if err := guest.WritePart(t.Context(), filepath.ToSlash(dir), "go_state", state, orbax.In(writing)); err == nil {
			t.Error("a part of a checkpoint that is given up is written")
		}
		if again {
			if got := orbaxtest.ReadFiles(t, dir); len(got) > 0 {
				t.Errorf("the new directory has %v", got)
			}
		} else if _, err := os.Stat(dir); err == nil {
			t.Error("the directory is back")
		} else if got := orbaxtest.Names(t, filepath.Join(moved, "go_state")); len(got) > 0 {
			t.Errorf("the moved directory has the part: %v", got)
		}
	}
}

func Example() {
	ctx := context.Background()
	root, err := os.MkdirTemp("", "guest")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(root)

	// Another program begins a checkpoint …
	unfinished := path.Join(root, "step_1.orbax-checkpoint-tmp")
	os.Mkdir(unfinished, 0o777)

	// … asks for the part of this program …
	err = guest.WritePart(ctx, unfinished, "loader", map[string]any{"epoch": 3, "cursor": 4711})
	fmt.Println(err)

	// … writes the documents, and commits.
	doc := `{"item_handlers": {"loader": "` + treeHandler + `"}}`
	os.WriteFile(path.Join(unfinished, "_CHECKPOINT_METADATA"), []byte(doc), 0o666)
	os.Rename(unfinished, path.Join(root, "step_1"))

	loader, err := orbax.Load(ctx, path.Join(root, "step_1"), orbax.Name("loader"))
	fmt.Println(loader, err)
	// Output:
	// <nil>
	// map[cursor:4711 epoch:3] <nil>
}
