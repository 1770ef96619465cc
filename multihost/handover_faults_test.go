package multihost_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/training"
	"github.com/go-orbax/orbax/transform"
)

// wantAll fails unless all processes have errors that name process culprit, if that is not
// negative, and match class, if that is not nil.
func wantAll(t *testing.T, errs []error, culprit int, class error) {
	t.Helper()
	for rank, err := range errs {
		if err == nil || class != nil && !errors.Is(err, class) || culprit >= 0 && !strings.Contains(err.Error(), fmt.Sprint("process ", culprit)) {
			t.Errorf("process %d got %v, which should name process %d and match %v", rank, err, culprit, class)
		}
	}
}

// If one process fails, all fail with an error that names it and its leaf; nothing goes on
// afterwards, and the group can load again.
func TestHandOverFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	state := map[string]any{"a": count(64, 512), "w": count(64, 1<<10), "z": count(8)}
	must(t, orbax.Save(t.Context(), path, state))
	must(t, orbax.Save(t.Context(), path+"2", state))
	before := runtime.NumGoroutine()
	good := map[string]any{"a": abstract(nil, 64, 512), "w": abstract(nil, 64, 1<<10), "z": abstract(nil, 8)}
	other := map[string]any{"a": abstract(nil, 64, 512), "w": abstract(nil, 64, 1<<10), "z": abstract(nil, 9)}
	layout := map[string]any{"a": abstract(nil, 64, 512), "w": abstract(grid(3, 1), 64, 1<<10), "z": abstract(nil, 8)}
	load := func(ctx context.Context, g *coord.Group, target any, options ...orbax.LoadOption) error {
		_, err := orbax.LoadAbstract(ctx, path, target, append(options, handOver(g))...)
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name    string
		culprit int
		class   error
		text    string
		load    func(g *coord.Group) error // of process 1
	}{
		{"another shape", 1, orbax.ErrShape, "z: ", func(g *coord.Group) error { return load(t.Context(), g, other) }},
		{"another sharding", 1, orbax.ErrStructure, "the processes do not load the same: w in \"state\": ", func(g *coord.Group) error { return load(t.Context(), g, layout) }},
		{"another shape that fits", 1, orbax.ErrStructure, "the processes do not load the same: z in \"state\": ", func(g *coord.Group) error {
			return load(t.Context(), g, other, orbax.PadOrTruncate())
		}},
		{"another path", 1, orbax.ErrStructure, "options: process 0 has path", func(g *coord.Group) error {
			_, err := orbax.LoadAbstract(t.Context(), path+"2", good, handOver(g))
			return err
		}},
		{"no checkpoint", 1, orbax.ErrNotExist, "", func(g *coord.Group) error {
			_, err := orbax.LoadAbstract(t.Context(), path, good, handOver(g), orbax.In(mem.New()))
			return err
		}},
		{"no address", 1, orbax.ErrUnsupported, "Address", func(g *coord.Group) error {
			_, err := orbax.LoadAbstract(t.Context(), path, good, multihost.Together{Group: g, HandOver: true, Address: "203.0.113.9"})
			return err
		}},
		{"cancelled", 1, nil, "context canceled", func(g *coord.Group) error { return load(ctx, g, good) }},
		{"Mapped", -1, orbax.ErrUsage, "", nil},
	} {
		if c.name == "Mapped" {
			for rank, err := range together(2, func(g *coord.Group) error { return load(t.Context(), g, good, orbax.Mapped().(orbax.LoadOption)) }) {
				if !errors.Is(err, orbax.ErrUsage) {
					t.Errorf("%s: process %d: %v", c.name, rank, err)
				}
			}
			continue
		}
		start := time.Now()
		errs := together(3, func(g *coord.Group) error {
			first := error(nil)
			if g.Rank() == 1 {
				first = c.load(g)
			} else {
				first = load(t.Context(), g, good)
			}
			if second := load(t.Context(), g, good); second != nil && c.name != "cancelled" {
				return fmt.Errorf("the second load: %w", second)
			}
			return first
		})
		wantAll(t, errs, c.culprit, c.class)
		for rank, err := range errs {
			if err != nil && !strings.Contains(err.Error(), c.text) || strings.Contains(fmt.Sprint(err), "second load") {
				t.Errorf("%s: process %d: %v", c.name, rank, err)
			}
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("%s: took %v", c.name, took)
		}
		if testing.Verbose() {
			t.Logf("%s, %v: %v", c.name, time.Since(start), errs[0])
		}
		wantNoGoroutines(t, before)
	}
}

// The error of a process that cannot read its part is that of all.
func TestHandOverReadFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	must(t, orbax.Save(t.Context(), path, map[string]any{"w": count(64, 1<<10)}))
	for culprit := range 3 {
		start := time.Now()
		errs := together(3, func(g *coord.Group) error {
			f := nothing
			if g.Rank() == culprit {
				f = func() error { return fmt.Errorf("%w: a mistake", orbax.ErrNoSpace) }
			}
			_, err := orbax.Load(t.Context(), path, handOver(g), during(f))
			return err
		})
		wantAll(t, errs, culprit, orbax.ErrNoSpace)
		for rank, err := range errs {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprint("leaf x", culprit, ": ")) || strings.Contains(err.Error(), "connection") {
				t.Errorf("process %d: %v", rank, err)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	}
}

// A damaged chunk is found by the process that reads it, and all get its error.
func TestHandOverDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	w := count(8, 512)
	must(t, orbax.Save(t.Context(), path, map[string]any{"w": w, "v": count(100)}))
	damage(t, path, string(w.Bytes()[3*2048:4*2048]))
	errs := together(3, func(g *coord.Group) error {
		_, err := orbax.Load(t.Context(), path, handOver(g))
		return err
	})
	wantAll(t, errs, -1, orbax.ErrCorrupt)
	for rank, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "leaf w: ") {
			t.Errorf("process %d: %v", rank, err)
		}
	}
}

