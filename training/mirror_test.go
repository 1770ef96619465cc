package training_test

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
	"github.com/go-orbax/orbax/training"
)

// mirrors are the kinds of mirrors: an empty one of each.
var mirrors = map[string]func(t *testing.T) training.Mirror{
	"bucket": func(*testing.T) training.Mirror {
		return training.Mirror{Root: "run", Store: bucketStore(membucket.New())}
	},
	"directory": func(t *testing.T) training.Mirror {
		return training.Mirror{Root: filepath.Join(t.TempDir(), "mirror")}
	},
}

// bucketStore is a store in which dead writers are known to be dead after a short time.
func bucketStore(b object.Bucket) storage.Store {
	return object.New(b, object.Options{Lease: 300 * time.Millisecond, Patience: 200 * time.Millisecond})
}

func eachMirror(t *testing.T, test func(t *testing.T, m training.Mirror)) {
	for name, mirror := range mirrors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, mirror(t))
		})
	}
}

// wantMirror demands that a mirror has exactly these steps, each of them whole.
func wantMirror(t *testing.T, m training.Mirror, want ...int) {
	t.Helper()
	var got []int
	steps, err := training.Steps(t.Context(), m.Root, training.ReadOptions{Store: m.Store})
	if err != nil && len(want) > 0 {
		t.Error(err)
	}
	for _, at := range steps {
		got = append(got, at.Step)
		if err := orbax.Verify(t.Context(), at.Path, orbax.In(m.Store)); err != nil {
			t.Error(err)
		}
		var s runState
		if err := orbax.LoadInto(t.Context(), at.Path, &s, orbax.In(m.Store)); err != nil {
			t.Error(err)
		} else if err := s.check(at.Step); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the mirror has steps %v, want %v", got, want)
	}
	place, err := mirrorPlace(t, m)
	if err != nil {
		t.Fatal(err)
	}
	infos, err := place.List(t.Context())
	if err != nil && len(want) > 0 {
		t.Error(err)
	}
	for _, info := range infos {
		if strings.Contains(info.Name, storage.TempMarker) {
			t.Errorf("the mirror has %s", info.Name)
		}
	}
}

func mirrorPlace(t *testing.T, m training.Mirror) (storage.Location, error) {
	if m.Store == nil {
		return storage.Resolve(t.Context(), m.Root)
	}
	return storage.At(m.Store, m.Root), nil
}

// waitMirror waits until a mirror has all that it is to have.
func waitMirror(t *testing.T, c *training.Checkpointer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.WaitMirror(ctx); err != nil {
		t.Error(err)
	}
}

// A mirror has the steps that its own policy keeps, and the root of the run those of the
// run's.
func TestMirrorHasItsOwnRetention(t *testing.T) {
	t.Parallel()
	eachMirror(t, func(t *testing.T, m training.Mirror) {
		root := filepath.Join(t.TempDir(), "run")
		m.Preservation = training.EveryNSteps{Interval: 3}
		c := openRun(t, root, training.Options{Mirror: m, Preservation: training.LatestN{N: 2}, CustomMetadata: map[string]any{"lr": 1}})
		mustSave(t, c, 0, 1, 2, 3, 4, 5, 6, 7)
		waitMirror(t, c)
		wantMirror(t, m, 0, 3, 6, 7)
		if s := c.MirrorStatus(); s.Newest != 7 || len(s.Waiting) > 0 || s.Bytes != 0 || s.Err != nil || s.GivenUp != 0 {
			t.Errorf("status %+v", s)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		all, err := training.Steps(t.Context(), root, training.ReadOptions{})
		if err != nil || len(all) != 2 || all[0].Step != 6 {
			t.Errorf("the root has %v, %v", all, err)
		}
		meta, err := training.Metadata(t.Context(), m.Root, training.ReadOptions{Store: m.Store})
		if err != nil || meta.Custom["lr"] != 1 {
			t.Errorf("the metadata of the mirror: %v, %v", meta, err)
		}
		if latest, err := training.Latest(t.Context(), m.Root, training.ReadOptions{Store: m.Store}); err != nil || latest.Step != 7 {
			t.Errorf("the newest in the mirror: %v, %v", latest, err)
		}
	})
}

// unmarked returns a digest file without the digest of the marker.
func unmarked(t *testing.T, digests string) string {
	t.Helper()
	d, err := layout.ParseDigests([]byte(digests))
	if err != nil {
		t.Fatal(err)
	}
	d.Forget(layout.CommitFile)
	return string(d.Document())
}

// A copy has the bytes of the step. In a bucket it has a marker of its own, whose digest is
// the only one that differs, and each checkpointable has a marker besides.
func TestMirrorCopiesBytes(t *testing.T) {
	t.Parallel()
	eachMirror(t, func(t *testing.T, m training.Mirror) {
		root := filepath.Join(t.TempDir(), "run")
		c := openRun(t, root, training.Options{Mirror: m})
		if _, err := c.Save(t.Context(), 1, stateOf(1), orbax.Metrics(map[string]any{"loss": 0.5})); err != nil {
			t.Fatal(err)
		}
		waitMirror(t, c)
		place, err := mirrorPlace(t, m)
		if err != nil {
			t.Fatal(err)
		}
		own, theirs := readAll(t, storage.At(storage.Local(), root+"/1")), readAll(t, place.Join("1"))
		for name, data := range own {
			same := theirs[name] == data
			switch {
			case m.Store != nil && name == "commit_success.txt":
				same = !same
			case m.Store != nil && name == "digests.sha256":
				same = unmarked(t, theirs[name]) == unmarked(t, data)
			}
			if !same {
				t.Errorf("%s differs in the mirror, or is the same and should not be", name)
			}
		}
		extra := 0
		for name := range theirs {
			if _, is := own[name]; !is {
				extra++
				if m.Store == nil || filepath.Base(name) != "commit_success.txt" {
					t.Errorf("the mirror has also %s", name)
				}
			}
		}
		if want := map[bool]int{false: 2, true: 0}[m.Store == nil]; extra != want {
			t.Errorf("the mirror has %d more files, want %d", extra, want)
		}
	})
}

// readAll returns the contents of all files of a directory.
func readAll(t *testing.T, at storage.Location) map[string]string {
	t.Helper()
	all := map[string]string{}
	infos, err := at.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Dir {
			for name, data := range readAll(t, at.Join(info.Name)) {
				all[info.Name+"/"+name] = data
			}
			continue
		}
		r, err := at.Store.Open(t.Context(), at.Join(info.Name).Name)
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, r.Size())
		if err := errors.Join(r.ReadAt(t.Context(), data, 0), r.Close()); err != nil {
			t.Fatal(err)
		}
		all[info.Name] = string(data)
	}
	return all
}

