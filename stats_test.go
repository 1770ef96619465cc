package orbax_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/ckdir"
	saving "github.com/go-orbax/orbax/internal/save"
)

func TestReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	w := array.Of(make([]float32, 1<<20), 1024, 1024)
	state := map[string]any{"w": w, "tied": w, "step": 3, "name": "x"}
	var s orbax.Stats
	if err := orbax.Save(t.Context(), path, state, orbax.Report(&s)); err != nil {
		t.Fatal(err)
	}
	const bytes = 2*4<<20 + 8
	if s.Op != "save" || s.Phase != orbax.PhaseDone || s.Arrays != 3 || s.Bytes != bytes || s.Shared != 4<<20 || s.Copied != 0 || s.Files < 8 {
		t.Errorf("saved: got %#v; want a save that is done, 3 arrays of %d bytes, %d of them shared and none copied, 8 files or more", s, bytes, 4<<20)
	}
	if s.Leaf != "w" && s.Leaf != "tied" {
		t.Errorf("the data of %q was moved last", s.Leaf)
	}
	if s.Moved < 4<<20 || s.Moved > 5<<20 || s.Planned < s.Moved {
		t.Errorf("moved %d of %d bytes, want from %d to %d and no more than planned", s.Moved, s.Planned, 4<<20, 5<<20)
	}
	if sum := s.Prepare + s.Snapshot + s.Transfer + s.Commit; sum != s.Elapsed || s.Transfer <= 0 || s.Commit <= 0 || s.Snapshot != 0 {
		t.Errorf("the phases took %v of %v: prepare %v, snapshot %v, transfer %v, commit %v; want all of it, and no snapshot",
			sum, s.Elapsed, s.Prepare, s.Snapshot, s.Transfer, s.Commit)
	}
	if err := orbax.LoadInto(t.Context(), path, &state, orbax.Report(&s)); err != nil {
		t.Fatal(err)
	}
	if s.Leaf == "" {
		t.Error("no leaf was loaded last")
	}
	if s.Op != "load" || s.Phase != orbax.PhaseDone || s.Arrays != 3 || s.Bytes != bytes || s.Moved < 8<<20 || s.Planned < s.Moved || s.Files == 0 {
		t.Errorf("loaded: got %#v; want a load that is done, 3 arrays of %d bytes, %d of them moved or more, no fewer planned, and files", s, bytes, 8<<20)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("done", "stats", s)
	for _, text := range []string{"stats.op=load", "stats.arrays=3", "stats.bytes=8388616", "stats.elapsed="} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log lacks %s: %s", text, &log)
		}
	}
	if text := s.String(); !strings.HasPrefix(text, "load: 3 arrays of 8.0 MiB; moved 8.0 MiB in ") || s.Err != nil {
		t.Error(text)
	}
	s = orbax.Stats{}
	if err := orbax.LoadInto(t.Context(), path, &state, orbax.Report(&s), orbax.Name("none")); err == nil || s.Op != "load" || s.Phase != orbax.PhaseDone || s.Err == nil {
		t.Errorf("got %v, %#v; want an error, and a load that is done with one", err, s)
	}
	s = orbax.Stats{}
	if err := orbax.Save(t.Context(), path, state, orbax.Report(&s)); err == nil || s.Op != "save" || s.Phase != orbax.PhaseDone || !errors.Is(s.Err, orbax.ErrExist) || !strings.Contains(s.String(), "failed: ") {
		t.Errorf("got %v, %#v, %q; want ErrExist, and a save that is done with it", err, s, s)
	}
	ck, err := orbax.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if _, err := ck.Tree(t.Context(), orbax.Report(&s)); !errors.Is(err, orbax.ErrUsage) {
		t.Errorf("a report of what loads nothing: %v", err)
	}
}

