package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

//go:embed child.py
var childScript string

// child does a job in a new process. When the process is prepared, and before the job
// begins, child calls prepare if it is not nil.
func (r *runner) child(ctx context.Context, j job, prepare func() error) (sample, error) {
	samples, err := r.children(ctx, []job{j}, prepare)
	return samples[0], err
}

// children does several jobs at the same time, each in a new process. It calls prepare
// when all processes are prepared. If one fails, the others are ended.
func (r *runner) children(ctx context.Context, jobs []job, prepare func() error) ([]sample, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	samples := make([]sample, len(jobs))
	begin := make(chan struct{})
	var prepared, ended sync.WaitGroup
	prepared.Add(len(jobs))
	for i, j := range jobs {
		ended.Go(func() {
			done := sync.OnceFunc(prepared.Done)
			defer done()
			s, err := r.process(ctx, j, func() error {
				done()
				<-begin
				return context.Cause(ctx)
			})
			if samples[i] = s; err != nil {
				fail(err)
				done()
			}
		})
	}
	prepared.Wait()
	if ctx.Err() == nil {
		settle()
		if prepare != nil {
			if err := prepare(); err != nil {
				fail(err)
			}
		}
	}
	close(begin)
	ended.Wait()
	return samples, context.Cause(ctx)
}

// process does a job in a new process. It calls ready when the process is prepared, and
// before the job begins.
func (r *runner) process(ctx context.Context, j job, ready func() error) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	cmd := exec.CommandContext(ctx, self)
	if j.Program != ours {
		cmd = exec.CommandContext(ctx, r.python, "-c", childScript)
	}
	cmd.Env = append(os.Environ(), childVariable+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return sample{}, err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return sample{}, err
	}
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	s, err := converse(json.NewEncoder(in), in, bufio.NewReader(pipe), j, ready)
	if err != nil {
		in.Close() // the child may be waiting
	}
	if werr := cmd.Wait(); err == nil || errors.Is(err, io.EOF) {
		err = werr
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case s.Unsupported:
		err = fmt.Errorf("%w: %s", errSkip, s.Error)
	case s.Error != "":
		err = errors.New(s.Error)
	case err != nil && !errors.Is(err, errSkip):
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()[max(0, stderr.Len()-2000):]))
	}
	return s, err
}

// converse is the parent's side of the exchange that childVariable describes.
func converse(job *json.Encoder, in io.Writer, out *bufio.Reader, j job, ready func() error) (sample, error) {
	var s sample
	if err := job.Encode(j); err != nil {
		return s, err
	}
	line, err := out.ReadBytes('\n')
	if err != nil {
		return s, err
	}
	if len(line) > 1 { // the child reported an error before the job
		return s, json.Unmarshal(line, &s)
	}
	if err := ready(); err != nil {
		return s, err
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		return s, err
	}
	if line, err = out.ReadBytes('\n'); err != nil {
		return s, err
	}
	return s, json.Unmarshal(line, &s)
}
