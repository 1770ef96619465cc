package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/coord/etcd"
	"github.com/go-orbax/orbax/coord/etcd/embedded"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/training"
)

// The code in the manual is code of this file, which is run, and of the examples of package
// coord/jax.
func TestManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/processes.md")
	must(t, err)
	var code string
	for _, name := range []string{"manual_test.go", "../../coord/jax/example_test.go"} {
		file, err := os.ReadFile(name)
		must(t, err)
		code += flush(string(file))
	}
	blocks := strings.Split(string(manual), "```go\n")[1:]
	if len(blocks) == 0 {
		t.Error("the manual has no code")
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(code, flush(block)) {
			t.Errorf("no example has\n%s", block)
		}
	}
}

// flush takes the indentation from all lines.
func flush(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		b.WriteString(strings.TrimLeft(line, "\t"))
	}
	return b.String()
}

// trainTogether is the program of one process.
func trainTogether(ctx context.Context, endpoints []string, rank, size int, root string, steps int) (err error) {
	mesh := meshes[size]
	step := func(s *State) error { return s.train(s.Step + 1) }

	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	joining, cancel := context.WithTimeout(ctx, 5*time.Minute) // for all processes to start
	defer cancel()
	group, err := etcd.Join(joining, client, etcd.Options{Name: "run7", Rank: rank, Size: size})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, group.Close()) }() // leave the group

	checkpoints, err := training.New(ctx, root, training.Options{
		Together: multihost.Together{Group: group},
		SaveDecision: training.AnySavePolicy{
			training.FixedIntervalPolicy{Interval: 100},
			training.PreemptionCheckpointingPolicy{},
		},
		Preservation: training.LatestN{N: 3},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, checkpoints.Close()) }() // wait for the last save

	state, err := newState(mesh, group)
	if err != nil {
		return err
	}
	if _, err := checkpoints.Resume(ctx, state); err != nil && !errors.Is(err, orbax.ErrNotExist) {
		return err
	}
	for ended := false; !ended && state.Step < steps; {
		if err := step(state); err != nil {
			return err
		}
		var save []orbax.SaveOption
		if state.Step == steps {
			save = append(save, training.Force()) // the last one, whatever the policy says
		}
		if _, err := checkpoints.SaveAsync(ctx, state.Step, state, save...); err != nil {
			return err
		}
		ended = checkpoints.Preempted() // after the save: that save was for the notice
	}
	return nil
}

// withEmbedded starts an etcd server in the program and gives its client to use.
func withEmbedded(ctx context.Context, dir string, use func(endpoint string, client *clientv3.Client) error) error {
	server, err := embedded.Start(ctx, embedded.Options{Dir: dir, Forget: true})
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		return err
	}
	defer client.Close()
	return use(server.Endpoint(), client)
}

// The loop to copy resumes with another number of processes.
func TestTrainTogether(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	err := withEmbedded(t.Context(), t.TempDir(), func(endpoint string, client *clientv3.Client) error {
		for i, size := range []int{4, 2} {
			var all sync.WaitGroup
			for rank := range size {
				all.Go(func() {
					if err := trainTogether(t.Context(), []string{endpoint}, rank, size, root, 2*i+2); err != nil {
						t.Errorf("process %d of %d: %v", rank, size, err)
					}
				})
			}
			all.Wait()
		}
		left, err := client.Get(t.Context(), "", clientv3.WithPrefix())
		if err == nil && len(left.Kvs) > 0 {
			err = fmt.Errorf("keys are left: %v", left.Kvs)
		}
		return err
	})
	must(t, err)
	latest, err := training.Latest(t.Context(), root, training.ReadOptions{})
	must(t, err)
	if latest.Step != 4 {
		t.Errorf("the latest step is %d", latest.Step)
	}
	must(t, orbax.Verify(t.Context(), latest.Path))
}

// kernelOf allocates and initializes an array.
func kernelOf(group *coord.Group, initialize func(values []float32, offset []int)) (*array.Sharded, error) {
	var made *array.Sharded
	err := func() error {
		what := array.ShapeDtypeStruct{
			Shape: []int{2048, 2048}, DType: array.Float32,
			Sharding: sharding.Named(
				sharding.Mesh{AxisNames: []string{"data", "model"}, Shape: []int{2, 4}},
				sharding.PartitionSpec{{"data"}, {"model"}},
			),
		}
		kernel, err := array.AllocSharded(what, multihost.Together{Group: group}.Process())
		if err != nil {
			return err
		}
		for _, shard := range kernel.Shards() {
			values, err := array.Values[float32](shard.Array) // of the box at shard.Offset
			if err != nil {
				return err
			}
			initialize(values, shard.Offset)
		}
		made = kernel
		return nil
	}()
	return made, err
}

// position is the position of a process in the data.
type position struct{ at byte }

func (p *position) State() ([]byte, error) { return []byte{'0' + p.at}, nil }

