package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// child is a worker, seen from the story.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// start starts a worker in a process of its own. The process is killed when ctx ends, and
// ends by itself when this program does, because its standard input ends then.
func start(ctx context.Context, endpoint string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "worker", endpoint)
	cmd.Env = append(os.Environ(), "ETCD_CLIENT_DEBUG=error") // its warnings are no part of the story
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &child{cmd, in, json.NewDecoder(out)}, cmd.Start()
}

// send gives the worker a command.
func (c *child) send(do command) error { return json.NewEncoder(c.in).Encode(do) }

// receive waits for the next report of the worker.
func (c *child) receive() (r report, err error) {
	if err := c.out.Decode(&r); err != nil {
		return r, fmt.Errorf("process %d has ended: %w", c.cmd.Process.Pid, err)
	}
	return r, nil
}

// end waits until the worker has ended, and kills it if it does not. Its standard input
// has ended.
func (c *child) end() error {
	late := time.AfterFunc(10*time.Second, func() { c.cmd.Process.Kill() })
	defer late.Stop()
	return c.cmd.Wait()
}

// kill kills the worker (SIGKILL).
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	if err := c.cmd.Wait(); !errors.As(err, new(*exec.ExitError)) {
		return errors.Join(errors.New("the process was not killed"), err)
	}
	return nil
}

// children are the workers of one group.
type children []*child

// startAll starts n workers.
func startAll(ctx context.Context, n int, endpoint string) (all children, err error) {
	for range n {
		c, err := start(ctx, endpoint)
		if err != nil {
			return all, errors.Join(err, all.end())
		}
		all = append(all, c)
	}
	return all, nil
}

// send gives all workers commands: each the one that its rank makes of it.
func (all children) send(do func(rank int) command) error {
	for rank, c := range all {
		if err := c.send(do(rank)); err != nil {
			return err
		}
	}
	return nil
}

// receive waits for the next report of all workers.
func (all children) receive() (reports []report, err error) {
	for _, c := range all {
		r, err := c.receive()
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// do gives all workers commands, and waits until they are done. It fails if one of them
// does.
func (all children) do(each func(rank int) command) (reports []report, err error) {
	if err := all.send(each); err != nil {
		return nil, err
	}
	if reports, err = all.receive(); err != nil {
		return nil, err
	}
	for _, r := range reports {
		if r.Err != "" {
			err = errors.Join(err, errors.New(r.Err))
		}
	}
	return reports, err
}

// end lets the workers leave their group and end.
func (all children) end() (err error) {
	for _, c := range all {
		c.in.Close()
	}
	for _, c := range all {
		err = errors.Join(err, c.end())
	}
	return err
}
