package training_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// smallState is a state whose numbers say its step.
type smallState struct {
	W    []int32 `orbax:"w"`
	Step int     `orbax:"step"`
}

func smallOf(step int) *smallState {
	s := &smallState{make([]int32, 500), step}
	for i := range s.W {
		s.W[i] = int32(step*1000 + i)
	}
	return s
}

func (s *smallState) check(step int) error {
	if want := smallOf(step); s.Step != step || !slices.Equal(s.W, want.W) {
		return fmt.Errorf("not the state of step %d, but of %d", step, s.Step)
	}
	return nil
}

func saveSmall(t *testing.T, c *training.Checkpointer, steps ...int) {
	t.Helper()
	for _, n := range steps {
		if saved, err := c.Save(t.Context(), n, smallOf(n)); err != nil || !saved {
			t.Fatalf("step %d: saved %t, %v", n, saved, err)
		}
	}
}

// smallSteps returns the steps at a root, after it has checked each.
func smallSteps(t *testing.T, root string, store storage.Store) (steps []int) {
	t.Helper()
	all, err := training.Steps(t.Context(), root, training.ReadOptions{Store: store})
	if err != nil && !errors.Is(err, orbax.ErrNotExist) {
		t.Error(err)
	}
	for _, at := range all {
		steps = append(steps, at.Step)
		var s smallState
		err := orbax.Verify(t.Context(), at.Path, orbax.In(store))
		if err == nil {
			err = orbax.LoadInto(t.Context(), at.Path, &s, orbax.In(store))
		}
		if err == nil {
			err = s.check(at.Step)
		}
		if err != nil {
			t.Error(err)
		}
	}
	return steps
}

// faulty is a bucket whose requests fail as a test wants.
type faulty struct {
	mu     sync.Mutex
	left   int     // requests until the process is dead; -1: it lives
	chance float64 // of a request that fails once
	away   bool
}

var errDead = errors.New("the process is dead")

func (f *faulty) fail(op, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.left == 0:
		return errDead
	case f.left > 0:
		f.left--
	}
	if f.away || rand.Float64() < f.chance {
		return &object.Error{Op: op, Key: key, Message: "out of reach", Temporary: true}
	}
	return nil
}

func (f *faulty) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *faulty) over(b object.Bucket) storage.Store {
	return bucketStore(&failstore.Bucket{Bucket: b, Fail: f.fail})
}

// multiples returns the multiples of interval up to last, and the newest n steps.
func multiples(interval, last, n int) (steps []int) {
	for i := range last + 1 {
		if i%interval == 0 || i > last-n {
			steps = append(steps, i)
		}
	}
	return steps
}

// The copying is ended at any request, as by the death of the process. The next
// Checkpointer of the run goes on, and at the end the mirror has exactly the steps that it
// is to have.
func TestMirrorWhoseProcessDies(t *testing.T) {
	t.Parallel()
	bucket := membucket.New()
	root := filepath.Join(t.TempDir(), "run")
	options := func(store storage.Store) training.Options {
		return training.Options{
			Preservation: training.LatestN{N: 2},
			Mirror: training.Mirror{
				Root: "run", Store: store, MaxHeld: 1000, Patience: -1,
				Preservation: training.AnyPreservationPolicy{training.LatestN{N: 3}, training.EveryNSteps{Interval: 5}},
			},
		}
	}
	last := -1
	for round := range testenv.Pick(200, 50) {
		f := &faulty{left: -1}
		c := openRun(t, root, options(f.over(bucket)))
		var s smallState
		n, err := c.Resume(t.Context(), &s)
		if n != last || last >= 0 && err != nil {
			t.Fatalf("resumed %d, %v, want %d", n, err, last)
		}
		if n >= 0 && s.check(n) != nil {
			t.Fatal(s.check(n))
		}
		f.set(func() { f.left, f.chance = rand.N(80), 0.02 })
		for range rand.N(3) {
			last++
			saveSmall(t, c, last)
			time.Sleep(rand.N(10 * time.Millisecond))
		}
		time.Sleep(rand.N(20 * time.Millisecond))
		f.set(func() { f.left = 0 })
		c.Close()
		if round%5 == 0 {
			smallSteps(t, "run", bucketStore(bucket)) // a reader finds only steps that are whole
		}
	}
	c := openRun(t, root, options(bucketStore(bucket)))
	waitMirror(t, c)
	want := multiples(5, last, 3)
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		left := temporaries(bucket.Keys())
		steps, err := training.Steps(t.Context(), "run", training.ReadOptions{Store: bucketStore(bucket)})
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 && len(steps) == len(want) {
			break // otherwise the claim of a dead writer has not ended yet
		}
		if time.Now().After(deadline) {
			t.Errorf("left in the bucket: %q", left)
			break
		}
	}
	if got := smallSteps(t, "run", bucketStore(bucket)); !slices.Equal(got, want) {
		t.Errorf("the mirror has %v, want %v", got, want)
	}
	if s := c.MirrorStatus(); s.GivenUp > 0 || len(s.Refused) > 0 {
		t.Errorf("status %+v", s)
	}
	for _, key := range bucket.Keys() {
		var n int
		if _, err := fmt.Sscanf(key, "run/%d/", &n); err != nil || !slices.Contains(want, n) {
			t.Errorf("the bucket has %s", key)
		}
	}
	if n := bucket.Uploads(); n > 0 {
		t.Errorf("%d uploads have not ended", n)
	}
}

