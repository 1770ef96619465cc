package multihost_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
)

// way is a way to save: a new checkpoint or over an old one, by a rename or by a marker.
type way struct {
	name   string
	old    bool // a checkpoint is there
	marked bool // the store cannot rename
	async  bool
	opts   []orbax.SaveOption
}

var ways = []way{
	{name: "new"},
	{name: "over", old: true, opts: []orbax.SaveOption{orbax.Overwrite()}},
	{name: "marker", opts: []orbax.SaveOption{orbax.Atomicity(orbax.CommitFile)}},
	{name: "needs marker", marked: true},
	{name: "over one that needs a marker", old: true, marked: true, opts: []orbax.SaveOption{orbax.Overwrite()}},
	{name: "async", old: true, async: true, opts: []orbax.SaveOption{orbax.Overwrite()}},
}

// trial is a directory in which processes save a checkpoint in one of the ways.
type trial struct {
	*testing.T
	way
	dir, path string
	size      int
	before    map[string][]byte // the files in dir
	running   int               // goroutines before
}

func newTrial(t *testing.T, w way, size int) *trial {
	dir := t.TempDir()
	tr := &trial{T: t, way: w, dir: dir, path: filepath.Join(dir, "ckpt"), size: size}
	if w.old {
		must(t, orbax.Save(t.Context(), tr.path, tr.state(1, nil)))
	}
	tr.before = orbaxtest.ReadFiles(t, dir)
	tr.running = runtime.NumGoroutine()
	return tr
}

// state returns what a process of the group saves of a version. Without a group it is whole.
func (tr *trial) state(version int, g *coord.Group) map[string]any {
	w := count(24, 10)
	w.Bytes()[0] = byte(version)
	state := map[string]any{"step": version, "b": w, "split": w, "all": w}
	if g != nil {
		m := mesh(1, tr.size)
		state["split"] = part(tr, w, sharding.Named(m, sharding.PartitionSpec{{"y"}}), g)
		state["all"] = part(tr, w, sharding.Named(m, nil), g)
	}
	return state
}

// save saves a version by one process.
func (tr *trial) save(ctx context.Context, g *coord.Group, store storage.Store, version int) error {
	if tr.marked {
		store = failstore.NewMarked(store)
	}
	opts := append([]orbax.SaveOption{orbax.In(store), multihost.Together{Group: g}}, tr.opts...)
	if !tr.async {
		return orbax.Save(ctx, tr.path, tr.state(version, g), opts...)
	}
	resp, err := orbax.SaveAsync(ctx, tr.path, tr.state(version, g), opts...)
	if err != nil {
		return err
	}
	return resp.Result(context.WithoutCancel(ctx))
}

// run calls f in each process.
func (tr *trial) run(groups []*coord.Group, f func(g *coord.Group) error) []error {
	errs := make([]error, len(groups))
	var all sync.WaitGroup
	for rank, g := range groups {
		all.Go(func() { errs[rank] = f(g) })
	}
	all.Wait()
	return errs
}

// wantVersion fails unless the path has a version of the state, complete. Version 0 is none.
func (tr *trial) wantVersion(version int) {
	tr.Helper()
	got, err := orbax.Load(context.Background(), tr.path)
	if version == 0 {
		if !errors.Is(err, orbax.ErrNotExist) {
			tr.Errorf("nothing has been saved, but a load gives %v, %v", got, err)
		}
		return
	}
	if err == nil {
		err = orbax.Verify(context.Background(), tr.path)
	}
	if err != nil {
		tr.Errorf("version %d: %v", version, err)
		return
	}
	for name, want := range tr.state(version, nil) {
		a, isArray := want.(*array.Array)
		v := got.(map[string]any)[name]
		if isArray && !a.Equal(v.(*array.Array)) || !isArray && fmt.Sprint(v) != fmt.Sprint(want) {
			tr.Errorf("%s is %v; want version %d", name, v, version)
		}
	}
}

// wantNothingLeft fails if a save that has failed has left a change.
func (tr *trial) wantNothingLeft() {
	tr.Helper()
	after := orbaxtest.ReadFiles(tr, tr.dir)
	if !maps.EqualFunc(tr.before, after, slices.Equal[[]byte]) {
		tr.Errorf("before %q, after %q", slices.Sorted(maps.Keys(tr.before)), slices.Sorted(maps.Keys(after)))
	}
	tr.wantNothingElse()
}

// wantNothingElse fails if more is in the directory than the checkpoint.
func (tr *trial) wantNothingElse() {
	tr.Helper()
	if names := orbaxtest.Names(tr, tr.dir); len(names) > 1 || len(names) == 1 && names[0] != "ckpt" {
		tr.Errorf("%q are left", names)
	}
}

// wantNoGoroutines fails if goroutines are left.
func (tr *trial) wantNoGoroutines() {
	tr.Helper()
	for range 200 {
		if runtime.NumGoroutine() <= tr.running {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	tr.Errorf("%d goroutines are left: %s", runtime.NumGoroutine()-tr.running, stacks[:runtime.Stack(stacks, true)])
}

// wantFailure fails unless the error names the failure of a process.
func (tr *trial) wantFailure(rank, culprit int, err error) {
	tr.Helper()
	shared := new(coord.Error)
	if !errors.As(err, &shared) {
		tr.Errorf("process %d: %v; want a coord.Error", rank, err)
		return
	}
	// The others know of process 0 only that its outcome does not come.
	outcome := fmt.Sprintf("the outcome of process %d", culprit)
	for _, f := range shared.Failures {
		if f.Rank == culprit || strings.Contains(f.Err.Error(), outcome) {
			return
		}
	}
	tr.Errorf("process %d: %v; want that process %d has failed", rank, err, culprit)
}

// wantSuccess fails unless another save by the groups works, which replaces what is there.
func (tr *trial) wantSuccess(groups []*coord.Group, version int) {
	tr.Helper()
	tr.opts = []orbax.SaveOption{orbax.Overwrite()}
	for rank, err := range tr.run(groups, func(g *coord.Group) error { return tr.save(tr.Context(), g, storage.Local(), version) }) {
		if err != nil {
			tr.Errorf("the next save: process %d: %v", rank, err)
		}
	}
	tr.wantVersion(version)
	tr.wantNothingElse()
}

// wantOutcome fails unless the save of version 2 has one outcome: nothing has changed, or the
// checkpoint is in place, and each process but the culprit knows that if it can know it.
// Without a change the errors of the others name the culprit.
func (tr *trial) wantOutcome(culprit int, errs []error) (committed bool) {
	tr.Helper()
	after := orbaxtest.ReadFiles(tr, tr.dir)
	committed = !maps.EqualFunc(tr.before, after, slices.Equal[[]byte])
	for rank, err := range errs {
		knows := rank != culprit && (committed || err == nil)
		shared := new(coord.Error)
		errors.As(err, &shared)
		switch {
		case rank == culprit && (err != nil || committed):
		case knows && !committed:
			tr.Errorf("process %d has no error, but the checkpoint is not in place", rank)
		case knows && !shared.Unknown && err != nil && !errors.Is(err, orbax.ErrInPlace):
			tr.Errorf("process %d: %v; the checkpoint is in place", rank, err)
		case err != nil:
			tr.wantFailure(rank, culprit, err)
		}
		if errors.Is(err, orbax.ErrInPlace) && !committed {
			tr.Errorf("process %d: %v; it is not", rank, err)
		}
	}
	if committed {
		tr.wantVersion(2)
		tr.wantNothingElse()
	} else {
		tr.wantNothingLeft()
	}
	return committed
}
