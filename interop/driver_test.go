package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/internal/testenv/python"
)

// answerTime is what one request may take.
const answerTime = 2 * time.Minute

// driver is a running testdata/driver.py, or one process of a [job].
type driver struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   chan []byte // closed when the process has ended
	stderr  tailBuffer
	workDir string
}

// orbaxPy is the real Orbax, one process for all tests. A process that dies is
// replaced at the next request.
var orbaxPy struct {
	mu     sync.Mutex // one request at a time
	python string     // the interpreter, once a test has needed it
	run    *driver
}

var (
	update = flag.Bool("update", false, "rewrite the golden files")
	flips  = flag.Int("flips", testenv.Pick(300, 60), "how many damaged checkpoints of each layout Python is given; 0 damages every bit")
)

func TestMain(m *testing.M) {
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["rapid.checks"] {
		flag.Set("rapid.checks", testenv.Pick("200", "50"))
	}
	if !set["rapid.nofailfile"] {
		flag.Set("rapid.nofailfile", "true") // the seed, which is printed, is enough
	}
	code := m.Run()
	if orbaxPy.run != nil {
		orbaxPy.run.stop()
	}
	for _, j := range jobs.run {
		j.stop()
	}
	os.Exit(code)
}

// needPython skips the test where there is no Orbax to run, or fails if the
// environment requires one. It returns the path of the interpreter.
func needPython(t *testing.T) string {
	t.Helper()
	path := python.Need(t)
	orbaxPy.mu.Lock()
	defer orbaxPy.mu.Unlock()
	orbaxPy.python = path
	return path
}

// startDriver starts a script in testdata that serves as driver.py does.
func startDriver(interpreter, script string, args ...string) (*driver, error) {
	script, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		return nil, err
	}
	d := &driver{lines: make(chan []byte)}
	// Nothing that Python does may end up in the source tree.
	if d.workDir, err = os.MkdirTemp("", "orbax-interop-"); err != nil {
		return nil, err
	}
	d.cmd = exec.Command(interpreter, append([]string{"-B", script}, args...)...)
	d.cmd.Dir = d.workDir
	d.cmd.Stderr = &d.stderr
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(d.lines)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				return
			}
			d.lines <- line
		}
	}()
	return d, nil
}

// stop ends the process.
func (d *driver) stop() {
	d.in.Close()
	d.cmd.Process.Kill()
	for range d.lines { // let the reader go
	}
	d.cmd.Wait()
	os.RemoveAll(d.workDir)
}

// ask sends a request and waits for the answer.
func (d *driver) ask(ctx context.Context, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	sent := make(chan error, 1)
	go func() {
		_, err := d.in.Write(append(slices.Clip(request), '\n')) // several processes may get it
		sent <- err
	}()
	select {
	case line, ok := <-d.lines:
		if ok {
			return line, <-sent
		}
		return nil, fmt.Errorf("the Python process died: %s", d.stderr.String())
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer from Python: %w: %s", ctx.Err(), d.stderr.String())
	}
}

// pyError is an exception in Python.
type pyError struct{ message, trace string }

func (e *pyError) Error() string { return "Python: " + e.message + "\n" + e.trace }

// request is the members of a request; "op" is added by call.
type request map[string]any

// call runs an operation of driver.py and decodes its answer into answer, which
// may be nil. The error is a *pyError if Python raised an exception.
func call(ctx context.Context, op string, req request, answer any) error {
	req["op"] = op
	line, err := json.Marshal(req)
	if err != nil {
		return err
	}
	orbaxPy.mu.Lock()
	defer orbaxPy.mu.Unlock()
	if orbaxPy.run == nil {
		if orbaxPy.run, err = startDriver(orbaxPy.python, "driver.py"); err != nil {
			return err
		}
	}
	line, err = orbaxPy.run.ask(ctx, line)
	if err != nil {
		orbaxPy.run.stop()
		orbaxPy.run = nil
		return err
	}
	return decodeAnswer(line, answer)
}

// decodeAnswer decodes an answer into answer, which may be nil. The error is a *pyError
// if the answer is an exception.
func decodeAnswer(line []byte, answer any) error {
	var status struct {
		OK           bool
		Error, Trace string
	}
	if err := json.Unmarshal(line, &status); err != nil {
		return err
	}
	if !status.OK {
		return &pyError{status.Error, status.Trace}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(line, answer)
}

// fataler is what *testing.T and *rapid.T share.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
}

// mustCall is call for what must succeed.
func mustCall(t fataler, op string, req request, answer any) {
	t.Helper()
	if err := call(t.Context(), op, req, answer); err != nil {
		t.Fatalf("%s: %v", op, err)
	}
}

// pyLoad loads a tree in Python.
func pyLoad(t fataler, path string, abstract any) *node {
	t.Helper()
	var answer struct{ Tree *node }
	mustCall(t, "load", request{"path": path, "abstract": abstract}, &answer)
	return answer.Tree
}

// pySave saves a tree in Python.
func pySave(t fataler, path string, tree *node, options request) {
	t.Helper()
	mustCall(t, "save", request{"path": path, "tree": tree, "options": options}, nil)
}

// pyRaises reports whether err is an exception.
func pyRaises(err error) bool {
	var e *pyError
	return errors.As(err, &e)
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = bytes.Clone(tail(t.b, 4000))
	return len(p), nil
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

func TestDriver(t *testing.T) {
	needPython(t)
	var answer struct {
		Versions map[string]string
		Devices  int
		X64      bool
	}
	mustCall(t, "ping", request{}, &answer)
	t.Logf("%v", answer.Versions)
	if answer.Devices != 8 || !answer.X64 {
		t.Errorf("got %+v", answer)
	}
}
