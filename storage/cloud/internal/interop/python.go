// Package interop tests paths of object stores with the real Orbax, in Python: one test for
// all clouds that Orbax can be led to.
package interop

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/orbaxtest"
)

//go:embed serve.py
var script string

// Python is a running serve.py, the real Orbax.
type Python struct {
	in     io.Writer
	out    *bufio.Reader
	stderr *bytes.Buffer
	stop   func()
}

// Start starts the real Orbax, which ends with the test. packages is a directory for
// PYTHONPATH, and env is added to the environment. The patches are Python files that run
// before the first request.
func Start(t *testing.T, interpreter, packages string, env []string, patches ...string) *Python {
	t.Helper()
	file := filepath.Join(t.TempDir(), "serve.py")
	orbaxtest.WriteFile(t, file, script)
	args := []string{"-B", file}
	for _, patch := range patches {
		patch, err := filepath.Abs(patch)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, patch)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, interpreter, args...)
	cmd.Dir = t.TempDir() // nothing that Python does may end up in the source tree
	cmd.Env = append(append(os.Environ(), "PYTHONPATH="+packages, "JAX_PLATFORMS=cpu", "EPATH_USE_TF=0"), env...)
	p := &Python{stderr: &bytes.Buffer{}, stop: cancel}
	cmd.Stderr = p.stderr
	var err error
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
	return p
}

// answer is an answer of the script.
type answer struct {
	OK     bool
	Error  string
	Tree   any
	Steps  []int
	Latest *int
}

// ask sends a request. The error is that of Orbax.
func (p *Python) ask(t *testing.T, op string, arguments map[string]any) (*answer, error) {
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
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatal(err)
	}
	if !a.OK {
		return nil, errors.New(a.Error)
	}
	return &a, nil
}

// must is ask for what must succeed.
func (p *Python) must(t *testing.T, op string, arguments map[string]any) *answer {
	t.Helper()
	a, err := p.ask(t, op, arguments)
	if err != nil {
		t.Fatalf("Python: %s: %v\n%s", op, err, p.stderr)
	}
	return a
}
