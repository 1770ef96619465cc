//go:build unix

package etcd_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/coord/etcd"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
)

// saverOf is the variable that makes the test's program a saver: a process that takes orders
// from its standard input, and answers each on its standard output.
const saverOf = "ORBAX_ETCD_SAVER"

// order asks a saver to act.
type order struct {
	Do       string // join, save, leave or go
	Endpoint string // of etcd
	Group    string
	Rank     int
	// What follows is for saves.
	Path              string
	Version           int
	Overwrite, Marker bool
	// Pause, if not 0, makes the saver answer and wait for the order "go" before it calls
	// the store for the Pause-th time.
	Pause int
}

// answer is the outcome of an order.
type answer struct {
	At         string // the call of the store before which the saver waits
	Err        string
	Failures   []failed
	Unknown    bool // this process does not know the outcome
	InPlace    bool
	Timeout    bool
	Took       time.Duration
	Goroutines string // that are left
}

// failed is a failure of a process, which may be lost.
type failed struct {
	Rank  int
	Phase string
	Lost  bool
}

// savers is the number of processes that save together.
const savers = 4

// patience is how long a save may take.
const patience = 20 * time.Second

// saver is the state of a saver.
type saver struct {
	client *clientv3.Client
	group  *coord.Group
	orders chan order
	out    *json.Encoder
	base   int // number of goroutines
}

// runSaver runs a saver until its standard input ends.
func runSaver() {
	s := &saver{orders: make(chan order), out: json.NewEncoder(os.Stdout)}
	go func() {
		defer close(s.orders)
		in := json.NewDecoder(os.Stdin)
		for {
			var o order
			if in.Decode(&o) != nil {
				os.Exit(0)
			}
			s.orders <- o
		}
	}()
	s.base = runtime.NumGoroutine()
	for o := range s.orders {
		start := time.Now()
		a := s.obey(o)
		a.Took = time.Since(start)
		s.out.Encode(a)
	}
}

func (s *saver) obey(o order) answer {
	switch o.Do {
	case "join":
		return answerOf(s.join(o))
	case "save":
		return answerOf(s.save(o))
	case "leave":
		a := answerOf(s.leave())
		a.Goroutines = s.goroutines()
		return a
	}
	return answerOf(fmt.Errorf("%q is no order", o.Do))
}

func (s *saver) join(o order) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.client, err = clientv3.New(clientv3.Config{Endpoints: []string{o.Endpoint}, DialTimeout: patience}); err != nil {
		return err
	}
	s.group, err = etcd.Join(ctx, s.client, etcd.Options{Name: o.Group, Rank: o.Rank, Size: savers, TTL: ttl})
	if err != nil {
		s.client.Close()
	}
	return err
}

func (s *saver) leave() error {
	if s.group == nil {
		return nil
	}
	_ = s.group.Close() // etcd may be out of reach
	s.group = nil
	return s.client.Close()
}

func (s *saver) save(o order) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	state, err := stateOf(o.Version, s.group)
	if err != nil {
		return err
	}
	opts := []orbax.SaveOption{multihost.Together{Group: s.group}}
	if o.Overwrite {
		opts = append(opts, orbax.Overwrite())
	}
	if o.Marker {
		opts = append(opts, orbax.Atomicity(orbax.CommitFile))
	}
	if o.Pause > 0 {
		var calls atomic.Int64
		opts = append(opts, orbax.In(failstore.New(storage.Local(), func(op, name string) error {
			if calls.Add(1) == int64(o.Pause) {
				s.out.Encode(answer{At: op + " " + filepath.Base(name)})
				<-s.orders
			}
			return nil
		})))
	}
	return orbax.Save(ctx, o.Path, state, opts...)
}