func TestProgress(t *testing.T) {
	before := runtime.NumGoroutine()
	path := filepath.Join(t.TempDir(), "ck")
	var mu sync.Mutex
	var seen []orbax.Stats
	progress := orbax.Progress(func(s orbax.Stats) {
		if !mu.TryLock() {
			t.Error("called twice at a time")
			return
		}
		defer mu.Unlock()
		seen = append(seen, s)
	})
	slow := &slowReader{array.Of(make([]float32, 1000)), 500 * time.Millisecond}
	if err := orbax.Save(t.Context(), path, map[string]any{"w": slow}, progress); err != nil {
		t.Fatal(err)
	}
	if n := len(seen); n < 2 || seen[n-1].Phase != orbax.PhaseDone || seen[0].Phase != orbax.PhaseTransfer || seen[0].Elapsed <= 0 {
		t.Errorf("reported %#v; want a transfer that has begun first, and the end last", seen)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// slowReader takes some time to be read.
type slowReader struct {
	array *array.Array
	time  time.Duration
}

func (s *slowReader) DType() array.DType { return s.array.DType() }
func (s *slowReader) Shape() []int       { return s.array.Shape() }

func (s *slowReader) ReadRegion(ctx context.Context, dst []byte, off, size []int) error {
	time.Sleep(s.time)
	return s.array.ReadRegion(ctx, dst, off, size)
}

func TestBudget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	a := ramp(1 << 20)
	if err := orbax.Save(t.Context(), path, map[string]any{"a": a}, orbax.Budget(1)); err != nil {
		t.Fatal(err)
	}
	got, err := orbax.LoadAs[map[string]*array.Array](t.Context(), path, orbax.Budget(1))
	if err != nil || !bytes.Equal(got["a"].Bytes(), a.Bytes()) {
		t.Errorf("%v", err)
	}
}

// saveAndChange saves a state in the background, changes it at once, and returns
// what the checkpoint has.
func saveAndChange(t *testing.T, state map[string]*array.Array, options ...orbax.SaveOption) (map[string]*array.Array, orbax.Stats) {
	t.Helper()
	var s orbax.Stats
	path := filepath.Join(t.TempDir(), "ck")
	r, err := orbax.SaveAsync(t.Context(), path, state, append(options, orbax.Report(&s))...)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range state {
		if !a.Frozen() {
			clear(a.Bytes())
		}
	}
	if err := r.Result(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := orbax.LoadAs[map[string]*array.Array](t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return got, s
}

func ramp(n int) *array.Array {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)
	}
	return array.Of(v)
}

func TestSnapshots(t *testing.T) {
	var m orbax.SnapshotMemory
	for _, n := range []int{1000, 1 << 20, 1 << 20, 10} {
		w := ramp(n)
		frozen := ramp(5)
		state := map[string]*array.Array{"w": w, "tied": w, "frozen": frozen.Freeze(), "alias": frozen.Freeze(), "same": w}
		got, s := saveAndChange(t, state, orbax.ReuseSnapshot(&m))
		want := ramp(n).Bytes()
		if !bytes.Equal(got["w"].Bytes(), want) || !bytes.Equal(got["tied"].Bytes(), want) || !bytes.Equal(got["frozen"].Bytes(), ramp(5).Bytes()) {
			t.Errorf("%d elements were not saved as they were", n)
		}
		if s.Copied != int64(len(want)) || s.Snapshot <= 0 {
			t.Errorf("copied %d bytes, want %d: %+v", s.Copied, len(want), s)
		}
		if n > 1000 && s.Shared != 2*int64(len(want)) || n < 100 && s.Shared != 0 { // small ones lie in the index
			t.Errorf("shared %d bytes", s.Shared)
		}
	}
	m.Free()
	state := map[string]*array.Array{"w": ramp(100).Freeze(), "v": ramp(3).Freeze()}
	if _, s := saveAndChange(t, state); s.Copied != 0 {
		t.Errorf("frozen arrays were copied: %+v", s)
	}
	var s orbax.Stats
	r, err := orbax.SaveAsync(t.Context(), filepath.Join(t.TempDir(), "ck"), ramp(1<<18), orbax.Immutable(), orbax.Report(&s))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Result(t.Context()); err != nil || s.Copied != 0 {
		t.Errorf("%v, %+v", err, s)
	}
}

// tensor is memory of another package, which can hand over a copy of itself.
type tensor struct {
	array *array.Array
	wrong bool
}

func (x *tensor) DType() array.DType { return x.array.DType() }
func (x *tensor) Shape() []int       { return x.array.Shape() }

func (x *tensor) ReadRegion(ctx context.Context, dst []byte, off, size []int) error {
	return x.array.ReadRegion(ctx, dst, off, size)
}

func (x *tensor) Snapshot(context.Context) (array.Reader, error) {
	b := bytes.Clone(x.array.Bytes())
	if x.wrong {
		return array.New(x.DType(), []int{len(b) / x.DType().Size(), 1}, b)
	}
	return array.New(x.DType(), x.Shape(), b)
}

func TestSnapshotter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	x := &tensor{array: ramp(100)}
	var s orbax.Stats
	r, err := orbax.SaveAsync(t.Context(), path, map[string]any{"x": x}, orbax.Report(&s))
	if err != nil {
		t.Fatal(err)
	}
	clear(x.array.Bytes())
	if err := r.Result(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := orbax.LoadAs[map[string][]float32](t.Context(), path)
	if err != nil || got["x"][99] != 99 || s.Copied != 0 {
		t.Errorf("%v, %v, %+v", got, err, s)
	}
	x.wrong = true
	_, err = orbax.SaveAsync(t.Context(), path+"2", map[string]any{"x": x})
	var leaf *orbax.LeafError
	if !errors.As(err, &leaf) || leaf.Path != "x" || !errors.Is(err, orbax.ErrShape) {
		t.Errorf("a snapshot of another shape: %v", err)
	}
}

// sharing makes a save one that shares with the checkpoint at base.
type sharing struct {
	base  string
	reuse *ckdir.Reuse
}

func (o sharing) ApplySave(c *saving.Config) { c.Step.Base, c.Step.Reuse = o.base, o.reuse }
func (sharing) ForCheckpointables()          {}

// A save that shares tells what looking for equal content took, and what it found.
func TestReportSharing(t *testing.T) {
	top := t.TempDir()
	state := map[string]any{"w": array.Of(make([]float32, 1<<18), 1<<18), "step": 1}
	base := ""
	for step := range 2 {
		option := sharing{base, &ckdir.Reuse{Problem: func(err error) { t.Error(err) }}}
		var s orbax.Stats
		path := filepath.Join(top, fmt.Sprint(step))
		if err := orbax.SaveCheckpointables(t.Context(), path, map[string]any{"state": state}, option, orbax.Report(&s)); err != nil {
			t.Fatal(err)
		}
		if s.Digest <= 0 || s.Transfer <= 0 || s.Prepare+s.Digest+s.Transfer+s.Commit != s.Elapsed {
			t.Errorf("%+v", s)
		}
		if want := int64(step) << 20; s.Shared != want || s.Bytes != 1<<20+8 || s.Moved > 5<<18-want {
			t.Errorf("step %d: %+v", step, s)
		}
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("done", "stats", s)
		if !strings.Contains(log.String(), "stats.digest=") {
			t.Error(&log)
		}
		if err := orbax.Verify(t.Context(), path); err != nil {
			t.Error(err)
		}
		base = path
	}
}
