package jax

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"
)

// Part is a checkpointable that a save of the job wants from a Go process.
type Part struct {
	// Dir is the directory of the unfinished checkpoint, as a path of the job's machine. It
	// must lead to the same directory here.
	Dir string
	// Name is the name in Dir of the empty directory that Orbax has made for the
	// checkpointable. It may be a temporary one.
	Name string
}

// Serve writes a checkpointable in each checkpoint that the job saves with it, until ctx
// or the job ends. name is the name of the checkpointable, with which the job has called
// register of orbax_go.py. For each save, Serve calls write, one at a time; write returns
// when the part is durable, as guest.WritePart of the root module does. The part is a
// pytree, because it is recorded as one. The save of the job waits for it. If write fails,
// the save fails with the text of the error, and Serve goes on.
//
// The context of write ends when the job does not want the part any more, because it has
// waited too long for example. That write returns nil does not mean that the checkpoint is
// complete: the job commits it later, or not.
//
// One process serves a name at a time. Another one waits until the first has left, or is
// lost; see [DefaultTTL]. The job notices too if no process serves the name: its save then
// fails.
//
// Serve always returns an error: that of ctx, or one that matches [ErrGone] when the job
// has ended or died, or that this process was stopped for too long and is lost.
func Serve(ctx context.Context, client *Client, name string, write func(ctx context.Context, p Part) error) error {
	if name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("jax: %q is no name of a checkpointable", name)
	}
	group, err := Join(ctx, client, Options{Name: serveDir + name, Size: 1})
	if err != nil {
		return fmt.Errorf("jax: serve %s: %w", name, err)
	}
	s := &server{group.Driver().(*member), serveDir + name + "/part/", write}
	err = s.run(ctx)
	if cerr := group.Close(); cerr != nil {
		err = errors.Join(err, cerr)
	}
	return fmt.Errorf("jax: serve %s: %w", name, err)
}

// The keys of a part called name, beside those of the group of the process that serves it:
//
//	orbax-go/<name>/part/request      a request; the job removes it when it has the answer
//	orbax-go/<name>/part/<id>/answer  "ok", or "error: " and a text; who sets it first decides
//	orbax-go/<name>/part/<id>/read    the number of processes of the job that have read it
//
// The last process of the job that reads an answer removes the keys below its id.
const serveDir = "orbax-go/"

// server is a process that serves parts.
type server struct {
	member *member
	dir    string // of the keys
	write  func(ctx context.Context, p Part) error
}

// request is a request of the job. Its fields are those of orbax_go.py.
type request struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Dir     string `json:"dir"`
	Name    string `json:"name"`
}

// protocol is the version of the requests that this package knows.
const protocol = 1

// donePause and maxDonePause are the first and the longest time between looks whether the
// job has removed a request that was answered.
const (
	donePause    = 10 * time.Millisecond
	maxDonePause = 500 * time.Millisecond
)

func (s *server) run(ctx context.Context) error {
	wait := donePause
	for last := ""; ; {
		var doc []byte
		err := s.member.request(ctx, func(ctx context.Context) (err error) {
			doc, err = s.member.client.wait(ctx, s.dir+"request")
			return err
		})
		if err != nil {
			return err
		}
		var r request
		if err := json.Unmarshal(doc, &r); err != nil || r.ID == "" || strings.Contains(r.ID, "/") {
			return fmt.Errorf("a request that cannot be read: %.200q", doc)
		}
		if r.ID == last {
			if err := pause(ctx, wait); err != nil {
				return err
			}
			wait = min(2*wait, maxDonePause)
			continue
		}
		last, wait = r.ID, donePause
		if err := s.serve(ctx, r); err != nil {
			return err
		}
	}
}

// serve writes a part and answers.
func (s *server) serve(ctx context.Context, r request) error {
	err := s.member.request(ctx, func(ctx context.Context) error {
		err := s.writePart(ctx, r)
		if ctx.Err() != nil {
			return errors.Join(ended(ctx), err)
		}
		return s.answer(ctx, r, err)
	})
	if ctx.Err() != nil { // the job need not wait until it notices
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.member.ttl/4)
		defer cancel()
		_ = s.answer(late, r, errors.New("the Go process is ending"))
	}
	return err
}

// answer sets the answer. If the job has set it before, it does not want another one.
func (s *server) answer(ctx context.Context, r request, failed error) error {
	text := "ok"
	if failed != nil {
		text = "error: " + failed.Error()
	}
	err := s.member.client.add(ctx, s.answerKey(r), text)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return err
}

func (s *server) answerKey(r request) string { return s.dir + r.ID + "/answer" }

// writePart calls write in a context that ends when the job gives the part up.
func (s *server) writePart(ctx context.Context, r request) error {
	if r.Version != protocol {
		return fmt.Errorf("the job asks by version %d of the protocol, and the Go process has version %d: take orbax_go.py from the release of this module", r.Version, protocol)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer func() {
		cancel(context.Canceled)
		watch.Wait()
	}()
	watch.Go(func() {
		if answer, err := s.member.client.wait(ctx, s.answerKey(r)); err == nil {
			cancel(fmt.Errorf("the job has given the part up: %s", answer))
		}
	})
	return s.write(ctx, Part{r.Dir, r.Name})
}
