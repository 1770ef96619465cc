package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"
)

// childVariable is set in the environment of a process that serves one job. It reads the
// job, a line of JSON; prepares; writes an empty line; waits for another line; does the
// job; and writes a sample. child.py does the same.
const childVariable = "ORBAX_BENCH_CHILD"

// sample is one measurement.
type sample struct {
	Round   int     `json:"round"`
	Seconds float64 `json:"seconds"`
	Again   float64 `json:"again,omitempty"` // see method.again
	CPU     float64 `json:"cpu_seconds"`
	// Beyond is the peak of the resident memory minus the resident memory just before,
	// and minus the state itself if the job allocates it.
	Beyond int64  `json:"beyond_bytes"`
	Memory string `json:"memory_source,omitempty"`
	// Moved is the number of bytes that the time is for, if it is not the size of the
	// state. Stored is the size of the written files.
	Moved  int64 `json:"moved_bytes,omitempty"`
	Stored int64 `json:"stored_bytes,omitempty"`
	// Digest and Copy are the parts of the time of a step of a run for fingerprints of
	// the state, and for a copy of it.
	Digest float64 `json:"digest_seconds,omitempty"`
	Copy   float64 `json:"copy_seconds,omitempty"`
	Error  string  `json:"error,omitempty"`
	// Unsupported says that the error means that this machine cannot do the job.
	Unsupported bool `json:"unsupported,omitempty"`
}

func serveChild(in io.Reader, out io.Writer) int {
	lines := bufio.NewReader(in)
	var s sample
	err := func() error {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		var j job
		if err := json.Unmarshal(line, &j); err != nil {
			return err
		}
		s, err = j.do(context.Background(), func() error {
			fmt.Fprintln(out)
			_, err := lines.ReadBytes('\n')
			return err
		})
		return err
	}()
	if err != nil {
		s.Error, s.Unsupported = err.Error(), errors.Is(err, errors.ErrUnsupported)
	}
	if err := json.NewEncoder(out).Encode(s); err != nil || s.Error != "" {
		return 1
	}
	return 0
}

// do prepares the job, calls ready, and does the job.
func (j job) do(ctx context.Context, ready func() error) (s sample, err error) {
	prepare, ok := operations[j.Op]
	if !ok {
		return s, fmt.Errorf("unknown operation %q", j.Op)
	}
	if err := j.warmUp(ctx); err != nil {
		return s, err
	}
	t, err := prepare(j, ctx)
	if err != nil {
		return s, err
	}
	if err := ready(); err != nil {
		return s, err
	}
	debug.FreeOSMemory()
	m := startMeter()
	err = t.work(&s)
	m.stop(&s)
	if err == nil && t.check != nil {
		err = t.check(&s)
	}
	return s, err
}

// meter measures one operation of this process.
type meter struct {
	start  time.Time
	cpu    float64
	memory int64
	source string
}

func startMeter() meter {
	m := meter{cpu: cpuSeconds()}
	m.memory, m.source = memoryNow()
	m.start = time.Now()
	return m
}

// stop sets the fields of s that are not set yet.
func (m meter) stop(s *sample) {
	if s.Seconds == 0 {
		s.Seconds = time.Since(m.start).Seconds()
	}
	s.CPU = cpuSeconds() - m.cpu
	s.Memory = m.source
	s.Beyond += memoryPeak(m.source) - m.memory
}