func (p *position) SetState(state []byte) error {
	p.at = state[0] - '0'
	return nil
}

// The other pieces of the manual, in a group of goroutines.
func TestPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	inGroup(t, 4, func(ctx context.Context, group *coord.Group) error {
		kernel, err := kernelOf(group, func(values []float32, offset []int) {
			for i := range values {
				values[i] = float32(offset[0]*4 + offset[1]/512)
			}
		})
		if err != nil {
			return err
		}
		state, data := map[string]any{"kernel": kernel, "step": 1, "more": true}, &position{byte(group.Rank())}
		if err := saveAlone(ctx, path+"1", state, group); err != nil {
			return err
		}
		return saveItems(ctx, path, state, data, group)
	})
	columns := sharding.Named(sharding.Mesh{AxisNames: []string{"d"}, Shape: []int{2}}, sharding.PartitionSpec{nil, {"d"}})
	inGroup(t, 2, func(ctx context.Context, group *coord.Group) error {
		state, err := orbax.LoadAbstract(ctx, path, map[string]any{
			"kernel": array.ShapeDtypeStruct{Shape: []int{2048, 2048}, DType: array.Float32, Sharding: columns},
			"step":   0,
		}, orbax.Partial(), multihost.Together{Group: group})
		if err != nil {
			return err
		}
		kernel := state.(map[string]any)["kernel"].(*array.Sharded)
		for _, shard := range kernel.Shards() {
			values, err := array.Values[float32](shard.Array)
			if err != nil {
				return err
			}
			for i, v := range values {
				if want := float32(i/1024/1024*4096 + 2*group.Rank() + i/512%2); v != want {
					return fmt.Errorf("element %d is %v, want %v", i, v, want)
				}
			}
		}
		_, err = orbax.LoadCheckpointables(ctx, path, map[string]any{"data": handler.DatasetIteratorOf(&position{}, group.Rank(), group.Size())})
		if !errors.Is(err, orbax.ErrNotExist) {
			return fmt.Errorf("a position of four processes in two: %w", err)
		}
		state = map[string]any{"kernel": kernel, "step": 0, "more": false}
		if err := loadAgain(ctx, path, state); err != nil {
			return err
		}
		return handOver(ctx, path, state, group)
	})
	inGroup(t, 4, func(ctx context.Context, group *coord.Group) error {
		p := &position{9}
		_, err := orbax.LoadCheckpointables(ctx, path, map[string]any{"data": handler.DatasetIteratorOf(p, group.Rank(), group.Size())})
		if err == nil && p.at != byte(group.Rank()) {
			err = fmt.Errorf("the position is %d", p.at)
		}
		return err
	})
	inGroup(t, 4, func(ctx context.Context, group *coord.Group) error {
		together := multihost.Together{Group: group, Owner: func(device int) int { return device % group.Size() }}
		what := array.ShapeDtypeStruct{Shape: []int{16}, DType: array.Int8, Sharding: sharding.Named(sharding.Mesh{AxisNames: []string{"d"}, Shape: []int{8}}, sharding.PartitionSpec{{"d"}})}
		a, err := array.AllocSharded(what, together.Process())
		if err != nil {
			return err
		}
		return orbax.Save(ctx, path+"2", map[string]any{"a": a}, together)
	})
}

func saveAlone(ctx context.Context, path string, state any, group *coord.Group) error {
	err := orbax.Save(ctx, path, state, multihost.Together{Group: group})
	return err
}

func saveItems(ctx context.Context, path string, state any, data *position, group *coord.Group) error {
	items := map[string]any{
		"state": state,
		"data":  handler.DatasetIteratorOf(data, group.Rank(), group.Size()),
	}
	err := orbax.SaveCheckpointables(ctx, path, items, multihost.Together{Group: group})
	return err
}

func loadAgain(ctx context.Context, path string, state any) error {
	err := orbax.LoadInto(ctx, path, state)
	return err
}

func handOver(ctx context.Context, path string, state any, group *coord.Group) error {
	err := orbax.LoadInto(ctx, path, state, multihost.Together{Group: group, HandOver: true})
	return err
}

// inGroup runs f in n processes, which are goroutines.
func inGroup(t *testing.T, n int, f func(ctx context.Context, group *coord.Group) error) {
	t.Helper()
	var all sync.WaitGroup
	for rank, group := range coord.InProcess(n) {
		all.Go(func() {
			if err := errors.Join(f(t.Context(), group), group.Close()); err != nil {
				t.Errorf("process %d of %d: %v", rank, n, err)
			}
		})
	}
	all.Wait()
}

// A worker ends when its input does.
func TestWorkerEnds(t *testing.T) {
	var out bytes.Buffer
	if err := work(t.Context(), "127.0.0.1:1", io.LimitReader(nil, 0), &out); err != nil || out.Len() > 0 {
		t.Errorf("%v, %q", err, out.String())
	}
}
