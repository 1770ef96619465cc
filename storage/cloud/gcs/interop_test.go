package gcs_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv/python"
	"github.com/go-orbax/orbax/storage/cloud/gcs"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/training"
)

// orbaxPy is a running testdata/gs.py, the real Orbax.
type orbaxPy struct {
	in     io.Writer
	out    *bufio.Reader
	stderr *bytes.Buffer
	stop   func()
}

// startOrbax starts the real Orbax, whose gs:// paths lead to the server that the tests
// share.
func startOrbax(t *testing.T) *orbaxPy {
	t.Helper()
	interpreter, packages := python.NeedGCS(t)
	addr := servers.GCS.Shared(t)
	script, err := filepath.Abs(filepath.Join("testdata", "gs.py"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, interpreter, "-B", script)
	cmd.Dir = t.TempDir() // nothing that Python does may end up in the source tree
	cmd.Env = append(os.Environ(), "PYTHONPATH="+packages, "JAX_PLATFORMS=cpu", "EPATH_USE_TF=0",
		"STORAGE_EMULATOR_HOST=http://"+addr, "TENSORSTORE_GCS_HTTP_URL=http://"+addr, "GOOGLE_AUTH_TOKEN_FOR_TESTING=token",
		"GOOGLE_CLOUD_PROJECT=project",
		"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false") // it would call an interface that the server lacks
	p := &orbaxPy{stderr: &bytes.Buffer{}}
	cmd.Stderr = p.stderr
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
	})
	p.stop = cancel
	return p
}

// pyAnswer is an answer of the script.
type pyAnswer struct {
	OK     bool
	Error  string
	Tree   any
	Steps  []int
	Latest *int
}

// ask sends a request. The error is that of Orbax.
func (p *orbaxPy) ask(t *testing.T, op string, arguments map[string]any) (*pyAnswer, error) {
	t.Helper()
	arguments["op"] = op
	line, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(3*time.Minute, p.stop)
	defer timer.Stop()
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("Python has ended: %v\n%s", err, p.stderr)
	}
	line, err = p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("Python does not answer: %v\n%s", err, p.stderr)
	}
	var answer pyAnswer
	if err := json.Unmarshal(line, &answer); err != nil {
		t.Fatal(err)
	}
	if !answer.OK {
		return nil, errors.New(answer.Error)
	}
	return &answer, nil
}

// must is ask for what must succeed.
func (p *orbaxPy) must(t *testing.T, op string, arguments map[string]any) *pyAnswer {
	t.Helper()
	answer, err := p.ask(t, op, arguments)
	if err != nil {
		t.Fatalf("Python: %s: %v\n%s", op, err, p.stderr)
	}
	return answer
}

// described describes a state as the script does.
func described(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			m[k] = described(e)
		}
		return m
	case *array.Array:
		shape := strings.ReplaceAll(fmt.Sprint(v.Shape()), " ", ", ")
		return fmt.Sprintf("%s%s %x", v.DType(), shape, sha256.Sum256(v.Bytes()))
	case int:
		return float64(v) // as in JSON
	}
	return v
}

// isState fails the test unless Python has loaded the state of a step.
func isState(t *testing.T, what string, tree any, step int) {
	t.Helper()
	if d := orbaxtest.Difference(tree, described(state(step))); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

// goLoads fails the test unless Go verifies a checkpoint and loads the state of a step.
func goLoads(t *testing.T, path string, step int) {
	t.Helper()
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
	got, err := orbax.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if d := orbaxtest.Difference(got, state(step)); d != "" {
		t.Errorf("%s: %s", path, d)
	}
}

// remove removes a file of a bucket.
func remove(t *testing.T, path string) {
	t.Helper()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "gs://"), "/")
	b, err := gcs.New(nil, bucket, gcs.Options{Endpoint: "http://" + servers.GCS.Shared(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), []object.Ref{{Key: key}}); err != nil {
		t.Fatal(err)
	}
}

