package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// counts are numbers of tests and subtests.
type counts struct{ passed, failed, skipped int }

// event is a line of go test -json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a package that does not build
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

// heartbeat is the interval between the reports of running packages.
const heartbeat = 30 * time.Second

// test runs the tests of packages and reports each package when it ends. It counts
// failures in total. Its error means that the tests could not be run.
func test(ctx context.Context, out io.Writer, total *counts, args, packages []string) error {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"test", "-json", "-timeout", timeLimit.String()}, args, packages)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r := &reporter{out: out, total: total, running: map[string]time.Time{}, output: map[string]*bytes.Buffer{}}
	done := make(chan struct{})
	var beat sync.WaitGroup
	beat.Go(func() { r.beat(done) })
	rerr := r.read(pipe)
	close(done)
	beat.Wait()
	err = cmd.Wait()
	var exit *exec.ExitError
	if ctx.Err() == nil && errors.As(err, &exit) && total.failed > 0 {
		err = nil // the failure has been reported
	}
	return errors.Join(err, rerr)
}

// reporter prints the results of go test -json.
type reporter struct {
	out   io.Writer
	total *counts

	mu      sync.Mutex
	running map[string]time.Time     // packages, with the time at which they started
	output  map[string]*bytes.Buffer // by package and test, until the test has passed
}

// beat reports the running packages once in a while.
func (r *reporter) beat(done <-chan struct{}) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		r.mu.Lock()
		var names []string
		for _, p := range slices.Sorted(maps.Keys(r.running)) {
			names = append(names, fmt.Sprintf("%s (%s)", short(p), time.Since(r.running[p]).Round(time.Second)))
		}
		if len(names) > 0 {
			fmt.Fprintf(r.out, "   … running: %s\n", strings.Join(names, ", "))
		} else {
			fmt.Fprintln(r.out, "   … compiling")
		}
		r.mu.Unlock()
	}
}

// short returns a package's path without the path of the module.
func short(p string) string {
	return cmp.Or(strings.TrimPrefix(strings.TrimPrefix(p, module), "/"), ".")
}

// read reports events until they end.
func (r *reporter) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *reporter) line(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var e event
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		r.out.Write(line) // a line of go test itself
		return
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "start":
		r.running[e.Package] = time.Now()
	case "output":
		r.buffer(key).WriteString(e.Output)
	case "build-output":
		io.WriteString(r.out, e.Output)
	case "build-fail":
		r.total.failed++
	case "pass", "fail", "skip":
		r.end(e, key)
	}
}

func (r *reporter) buffer(key string) *bytes.Buffer {
	b := r.output[key]
	if b == nil {
		b = &bytes.Buffer{}
		r.output[key] = b
	}
	return b
}

// end reports a failed test, and the end of every package.
func (r *reporter) end(e event, key string) {
	said := r.buffer(key)
	delete(r.output, key)
	switch {
	case e.Test != "" && e.Action == "pass":
		r.total.passed++
		return
	case e.Test != "" && e.Action == "skip":
		r.total.skipped++
		return
	case e.Test != "":
		r.total.failed++
		fmt.Fprintf(r.out, "FAIL %s %s\n%s", short(e.Package), e.Test, said)
		return
	}
	delete(r.running, e.Package)
	switch {
	case e.Action == "fail":
		if e.Elapsed > 0 || said.Len() > 0 {
			r.total.failed++ // the package may have failed outside of its tests
		}
		fmt.Fprintf(r.out, "FAIL %-28s %6.1fs\n%s", short(e.Package), e.Elapsed, said)
		for _, other := range slices.Sorted(maps.Keys(r.output)) { // tests that ended with the process
			if test, of := strings.CutPrefix(other, e.Package+" "); of {
				fmt.Fprintf(r.out, "FAIL %s %s did not end\n%s", short(e.Package), test, r.output[other])
				delete(r.output, other)
			}
		}
	case e.Action == "pass":
		cached := ""
		if strings.Contains(said.String(), "(cached)") {
			cached = "  (cached)"
		}
		fmt.Fprintf(r.out, "ok   %-28s %6.1fs%s\n", short(e.Package), e.Elapsed, cached)
	}
}
