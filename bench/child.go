package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

// childVariable is set in the environment of a process that is to serve one
// job. It reads the job, a line of JSON; prepares; writes an empty line; waits
// for another; does the job; and writes a sample. child.py does the same.
const childVariable = "ORBAX_BENCH_CHILD"

// sample is one measurement.
type sample struct {
	Seconds float64 `json:"seconds"`
	Again   float64 `json:"again,omitempty"` // async: the blocked time of a second save
	Total   float64 `json:"total,omitempty"` // async: until the first is complete
	CPU     float64 `json:"cpu_seconds"`
	// Beyond is the peak of the resident memory less what was resident just
	// before, and less the state itself if the job allocates it.
	Beyond int64  `json:"beyond_bytes"`
	Memory string `json:"memory_source,omitempty"`
	Error  string `json:"error,omitempty"`
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
		s, err = j.do(func() error {
			fmt.Fprintln(out)
			_, err := lines.ReadBytes('\n')
			return err
		})
		return err
	}()
	if err != nil {
		s.Error = err.Error()
	}
	if err := json.NewEncoder(out).Encode(s); err != nil || s.Error != "" {
		return 1
	}
	return 0
}

// do prepares the job, calls ready, and does the job.
func (j job) do(ready func() error) (s sample, err error) {
	ctx := context.Background()
	if err := j.warmUp(ctx); err != nil {
		return s, err
	}
	var state, second map[string]*array.Array
	if j.Op != opLoad {
		if state, err = j.Case.newState(); err != nil {
			return s, err
		}
	}
	if j.Op == opCopy {
		if second, err = j.Case.newState(); err != nil {
			return s, err
		}
	}
	if j.Op != opLoad && j.Op != opInto {
		err := j.Case.eachArray(j.Data, func(leaf string, data []byte) error {
			copy(state[leaf].Bytes(), data)
			return nil
		})
		if err != nil {
			return s, err
		}
	}
	if err := ready(); err != nil {
		return s, err
	}
	debug.FreeOSMemory()
	m := startMeter()
	var loaded any
	switch j.Op {
	case opSave:
		err = orbax.Save(ctx, j.Path, state)
	case opLoad:
		loaded, err = orbax.Load(ctx, j.Path)
	case opInto:
		err = orbax.LoadInto(ctx, j.Path, &state)
	case opAsync:
		err = saveTwice(ctx, j.Path, state, &s)
	case opCopy:
		copyState(second, state)
	default:
		err = fmt.Errorf("unknown operation %q", j.Op)
	}
	m.stop(&s)
	if err != nil {
		return s, err
	}
	if j.Op == opAsync {
		return s, nil
	}
	switch j.Op {
	case opLoad:
		s.Beyond -= j.Case.total()
		dict, _ := loaded.(map[string]any)
		err = j.Case.verify(j.Data, func(leaf string) *array.Array { a, _ := dict[leaf].(*array.Array); return a })
	case opInto:
		err = j.Case.verify(j.Data, func(leaf string) *array.Array { return state[leaf] })
	}
	runtime.KeepAlive(state)
	return s, err
}

// warmUp does everything once that is slower the first time, in Python above
// all.
func (j job) warmUp(ctx context.Context) error {
	path := filepath.Join(j.Scratch, "warm-up")
	state := map[string]*array.Array{"a": array.Of(make([]float32, 4096), 64, 64)}
	err := orbax.Save(ctx, path, state)
	if err == nil {
		err = orbax.LoadInto(ctx, path, &state)
	}
	return errors.Join(err, os.RemoveAll(path))
}

// saveTwice saves the state in the background, waits, and does so again.
func saveTwice(ctx context.Context, path string, state map[string]*array.Array, s *sample) error {
	for i, blocked := range []*float64{&s.Seconds, &s.Again} {
		start := time.Now()
		r, err := orbax.SaveAsync(ctx, fmt.Sprint(path, i), state)
		if err != nil {
			return err
		}
		*blocked = time.Since(start).Seconds()
		if err := r.Result(ctx); err != nil {
			return err
		}
		if i == 0 {
			s.Total = time.Since(start).Seconds()
		}
	}
	return nil
}

// copyState copies with all cores.
func copyState(dst, src map[string]*array.Array) {
	names := make(chan string, len(src))
	for name := range src {
		names <- name
	}
	close(names)
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for name := range names {
				copy(dst[name].Bytes(), src[name].Bytes())
			}
		})
	}
	group.Wait()
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

// stop fills in what s does not have yet.
func (m meter) stop(s *sample) {
	if s.Seconds == 0 {
		s.Seconds = time.Since(m.start).Seconds()
	}
	s.CPU = cpuSeconds() - m.cpu
	s.Memory = m.source
	s.Beyond = memoryPeak(m.source) - m.memory
}