// during is an option for loads of an array w as three leaves, each of which one of three
// processes reads. It calls f when this process reads its leaf.
func during(f func() error) orbax.LoadOption {
	rules := []transform.Rule{transform.Drop("w")}
	for i := range 3 {
		x := transform.Func(array.Float32, []int{64, 1 << 10}, func(_ context.Context, args []*array.Array) (*array.Array, error) {
			return args[0], f()
		}, transform.Leaf("w"))
		rules = append([]transform.Rule{transform.Set(fmt.Sprint("x", i), x)}, rules...)
	}
	return orbax.Transform(rules...)
}

// nothing is what happens in the other processes.
func nothing() error { return nil }

// If a process dies or hangs while the others wait for what it reads, they get an error
// that names it, and soon.
func TestHandOverLoses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	must(t, orbax.Save(t.Context(), path, map[string]any{"w": count(64, 1<<10)}))
	for _, culprit := range []int{0, 2} {
		for _, dies := range []bool{true, false} {
			before := runtime.NumGoroutine()
			groups := coord.InProcess(3)
			release := make(chan struct{})
			ended := make(chan int, 3)
			errs := make([]error, 3)
			start := time.Now()
			for rank, g := range groups {
				g.Timeout = 2 * time.Second
				go func() {
					defer func() { ended <- rank }()
					f := nothing
					if rank == culprit {
						f = func() error {
							if dies {
								g.Close()
							}
							<-release
							return nil
						}
					}
					_, errs[rank] = orbax.Load(t.Context(), path, during(f), handOver(g))
				}()
			}
			for range 2 { // the others
				if rank := <-ended; rank == culprit {
					t.Errorf("process %d was the first to end: %v", rank, errs[rank])
				}
			}
			took := time.Since(start)
			close(release)
			<-ended
			wantAll(t, errs, culprit, nil)
			lost := new(coord.LostError)
			if other := errs[(culprit+1)%3]; dies && (!errors.As(other, &lost) || lost.Rank != culprit) || !dies && !errors.Is(other, coord.ErrTimeout) {
				t.Errorf("dies %t: process %d: %v", dies, (culprit+1)%3, other)
			}
			if testing.Verbose() {
				t.Logf("process %d, dies %t: took %v: %v", culprit, dies, took, errs[1])
			}
			if took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			for _, g := range groups {
				g.Close()
			}
			wantNoGoroutines(t, before)
		}
	}
}

// A load that is cancelled while it waits for others ends, and so do theirs.
func TestHandOverCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	must(t, orbax.Save(t.Context(), path, map[string]any{"w": count(64, 1<<10)}))
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	errs := together(3, func(g *coord.Group) error {
		if g.Rank() == 1 {
			_, err := orbax.Load(t.Context(), path, handOver(g), during(func() error {
				cancel() // of process 0
				time.Sleep(50 * time.Millisecond)
				return nil
			}))
			return err
		}
		mine := t.Context()
		if g.Rank() == 0 {
			mine = ctx
		}
		_, err := orbax.Load(mine, path, handOver(g), during(nothing))
		return err
	})
	wantAll(t, errs[1:], 0, nil)
	if !errors.Is(errs[0], context.Canceled) {
		t.Errorf("the cancelled process got %v", errs[0])
	}
	wantNoGoroutines(t, before)
}

// A process that lacks a shard of its devices cannot divide the reading.
func TestHandOverNeedsAllShards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	w := count(8, 4)
	must(t, orbax.Save(t.Context(), path, map[string]any{"w": w}))
	errs := together(2, func(g *coord.Group) error {
		held := part(t, w, grid(2, 2, []string{"x", "y"}), g)
		if g.Rank() == 1 {
			var err error
			if held, err = array.NewSharded(held.DType(), held.Shape(), held.Sharding(), held.Shards()[:1]...); err != nil {
				return err
			}
		}
		return orbax.LoadInto(t.Context(), path, map[string]any{"w": held}, handOver(g))
	})
	wantAll(t, errs, 1, orbax.ErrShape)
}

// Processes that load different checkpointables do not mix them.
func TestHandOverItems(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	must(t, orbax.SaveCheckpointables(t.Context(), path, map[string]any{"x": map[string]any{"w": count(8)}, "y": map[string]any{"w": count(8)}}))
	errs := together(2, func(g *coord.Group) error {
		_, err := orbax.Load(t.Context(), path, handOver(g), orbax.Name([]string{"x", "y"}[g.Rank()]))
		return err
	})
	wantAll(t, errs, 1, orbax.ErrStructure)
}

// The loads of a run refuse the option.
func TestHandOverRun(t *testing.T) {
	g := coord.InProcess(1)[0]
	dir := t.TempDir() + "/run"
	for _, o := range []training.Options{{Together: handOver(g)}, {LoadOptions: []orbax.LoadCheckpointablesOption{handOver(g)}}} {
		if _, err := training.New(t.Context(), dir, o); !errors.Is(err, orbax.ErrUsage) {
			t.Errorf("New: %v", err)
		}
	}
	c, err := training.New(t.Context(), dir, training.Options{})
	must(t, err)
	defer c.Close()
	_, err = c.Save(t.Context(), 1, map[string]any{"w": count(4)})
	must(t, err)
	if _, err := c.Load(t.Context(), 1, handOver(g)); !errors.Is(err, orbax.ErrUsage) {
		t.Errorf("Load: %v", err)
	}
	if _, err := c.Resume(t.Context(), &map[string]any{}, handOver(g)); !errors.Is(err, orbax.ErrUsage) {
		t.Errorf("Resume: %v", err)
	}
}
