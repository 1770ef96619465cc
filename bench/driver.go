package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/rpc"

	"github.com/go-orbax/orbax/coord"
)

// Coordinator serves the groups of processes that are goroutines to processes that are
// not. A process that is lost is not noticed: the program ends all of them then.
type Coordinator struct {
	ctx    context.Context
	groups []*coord.Group
}

// Request is a call of a method of a [coord.Driver].
type Request struct {
	Rank   int // of the caller
	Method string
	Key    string
	Value  []byte
	From   int
}

// Answer has the result of the method.
type Answer struct {
	Value   []byte
	Entries []coord.Entry
	Ranks   []int
	Missing bool // of an error that matches fs.ErrNotExist
}

// serveDrivers serves the drivers of a group of n processes until stop is called.
func serveDrivers(ctx context.Context, l net.Listener, n int) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	server := rpc.NewServer()
	if err := server.Register(&Coordinator{ctx, coord.InProcess(n)}); err != nil {
		panic(err) // the type is wrong
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go server.ServeConn(c)
		}
	}()
	return func() {
		cancel()
		l.Close()
	}
}

// Call calls the method.
func (c *Coordinator) Call(q Request, a *Answer) (err error) {
	d := c.groups[q.Rank].Driver()
	switch q.Method {
	case "Set":
		err = d.Set(c.ctx, q.Key, q.Value)
	case "Get":
		a.Value, err = d.Get(c.ctx, q.Key)
	case "Wait":
		a.Value, err = d.Wait(c.ctx, q.Key, q.From)
	case "List":
		a.Entries, err = d.List(c.ctx, q.Key)
	case "Delete":
		err = d.Delete(c.ctx, q.Key)
	case "Lost":
		a.Ranks, err = d.Lost(c.ctx)
	default:
		err = errors.ErrUnsupported
	}
	if a.Missing = errors.Is(err, fs.ErrNotExist); a.Missing {
		return nil
	}
	return err
}

// remote is the driver of a process that a [Coordinator] serves.
type remote struct {
	*rpc.Client
	rank, size int
}

// dialDriver returns the group of a process of n.
func dialDriver(address string, rank, n int) (*coord.Group, error) {
	c, err := rpc.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return coord.NewGroup(&remote{c, rank, n}), nil
}

func (r *remote) Rank() int { return r.rank }
func (r *remote) Size() int { return r.size }

func (r *remote) call(ctx context.Context, q Request) (Answer, error) {
	var a Answer
	q.Rank = r.rank
	call := r.Go("Coordinator.Call", q, &a, nil)
	select {
	case <-call.Done:
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	if a.Missing {
		return a, &fs.PathError{Op: "get", Path: q.Key, Err: fs.ErrNotExist}
	}
	return a, call.Error
}

func (r *remote) Set(ctx context.Context, key string, value []byte) error {
	_, err := r.call(ctx, Request{Method: "Set", Key: key, Value: value})
	return err
}

func (r *remote) Get(ctx context.Context, key string) ([]byte, error) {
	a, err := r.call(ctx, Request{Method: "Get", Key: key})
	return a.Value, err
}

func (r *remote) Wait(ctx context.Context, key string, from int) ([]byte, error) {
	a, err := r.call(ctx, Request{Method: "Wait", Key: key, From: from})
	return a.Value, err
}

func (r *remote) List(ctx context.Context, prefix string) ([]coord.Entry, error) {
	a, err := r.call(ctx, Request{Method: "List", Key: prefix})
	return a.Entries, err
}

func (r *remote) Delete(ctx context.Context, prefix string) error {
	_, err := r.call(ctx, Request{Method: "Delete", Key: prefix})
	return err
}

func (r *remote) Lost(ctx context.Context) ([]int, error) {
	a, err := r.call(ctx, Request{Method: "Lost"})
	return a.Ranks, err
}