// TestPython saves and loads with Go and with the unmodified Orbax.
func TestPython(t *testing.T) {
	py := startOrbax(t)
	bucket := emulate(t)

	t.Run("saves", func(t *testing.T) {
		path := bucket + "/py/step_1"
		py.must(t, "save", map[string]any{"path": path, "step": 1})
		goLoads(t, path, 1)

		// Without its marker it is not a checkpoint, for either side.
		remove(t, path+"/commit_success.txt")
		if _, err := py.ask(t, "load", map[string]any{"path": path}); err == nil {
			t.Error("Python loads a checkpoint without commit_success.txt")
		}
		for name, err := range map[string]error{
			"Load":   func() error { _, err := orbax.Load(t.Context(), path); return err }(),
			"Verify": orbax.Verify(t.Context(), path),
		} {
			if !errors.Is(err, orbax.ErrIncomplete) || !strings.Contains(fmt.Sprint(err), "commit_success.txt") {
				t.Errorf("%s without commit_success.txt: got the error %v, want %v", name, err, orbax.ErrIncomplete)
			}
		}
		if err := orbax.Delete(t.Context(), path); err != nil {
			t.Errorf("Delete without commit_success.txt: %v", err)
		}
		if left := list(t, bucket, ""); len(left) > 0 {
			t.Errorf("after Delete these are left: %q", left)
		}
	})

	t.Run("loads", func(t *testing.T) {
		path := bucket + "/go/step_2"
		if err := orbax.Save(t.Context(), path, state(2)); err != nil {
			t.Fatal(err)
		}
		isState(t, "loaded", py.must(t, "load", map[string]any{"path": path}).Tree, 2)
		if _, err := py.ask(t, "save", map[string]any{"path": path, "step": 3}); err == nil {
			t.Error("Python saves over a checkpoint of Go")
		}
		py.must(t, "save", map[string]any{"path": path, "step": 4, "overwrite": true})
		goLoads(t, path, 4)
		if err := orbax.Save(t.Context(), path, state(5), orbax.Overwrite()); err != nil {
			t.Fatal(err)
		}
		goLoads(t, path, 5)
		isState(t, "loaded after Go has replaced it", py.must(t, "load", map[string]any{"path": path}).Tree, 5)
	})

	t.Run("run", func(t *testing.T) {
		root := bucket + "/run"
		turn := func(save []int, load int, want ...int) {
			t.Helper()
			answer := py.must(t, "run", map[string]any{"root": root, "save": append([]int{}, save...), "load": load})
			if !slices.Equal(answer.Steps, want) || answer.Latest == nil || *answer.Latest != want[len(want)-1] {
				t.Errorf("Python finds the steps %v, want %v", answer.Steps, want)
			}
			isState(t, fmt.Sprint("step ", load), answer.Tree, load)
		}
		golang := func(save []int, load int, want ...int) {
			t.Helper()
			c, err := training.New(t.Context(), root, training.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}()
			for _, step := range save {
				if saved, err := c.Save(t.Context(), step, state(step), training.Force()); !saved || err != nil {
					t.Fatalf("Go saves step %d: %v, %v", step, saved, err)
				}
			}
			steps, err := training.Steps(t.Context(), root, training.ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, s := range steps {
				got = append(got, s.Step)
			}
			if !slices.Equal(got, want) {
				t.Errorf("Go finds the steps %v, want %v", got, want)
			}
			tree, err := c.Load(t.Context(), load)
			if err != nil {
				t.Fatal(err)
			}
			if d := orbaxtest.Difference(tree, state(load)); d != "" {
				t.Errorf("step %d: %s", load, d)
			}
		}
		turn([]int{1, 2}, 2, 1, 2)
		golang([]int{3}, 2, 1, 2, 3)
		turn([]int{4}, 3, 1, 2, 3, 4)
		golang([]int{5}, 4, 1, 2, 3, 4, 5)

		// A step without its marker is none, for either side.
		remove(t, root+"/5/commit_success.txt")
		turn(nil, 4, 1, 2, 3, 4)
		golang(nil, 1, 1, 2, 3, 4)
	})
}
