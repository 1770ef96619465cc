package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/go-orbax/orbax/internal/testenv"
)

// job is a running program of several JAX processes with two CPU devices each. Its
// start costs some seconds of CPU time for each process, so a job serves many tests.
type job struct{ processes []*driver }

// jobs are the running jobs by their number of processes.
var jobs = struct {
	mu  sync.Mutex // one request at a time
	run map[int]*job
}{run: map[int]*job{}}

// localDevices is the number of devices of each process, and deviceIDs the distance
// between the ids of the devices of two processes.
const (
	localDevices = 2
	deviceIDs    = 2048
)

// jobDevices returns the ids of the devices of n processes.
func jobDevices(n int) []int {
	var ids []int
	for rank := range n {
		for i := range localDevices {
			ids = append(ids, deviceIDs*rank+i)
		}
	}
	return ids
}

// eachJob runs a test with jobs of 2 processes and, in a long run, of 4.
func eachJob(t *testing.T, test func(t *testing.T, n int)) {
	needPython(t)
	for _, n := range []int{2, 4} {
		t.Run(fmt.Sprint(n, " processes"), func(t *testing.T) {
			if n > 2 {
				testenv.NeedLong(t, "a job of four processes of JAX takes long to start")
			}
			test(t, n)
		})
	}
}

func startJob(interpreter string, n int) (*job, error) {
	// The address of process 0's service. Another program could take the port before it
	// does, which fails the job.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	j := &job{}
	for rank := range n {
		d, err := startDriver(interpreter, "process.py", address, fmt.Sprint(n), fmt.Sprint(rank))
		if err != nil {
			j.stop()
			return nil, err
		}
		j.processes = append(j.processes, d)
	}
	return j, nil
}

// stop ends the processes.
func (j *job) stop() {
	for _, d := range j.processes {
		d.cmd.Process.Kill() // all before the first one notices
	}
	for _, d := range j.processes {
		d.stop()
	}
}

// callJob is [call] for a job of n processes. All get the same request, or each its own. It
// returns their answers. The error is a *pyError if all processes raised an exception.
// After any other error the processes may wait for each other, so the job is replaced.
func callJob[T any](ctx context.Context, n int, op string, reqs ...request) ([]T, error) {
	var lines [][]byte
	for _, req := range reqs {
		req["op"] = op
		line, err := json.Marshal(req)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	jobs.mu.Lock()
	defer jobs.mu.Unlock()
	j := jobs.run[n]
	if j == nil {
		var err error
		if j, err = startJob(orbaxPy.python, n); err != nil {
			return nil, err
		}
		jobs.run[n] = j
	}
	answers, errs := make([]T, n), make([]error, n)
	var wg sync.WaitGroup
	for rank, d := range j.processes {
		wg.Go(func() {
			got, err := d.ask(ctx, lines[rank%len(lines)])
			if err == nil {
				err = decodeAnswer(got, &answers[rank])
			}
			errs[rank] = err
		})
	}
	wg.Wait()
	raised := 0
	for rank, err := range errs {
		if pyRaises(err) {
			raised++
		}
		if err != nil {
			errs[rank] = fmt.Errorf("process %d: %w", rank, err)
		}
	}
	if raised != 0 && raised != n || raised == 0 && errors.Join(errs...) != nil {
		j.stop()
		delete(jobs.run, n)
		return nil, errors.New(errors.Join(errs...).Error())
	}
	return answers, errors.Join(errs...)
}

// jobSave saves a tree in a job of n processes.
func jobSave(t fataler, n int, path string, tree *node, options request) {
	t.Helper()
	if _, err := callJob[struct{}](t.Context(), n, "save", request{"path": path, "tree": tree, "options": options}); err != nil {
		t.Fatalf("%v", err)
	}
}

// jobLoad loads a tree in a job of n processes and returns what each has.
func jobLoad(t fataler, n int, path string, abstract any) []*node {
	t.Helper()
	answers, err := callJob[struct{ Tree *node }](t.Context(), n, "load", request{"path": path, "abstract": abstract})
	if err != nil {
		t.Fatalf("%v", err)
	}
	var trees []*node
	for _, a := range answers {
		trees = append(trees, a.Tree)
	}
	return trees
}

func TestJob(t *testing.T) {
	eachJob(t, func(t *testing.T, n int) {
		answers, err := callJob[struct{ Devices int }](t.Context(), n, "ping", request{})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range answers {
			if a.Devices != localDevices*n {
				t.Errorf("%d devices", a.Devices)
			}
		}
		_, err = callJob[struct{}](t.Context(), n, "load", request{"path": t.TempDir()})
		if !pyRaises(err) {
			t.Errorf("load of an empty directory: %v", err)
		}
	})
}