// A run whose disk is lost goes on from the mirror. It lists the steps of the mirror, loads
// them, and saves no step that the mirror has.
func TestResumeFromTheMirror(t *testing.T) {
	t.Parallel()
	eachMirror(t, func(t *testing.T, m training.Mirror) {
		dir := t.TempDir()
		c := openRun(t, filepath.Join(dir, "lost"), training.Options{Mirror: m, CustomMetadata: map[string]any{"lr": 1}})
		mustSave(t, c, 1, 2, 3)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = openRun(t, filepath.Join(dir, "new"), training.Options{Mirror: m})
		var s runState
		if n, err := c.Resume(t.Context(), &s); n != 3 || err != nil || s.check(3) != nil {
			t.Fatalf("resumed %d, %v", n, err)
		}
		if got := listed(c); !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("listed %v", got)
		}
		if at, _ := c.Latest(); !at.InMirror {
			t.Errorf("the newest is %+v", at)
		}
		if err := c.LoadInto(t.Context(), 2, &s); err != nil || s.check(2) != nil {
			t.Error(err)
		}
		if ck, err := c.Open(t.Context(), training.LatestStep); err != nil {
			t.Error(err)
		} else {
			ck.Close()
		}
		if meta, err := c.RootMetadata(t.Context()); err != nil || meta.Custom["lr"] != 1 {
			t.Errorf("metadata %v, %v", meta, err)
		}
		if _, err := c.Save(t.Context(), 3, stateOf(3)); !errors.Is(err, orbax.ErrExist) {
			t.Errorf("step 3 again: %v", err)
		}
		if _, err := c.Save(t.Context(), 2, stateOf(2)); !errors.Is(err, orbax.ErrExist) {
			t.Errorf("step 2 again: %v", err)
		}
		mustSave(t, c, 4)
		waitMirror(t, c)
		wantMirror(t, m, 1, 2, 3, 4)
		if n, err := c.Resume(t.Context(), &s); n != 4 || err != nil || s.check(4) != nil {
			t.Errorf("resumed %d, %v", n, err)
		}
		if err := c.Delete(t.Context(), 4); err != nil {
			t.Error(err)
		}
		if err := c.Delete(t.Context(), 1); err != nil {
			t.Error(err)
		}
		if err := c.Delete(t.Context(), 1); !errors.Is(err, orbax.ErrNotExist) {
			t.Error(err)
		}
		waitMirror(t, c)
		wantMirror(t, m, 2, 3)
	})
}