// goroutines returns the stacks of the goroutines that are left, after a while.
func (s *saver) goroutines() string {
	for range 300 {
		if runtime.NumGoroutine() <= s.base {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	return string(stacks[:runtime.Stack(stacks, true)])
}

func answerOf(err error) answer {
	if err == nil {
		return answer{}
	}
	a := answer{Err: err.Error(), InPlace: errors.Is(err, orbax.ErrInPlace), Timeout: errors.Is(err, coord.ErrTimeout)}
	if shared := new(coord.Error); errors.As(err, &shared) {
		a.Unknown = shared.Unknown
		for _, f := range shared.Failures {
			a.Failures = append(a.Failures, failed{f.Rank, f.Phase, errors.As(f.Err, new(*coord.LostError))})
		}
	}
	return a
}

// stateOf returns the part of a version of the state that a process has, or without a group
// the whole: 3 MiB.
func stateOf(version int, g *coord.Group) (map[string]any, error) {
	mesh := sharding.Mesh{Shape: []int{2, 4}, AxisNames: []string{"x", "y"}, DeviceIDs: []int{0, 1, 2, 3, 4, 5, 6, 7}}
	state := map[string]any{"step": version}
	for i, a := range []struct {
		name  string
		shape []int
		spec  sharding.PartitionSpec // nil for an array that is not sharded
	}{
		{"rows", []int{512, 512}, sharding.PartitionSpec{{"x", "y"}}},
		{"boxes", []int{512, 509}, sharding.PartitionSpec{{"y"}, {"x"}}},
		{"copies", []int{128, 512}, sharding.PartitionSpec{nil, {"x"}}},
		{"whole", []int{100, 512}, nil},
	} {
		data := make([]byte, 4*a.shape[0]*a.shape[1])
		for n := 0; n < len(data); n += 4 {
			binary.LittleEndian.PutUint32(data[n:], uint32(n)*2654435761+uint32(i*1000+version))
		}
		whole, err := array.New(array.Uint32, a.shape, data)
		if err != nil {
			return nil, err
		}
		state[a.name] = whole
		if g == nil || a.spec == nil {
			continue
		}
		what := array.ShapeDtypeStruct{Shape: a.shape, DType: array.Uint32, Sharding: sharding.Named(mesh, a.spec)}
		held, err := array.AllocSharded(what, sharding.Process{Rank: g.Rank(), Size: g.Size()})
		if err != nil {
			return nil, err
		}
		for _, s := range held.Shards() {
			if err := whole.ReadRegion(context.Background(), s.Array.Bytes(), s.Offset, s.Array.Shape()); err != nil {
				return nil, err
			}
		}
		state[a.name] = held
	}
	return state, nil
}

// saverProcess is a saver, as its parent sees it.
type saverProcess struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	orders  *json.Encoder
	answers chan answer // closed when the process has ended
	joined  bool
}

func startSaver() (*saverProcess, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), saverOf+"=1", "ETCD_CLIENT_DEBUG=fatal") // it would log what it tries again
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	p := &saverProcess{cmd: cmd, in: in, orders: json.NewEncoder(in), answers: make(chan answer, 16)}
	go func() {
		defer close(p.answers)
		for scan := bufio.NewReader(out); ; {
			line, err := scan.ReadBytes('\n')
			if err != nil {
				return
			}
			var a answer
			if err := json.Unmarshal(line, &a); err != nil {
				a.Err = fmt.Sprintf("%q: %v", line, err)
			}
			p.answers <- a
		}
	}()
	return p, nil
}

// errEnded reports that a saver has ended.
var errEnded = errors.New("the process has ended")

// next returns the next answer.
func (p *saverProcess) next(within time.Duration) (answer, error) {
	select {
	case a, ok := <-p.answers:
		if !ok {
			return a, errEnded
		}
		return a, nil
	case <-time.After(within):
		return answer{}, fmt.Errorf("no answer within %v", within)
	}
}

// end kills the process and waits for its end.
func (p *saverProcess) end() {
	p.cmd.Process.Kill()
	for range p.answers {
	}
	p.in.Close()
	p.cmd.Wait()
}
