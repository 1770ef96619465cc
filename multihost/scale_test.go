package multihost_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

// scaleStore keeps documents in memory, and counts data files without keeping them.
type scaleStore struct {
	storage.Store
	files, bytes *atomic.Int64 // of documents
	merging      func()        // called when the first record is read
	once         sync.Once
}

func (s *scaleStore) Begin(ctx context.Context, dir string, o storage.BeginOptions) (storage.Stage, error) {
	stage, err := s.Store.Begin(ctx, dir, o)
	return scaleStage{stage, s}, err
}

func (s *scaleStore) Join(ctx context.Context, ticket string) (storage.Joined, error) {
	joined, err := s.Store.Join(ctx, ticket)
	return scaleJoined{joined, s}, err
}

func (s *scaleStore) Open(ctx context.Context, name string) (storage.Reader, error) {
	if strings.Contains(name, "go-orbax.process_") {
		s.once.Do(s.merging)
	}
	return s.Store.Open(ctx, name)
}

type scaleStage struct {
	storage.Stage
	s *scaleStore
}

func (g scaleStage) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	return g.s.create(ctx, g.Stage, name, size)
}

type scaleJoined struct {
	storage.Joined
	s *scaleStore
}

func (j scaleJoined) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	return j.s.create(ctx, j.Joined, name, size)
}

func (s *scaleStore) create(ctx context.Context, files storage.Files, name string, size int64) (storage.Writer, error) {
	if strings.Contains(name, "/ocdbt.process_") {
		return noWriter{}, nil
	}
	s.files.Add(1)
	w, err := files.Create(ctx, name, size)
	return scaleWriter{w, s}, err
}

type noWriter struct{}

func (noWriter) WriteAt(context.Context, []byte, int64) error { return nil }
func (noWriter) Close() error                                 { return nil }

type scaleWriter struct {
	storage.Writer
	s *scaleStore
}

func (w scaleWriter) WriteAt(ctx context.Context, p []byte, off int64) error {
	w.s.bytes.Add(int64(len(p)))
	return w.Writer.WriteAt(ctx, p, off)
}

// clocked is a driver that counts requests, and measures the longest chain of requests
// each of which depends on the one before.
type clocked struct {
	coord.Driver
	requests, bytes *atomic.Int64
	now             *atomic.Int64 // the length of the chain up to this process
	set             *sync.Map     // by key, the length of the chain up to its setting
}

func (c clocked) Set(ctx context.Context, key string, value []byte) error {
	c.requests.Add(1)
	c.bytes.Add(int64(len(value)))
	c.set.Store(key, c.now.Add(1))
	return c.Driver.Set(ctx, key, value)
}

func (c clocked) Wait(ctx context.Context, key string, from int) ([]byte, error) {
	c.requests.Add(1)
	value, err := c.Driver.Wait(ctx, key, from)
	if at, ok := c.set.Load(key); ok {
		for now := c.now.Load(); at.(int64) >= now; now = c.now.Load() {
			if c.now.CompareAndSwap(now, at.(int64)+1) {
				break
			}
		}
	}
	return value, err
}

// TestScale saves 2000 arrays, of each of which every process holds a shard, with many
// processes, and measures the coordination.
func TestScale(t *testing.T) {
	sizes := testenv.Pick([]int{1, 64, 512}, []int{1, 64})
	if testenv.EveryBit() {
		sizes = append(sizes, 4096) // takes minutes: this machine does the work of all processes
		defer debug.SetGCPercent(debug.SetGCPercent(40))
	}
	for _, n := range sizes {
		arrays := testenv.Pick(2000, 200)
		shard, err := array.New(array.Float32, []int{1, 512}, nil) // too large for the index
		if err != nil {
			t.Fatal(err)
		}
		on := sharding.Named(mesh(n, 1), sharding.PartitionSpec{{"x"}})
		var requests, sent, files, bytes atomic.Int64
		var set sync.Map
		clocks := make([]atomic.Int64, n)
		var began time.Time
		var before runtime.MemStats
		var cpu time.Duration
		store := &scaleStore{Store: mem.New(), files: &files, bytes: &bytes}
		store.merging = func() { // all other processes wait
			runtime.ReadMemStats(&before)
			began, cpu = time.Now(), testenv.CPUTime()
		}
		start := time.Now()
		for rank, err := range together(n, func(g *coord.Group) error {
			g = coord.NewGroup(clocked{g.Driver(), &requests, &sent, &clocks[g.Rank()], &set})
			g.Timeout = time.Hour
			state := make(map[string]any, arrays)
			for i := range arrays {
				a, err := array.NewSharded(array.Float32, []int{n, 512}, on, array.Shard{Offset: []int{g.Rank(), 0}, Array: shard})
				if err != nil {
					return err
				}
				state[fmt.Sprintf("layers.%04d.kernel", i)] = a
			}
			return orbax.Save(t.Context(), "ckpt", state, orbax.In(store), multihost.Together{Group: g}, orbax.Budget(1<<20))
		}) {
			if err != nil {
				t.Fatalf("process %d: %v", rank, err)
			}
		}
		if n == 1 {
			t.Logf("1 process: %v in all, %d documents of %d bytes", time.Since(start), files.Load(), bytes.Load())
			continue
		}
		end, endCPU := time.Now(), testenv.CPUTime()
		var after runtime.MemStats
		runtime.ReadMemStats(&after)
		chain := int64(0)
		for i := range clocks {
			chain = max(chain, clocks[i].Load())
		}
		t.Logf("%d processes with %d arrays: %d requests of %d bytes, the longest chain has %d; %d documents of %d bytes; process 0 merges in %v, %v of CPU, and allocates %d MiB; %v in all",
			n, arrays, requests.Load(), sent.Load(), chain, files.Load(), bytes.Load(), end.Sub(began), endCPU-cpu, (after.TotalAlloc-before.TotalAlloc)>>20, time.Since(start))
		if limit := int64(100); chain > limit {
			t.Errorf("%d processes: a chain of %d requests", n, chain)
		}
	}
}