// If the newest step is damaged in one root, the other has it.
func TestDamageInOneOfTwoRoots(t *testing.T) {
	t.Parallel()
	eachMirror(t, func(t *testing.T, m training.Mirror) {
		root := filepath.Join(t.TempDir(), "run")
		c := openRun(t, root, training.Options{Mirror: m, Sharing: training.Sharing{Off: true}})
		mustSave(t, c, 1, 2)
		waitMirror(t, c)
		damageArrays(t, filepath.Join(root, "2"))
		var s runState
		if err := c.LoadInto(t.Context(), 2, &s); err != nil || s.check(2) != nil {
			t.Errorf("load: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = openRun(t, root, training.Options{Mirror: m})
		s = runState{}
		if n, err := c.Resume(t.Context(), &s); n != 2 || err != nil || s.check(2) != nil {
			t.Fatalf("resumed %d, %v", n, err)
		}
		mustSave(t, c, 3)
		waitMirror(t, c)
		wantMirror(t, m, 1, 2, 3)
	})
}

// damageArrays flips a bit in the largest file of a step.
func damageArrays(t *testing.T, step string) {
	t.Helper()
	var name string
	var size int64
	err := filepath.Walk(step, func(p string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && info.Size() > size {
			name, size = p, info.Size()
		}
		return err
	})
	data, rerr := os.ReadFile(name)
	if err := errors.Join(err, rerr); err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 4
	os.Remove(name) // other steps may share the file
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := orbax.Verify(t.Context(), step); !errors.Is(err, orbax.ErrCorrupt) {
		t.Fatalf("the damaged step: %v", err)
	}
}

// What does not go with a mirror is refused.
func TestMirrorsThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "run")
	store := bucketStore(membucket.New())
	for text, o := range map[string]training.Options{
		"has no Root":   {Mirror: training.Mirror{MaxHeld: 1}},
		"no Root":       {Mirror: training.Mirror{Preservation: training.CustomSteps{Steps: []int{1}}}},
		"or one is in":  {Store: store, Mirror: training.Mirror{Root: root + "/m", Store: store}},
		"MaxHeld":       {Mirror: training.Mirror{Root: dir + "/m", MaxHeld: -1}},
		"one directory": {Mirror: training.Mirror{Root: root}},
		"in the other":  {Mirror: training.Mirror{Root: root + "/m"}},
		"EveryNSteps":   {Mirror: training.Mirror{Root: "m", Store: store, Preservation: training.EveryNSteps{}}},
		"the mirror":    {Mirror: training.Mirror{Root: "nowhere://x/y"}},
	} {
		if c, err := training.New(t.Context(), root, o); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
			if c != nil {
				c.Close()
			}
		}
	}
}

// The roots of a run and its mirror are compared by where they are, however that is written.
func TestMirrorElsewhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		root, mirror string
		same         bool
	}{
		{"places://b/run", "PLACES://b/run/", true},
		{"places://b/run", "places://b//run/../run/m?x=1", true},
		{"places://b/a%62", "places://b/ab", true},
		{"places://b", "places://b/run", true},
		{"places://b/run", "places://b2/run", false},
		{"places://b/run", "places://b/run2", false},
	} {
		ck, err := training.New(t.Context(), c.root, training.Options{Mirror: training.Mirror{Root: c.mirror, Patience: -1}})
		if got := err != nil && strings.Contains(err.Error(), "are one directory"); got != c.same {
			t.Errorf("%s and %s: got %v", c.root, c.mirror, err)
		}
		if err == nil {
			if err := ck.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func init() {
	storage.Register("places", func(_ context.Context, u *url.URL) (storage.Store, string, error) {
		return bucketStore(membucket.New()), cmp.Or(strings.TrimPrefix(path.Clean("/"+u.Path), "/"), "."), nil
	})
}

// Two Checkpointers of a run may have the same mirror. Steps keep the names of the run.
func TestTwoCheckpointersWithOneMirror(t *testing.T) {
	t.Parallel()
	eachMirror(t, func(t *testing.T, m training.Mirror) {
		root := filepath.Join(t.TempDir(), "run")
		o := training.Options{Mirror: m, StepNameFormat: training.StandardNameFormat{Prefix: "ck", Length: 3}}
		mustSave(t, openRun(t, root, training.Options{StepNameFormat: o.StepNameFormat}), 1, 2)
		a, b := openRun(t, root, o), openRun(t, root, o)
		mustSave(t, a, 3)
		waitMirror(t, a)
		mustSave(t, b, 4)
		waitMirror(t, b)
		steps, err := training.Steps(t.Context(), m.Root, training.ReadOptions{Store: m.Store, StepNameFormat: o.StepNameFormat})
		if err != nil || len(steps) != 4 || filepath.Base(steps[3].Path) != "ck_004" {
			t.Errorf("the mirror has %v, %v", steps, err)
		}
		for _, c := range []*training.Checkpointer{a, b} {
			if s := c.MirrorStatus(); len(s.Refused) > 0 {
				t.Errorf("refused %v", s.Refused)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