// temporaries returns the keys of temporary objects.
func temporaries(keys []string) []string {
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.Contains(key, storage.TempMarker) })
}

// A run whose disk is lost again and again never goes back behind what the mirror had.
func TestMirrorOfADiskThatIsLost(t *testing.T) {
	t.Parallel()
	bucket := membucket.New()
	had := -1
	for range testenv.Pick(100, 15) {
		f := &faulty{left: -1}
		c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{Mirror: training.Mirror{
			Root: "run", Store: f.over(bucket), Preservation: training.LatestN{N: 2}, Patience: -1,
		}})
		var s smallState
		n, err := c.Resume(t.Context(), &s)
		if n < had || n >= 0 && (err != nil || s.check(n) != nil) {
			t.Fatalf("resumed %d, %v, and the mirror had %d", n, err, had)
		}
		f.set(func() { f.left, f.chance = 60+rand.N(300), 0.02 })
		for range 3 {
			n++
			saveSmall(t, c, n)
			time.Sleep(rand.N(60 * time.Millisecond))
		}
		had = max(had, c.MirrorStatus().Newest)
		f.set(func() { f.left = 0 })
		c.Close()
	}
	if had < 5 {
		t.Errorf("the mirror got only to step %d", had)
	}
}

// While the bucket is out of reach saves succeed, at most MaxHeld steps stay that the run
// does not keep, and the status reports it. Then the mirror gets what is left.
func TestMirrorOutOfReach(t *testing.T) {
	t.Parallel()
	bucket := membucket.New()
	f := &faulty{left: -1}
	root := filepath.Join(t.TempDir(), "run")
	o := training.Options{
		Preservation: training.LatestN{N: 1},
		Mirror:       training.Mirror{Root: "run", Store: f.over(bucket), MaxHeld: 3, Patience: 300 * time.Millisecond},
	}
	c := openRun(t, root, o)
	saveSmall(t, c, 0)
	waitMirror(t, c)
	f.set(func() { f.away = true })
	saveSmall(t, c, 1, 2, 3, 4, 5, 6)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if got := smallSteps(t, root, nil); !slices.Equal(got, []int{3, 4, 5, 6}) {
		t.Errorf("the root has %v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 800*time.Millisecond)
	defer cancel()
	if err := c.WaitMirror(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "4 steps") {
		t.Errorf("wait: %v", err)
	}
	s := c.MirrorStatus()
	if s.Newest != 0 || !slices.Equal(s.Waiting, []int{3, 4, 5, 6}) || s.Bytes < 4*2000 || s.GivenUp != 2 || s.Err == nil {
		t.Errorf("status %+v", s)
	}
	start := time.Now()
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "4 steps") || time.Since(start) > 5*time.Second {
		t.Errorf("close: %v, after %v", err, time.Since(start))
	}
	if err := c.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	if _, err := training.New(t.Context(), root, o); err == nil || !strings.Contains(err.Error(), "the mirror run cannot be read") {
		t.Errorf("a new Checkpointer: %v", err)
	}
	f.set(func() { f.away = false })
	c = openRun(t, root, o)
	if err := c.Close(); err != nil { // waits
		t.Error(err)
	}
	if got := smallSteps(t, "run", bucketStore(bucket)); !slices.Equal(got, []int{0, 3, 4, 5, 6}) {
		t.Errorf("the mirror has %v", got)
	}
}

// A step that is damaged before it is copied is not in the mirror, and the status says so.
func TestDamagedStepIsNotMirrored(t *testing.T) {
	t.Parallel()
	eachMirror(t, func(t *testing.T, m training.Mirror) {
		root := filepath.Join(t.TempDir(), "run")
		c := openRun(t, root, training.Options{Sharing: training.Sharing{Off: true}})
		mustSave(t, c, 1, 2)
		damageArrays(t, filepath.Join(root, "2"))
		c = openRun(t, root, training.Options{Mirror: m})
		if err := c.WaitMirror(t.Context()); !errors.Is(err, orbax.ErrCorrupt) {
			t.Errorf("wait: %v", err)
		}
		wantMirror(t, m, 1)
		if s := c.MirrorStatus(); !errors.Is(s.Refused[2], orbax.ErrCorrupt) || len(s.Waiting) > 0 {
			t.Errorf("status %+v", s)
		}
		// The run goes on from the step before, and saves step 2 again.
		if n, err := c.Resume(t.Context(), new(runState)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		mustSave(t, c, 2)
		waitMirror(t, c)
		wantMirror(t, m, 1, 2)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A step that the mirror has is left alone. Another one with its number is not replaced,
// unless the run says so.
func TestMirrorHasAnotherStep(t *testing.T) {
	t.Parallel()
	eachMirror(t, func(t *testing.T, m training.Mirror) {
		dir := t.TempDir()
		c := openRun(t, filepath.Join(dir, "a"), training.Options{Mirror: m})
		mustSave(t, c, 1, 2)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		place, err := mirrorPlace(t, m)
		if err != nil {
			t.Fatal(err)
		}
		before := readAll(t, place.Join("2"))
		b := openRun(t, filepath.Join(dir, "b"), training.Options{})
		mustSave(t, b, 2, 3)
		c = openRun(t, filepath.Join(dir, "b"), training.Options{Mirror: m})
		if err := c.WaitMirror(t.Context()); !errors.Is(err, orbax.ErrExist) {
			t.Errorf("wait: %v", err)
		}
		wantMirror(t, m, 1, 2, 3)
		for name, data := range readAll(t, place.Join("2")) {
			if before[name] != data {
				t.Errorf("%s was changed", name)
			}
		}
		if s := c.MirrorStatus(); !errors.Is(s.Refused[2], orbax.ErrExist) || len(s.Refused) != 1 {
			t.Errorf("status %+v", s)
		}
		if saved, err := c.Save(t.Context(), 3, stateOf(3), orbax.Overwrite()); !saved || err != nil {
			t.Fatal(saved, err)
		}
		if saved, err := c.Save(t.Context(), 2, stateOf(2), orbax.Overwrite(), training.Force()); !saved || err != nil {
			t.Fatal(saved, err)
		}
		waitMirror(t, c)
		wantMirror(t, m, 1, 2, 3)
		for _, n := range []string{"2", "3"} {
			own, theirs := readAll(t, storage.At(storage.Local(), dir+"/b/"+n)), readAll(t, place.Join(n))
			if own["_CHECKPOINT_METADATA"] != theirs["_CHECKPOINT_METADATA"] {
				t.Errorf("step %s was not replaced", n)
			}
		}
	})
}

// A save for which the disk has no room removes the steps that only wait.
func TestMirrorMakesRoom(t *testing.T) {
	t.Parallel()
	f := &faulty{left: -1}
	root := filepath.Join(t.TempDir(), "run")
	store := &roomStore{Store: storage.Local(), root: root}
	c := openRun(t, root, training.Options{
		Store:        store,
		Preservation: training.LatestN{N: 1},
		Mirror:       training.Mirror{Root: "run", Store: f.over(membucket.New()), Patience: -1},
	})
	f.set(func() { f.away = true })
	saveSmall(t, c, 1, 2, 3)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if got := smallSteps(t, root, nil); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("the root has %v", got)
	}
	store.most = 2
	saveSmall(t, c, 4)
	if s := c.MirrorStatus(); s.GivenUp != 2 {
		t.Errorf("status %+v", s)
	}
}

// roomStore has room while there are fewer than most steps.
type roomStore struct {
	storage.Store
	root string
	most int
}

func (s *roomStore) Room(context.Context, string) (int64, error) {
	steps, err := filepath.Glob(filepath.Join(s.root, "?"))
	if s.most > 0 && len(steps) >= s.most {
		return 0, err
	}
	return 1 << 30, err
}

// A mirror that hangs makes no call of the loop wait.
func TestMirrorThatHangs(t *testing.T) {
	t.Parallel()
	var hang sync.RWMutex
	b := &failstore.Bucket{Bucket: membucket.New(), Fail: func(string, string) error {
		hang.RLock()
		defer hang.RUnlock()
		return nil
	}}
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{
		Preservation: training.LatestN{N: 1},
		Mirror:       training.Mirror{Root: "run", Store: bucketStore(b)},
	})
	saveSmall(t, c, 0)
	waitMirror(t, c)
	hang.Lock()
	start := time.Now()
	for n := 1; n <= 10; n++ {
		resp, err := c.SaveAsync(t.Context(), n, smallOf(n))
		if err != nil {
			t.Fatal(err)
		}
		if saved, err := resp.Result(t.Context()); !saved || err != nil {
			t.Fatal(saved, err)
		}
		if should, err := c.ShouldSave(n + 1); !should || err != nil {
			t.Error(should, err)
		}
		if at, ok := c.Latest(); !ok || at.Step != n {
			t.Errorf("the newest is %v", at)
		}
		if s := c.MirrorStatus(); len(s.Waiting) != n {
			t.Errorf("status %+v", s)
		}
	}
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.LoadInto(t.Context(), 10, new(smallState)); err != nil {
		t.Error(err)
	}
	t.Log("10 saves took", time.Since(start))
	hang.Unlock()
	waitMirror(t, c)
	if got := smallSteps(t, "run", bucketStore(b)); len(got) != 11 {
		t.Errorf("the mirror has %v", got)
	}
}

// A group has no mirror.
func TestMirrorOfAGroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for rank, err := range inGroup(t, 2, func(ctx context.Context, g *coord.Group) error {
		_, err := openGroup(ctx, filepath.Join(dir, "run"), g, training.Options{Mirror: training.Mirror{Root: filepath.Join(dir, "mirror")}})
		return err
	}) {
		if !errors.Is(err, orbax.ErrUsage) || !strings.Contains(err.Error(), "cannot have a mirror") {
			t.Errorf("process %d: %v", rank, err)
		}
	}
}
