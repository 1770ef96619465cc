package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/coord/etcd"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
)

// command is a request of the story to a worker, and report is the answer. Both are lines of
// JSON.
type command struct {
	Do   string // "join", "rejoin", "save", "load"
	Name string // of the group to join
	Rank int
	Size int
	Path string // of the checkpoint
	Step int
	// Stall says that the worker stops in the middle of its save, until it is killed.
	Stall bool
}

type report struct {
	Rank    int
	Held    int64 // bytes of the state in this process
	Moved   int64 // bytes that it has written or read
	Files   int
	Took    time.Duration
	Stalled bool
	Err     string
}

// worker is one process of the group.
type worker struct {
	client *clientv3.Client
	group  *coord.Group
	state  *State
	failed error // of the last save
	out    *json.Encoder
}

// work does what the commands say. It ends when there are no more, and also in the middle
// of a command, so that no worker outlives the story.
func work(ctx context.Context, endpoint string, in io.Reader, out io.Writer) (err error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	w := &worker{client: client, out: json.NewEncoder(out)}
	defer func() { err = errors.Join(err, w.leave()) }()

	ctx, end := context.WithCancel(ctx)
	defer end()
	lines := make(chan []byte)
	go func() {
		defer end()
		for scan := bufio.NewScanner(in); scan.Scan(); {
			lines <- []byte(scan.Text())
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line := <-lines:
			var c command
			if err := json.Unmarshal(line, &c); err != nil {
				return err
			}
			r, err := w.do(ctx, c)
			if err != nil {
				r.Err = err.Error()
			}
			if w.group != nil {
				r.Rank = w.group.Rank()
			}
			if err := w.out.Encode(r); err != nil {
				return err
			}
		}
	}
}

// do does one command.
func (w *worker) do(ctx context.Context, c command) (r report, err error) {
	var done orbax.Stats
	switch c.Do {
	case "join":
		err = w.join(ctx, c.Name, c.Rank, c.Size)
	case "rejoin":
		rank, size := survivors(w.failed, w.group)
		if err = w.leave(); err == nil {
			err = w.join(ctx, c.Name, rank, size)
		}
	case "save":
		if err = w.state.train(c.Step); err != nil {
			return r, err
		}
		var options []orbax.SaveOption
		if c.Stall {
			options = append(options, orbax.In(&stalling{Store: storage.Local(), stall: func() { w.out.Encode(report{Stalled: true}) }}))
		}
		done, err = save(ctx, w.group, c.Path, w.state, options...)
		w.failed = err
	case "load":
		if done, err = load(ctx, c.Path, w.state); err == nil {
			err = w.state.check()
		}
	default:
		err = fmt.Errorf("unknown command %q", c.Do)
	}
	if w.state != nil {
		r.Held = w.state.held()
	}
	r.Moved, r.Files, r.Took = done.Moved, done.Files, done.Elapsed
	return r, err
}

// join makes this process a member of a group, and allocates its part of the state.
func (w *worker) join(ctx context.Context, name string, rank, size int) (err error) {
	w.group, err = etcd.Join(ctx, w.client, etcd.Options{Name: name, Rank: rank, Size: size, TTL: ttl})
	if err != nil {
		return err
	}
	w.group.Timeout = timeout
	w.state, err = newState(meshes[size], w.group)
	return err
}

// ttl is how long a process that has died stays in its group, and timeout how long a
// process waits for one that does not arrive.
const (
	ttl     = 2 * time.Second
	timeout = 20 * time.Second
)

// meshes has the devices of all processes, by the number of processes.
var meshes = map[int]sharding.Mesh{
	2: {AxisNames: []string{"data", "model"}, Shape: []int{1, 2}},
	3: {AxisNames: []string{"data", "model"}, Shape: []int{1, 3}},
	4: {AxisNames: []string{"data", "model"}, Shape: []int{2, 4}},
}

func (w *worker) leave() error {
	if w.group == nil {
		return nil
	}
	return w.group.Close()
}

// survivors returns the rank of this process in a group without those that are lost, and
// the size of that group. All survivors get the same from the error of a save, because a
// phase has one outcome for all. Only if rank 0 is lost they may know less: then whatever
// has started the processes must say which ones go on.
func survivors(err error, group *coord.Group) (rank, size int) {
	rank, size = group.Rank(), group.Size()
	shared, ok := errors.AsType[*coord.Error](err)
	if !ok {
		return rank, size
	}
	for _, f := range shared.Failures {
		if _, lost := errors.AsType[*coord.LostError](f); lost {
			size--
			if f.Rank < group.Rank() {
				rank--
			}
		}
	}
	return rank, size
}

// stalling is a store on which a process that has joined a save stops before its second
// file.
type stalling struct {
	storage.Store
	stall func()
}

func (s *stalling) Join(ctx context.Context, ticket string) (storage.Joined, error) {
	j, err := s.Store.Join(ctx, ticket)
	return &stallingFiles{Joined: j, stall: s.stall}, err
}

type stallingFiles struct {
	storage.Joined
	stall func()
	files atomic.Int32
}

func (f *stallingFiles) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	if f.files.Add(1) > 1 {
		f.stall()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return f.Joined.Create(ctx, name, size)
}
