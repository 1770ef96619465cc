package training_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/training"
	"github.com/go-orbax/orbax/zarr"
)

// mountMemory makes a small file system in memory.
func mountMemory(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk is needed, and cannot be mounted: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill writes a file until the disk is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, rand.NewChaCha8([32]byte{}))
	if err = errors.Join(err, f.Close()); errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return errors.Join(errors.New("the disk is not full"), err)
}

// filler is a checkpointable that fills the disk while it is saved, and then wants
// room too.
type filler struct{ path string }

func (f *filler) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(ctx context.Context, dir *handler.WriteDir) error {
		if err := fill(f.path); err != nil {
			return err
		}
		return dir.WriteFile(ctx, "more", make([]byte, 1<<16))
	}, nil
}

func (f *filler) LoadState(context.Context, *handler.ReadDir) error { return nil }

func TestFullBefore(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]training.Options{
		"sharing": {},
		"whole":   {Sharing: training.Sharing{Off: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := filepath.Join(mountMemory(t, "9m"), "run")
			c := openRun(t, root, o)
			var steps []int
			for n := 0; ; n++ {
				saved, err := c.Save(t.Context(), n, stateOf(n))
				if err == nil && saved && n < 20 {
					steps = append(steps, n)
					continue
				}
				if saved || !errors.Is(err, orbax.ErrNoSpace) {
					t.Fatalf("step %d: %t, %v", n, saved, err)
				}
				break
			}
			if len(steps) < 3 {
				t.Fatalf("only %v are saved", steps)
			}
			wantSteps(t, c, steps...)
			next := len(steps)
			// In the background as well, and for another one who comes.
			again := openRun(t, root, o)
			for _, c := range []*training.Checkpointer{c, again} {
				resp, err := c.SaveAsync(t.Context(), next, stateOf(next))
				if err == nil {
					_, err = resp.Result(t.Context())
				}
				if !errors.Is(err, orbax.ErrNoSpace) {
					t.Errorf("in the background: %v", err)
				}
			}
			if err := c.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			wantSteps(t, c, steps...)

			for _, n := range steps[:2] {
				if err := c.Delete(t.Context(), n); err != nil {
					t.Fatal(err)
				}
			}
			mustSave(t, c, next)
			wantSteps(t, c, append(steps[2:], next)...)
		})
	}
}

// A disk that fills up while a step is written.
func TestFullInTheMiddle(t *testing.T) {
	t.Parallel()
	dir := mountMemory(t, "16m")
	root, waste := filepath.Join(dir, "run"), filepath.Join(dir, "waste")
	c := openRun(t, root, training.Options{Preservation: training.LatestN{N: 2}})
	mustSave(t, c, 1, 2)
	noise := make([]int32, 1<<19)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = random.Int32()
	}
	var zstd handler.StorageOptions // what it leaves is not known before
	zstd.Compression = zarr.Zstd(1)
	for name, save := range map[string]func() (bool, error){
		"Save": func() (bool, error) {
			return c.SaveCheckpointables(t.Context(), 3, map[string]any{"state": stateOf(3), "filler": &filler{waste}})
		},
		"overwriting": func() (bool, error) {
			return c.SaveCheckpointables(t.Context(), 2, map[string]any{"state": stateOf(2), "filler": &filler{waste}}, orbax.Overwrite(), training.Force())
		},
		"SaveAsync": func() (bool, error) {
			resp, err := c.SaveCheckpointablesAsync(t.Context(), 3, map[string]any{"state": stateOf(3), "filler": &filler{waste}})
			if err != nil {
				return false, err
			}
			return resp.Result(t.Context())
		},
		"compressed": func() (bool, error) {
			return c.SaveCheckpointables(t.Context(), 3, map[string]any{"noise": noise, "filler": &filler{waste}}, orbax.Storage(zstd))
		},
	} {
		if saved, err := save(); saved || !errors.Is(err, orbax.ErrNoSpace) {
			t.Errorf("%s: %t, %v", name, saved, err)
		}
		if err := c.Wait(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantSteps(t, c, 1, 2)
		// Nothing is there for another one to clean up, or to trip over.
		other := openRun(t, root, training.Options{})
		var s runState
		if n, err := other.Resume(t.Context(), &s); err != nil || n != 2 {
			t.Errorf("%s: resumed %d, %v", name, n, err)
		} else if err := s.check(2); err != nil {
			t.Error(err)
		}
		if err := os.Remove(waste); err != nil {
			t.Fatal(err)
		}
	}
	mustSave(t, c, 3)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	wantSteps(t, c, 2, 3)
}

// The disk has room for the steps that are kept and one more, and the removal of
// old ones goes on while the next is saved: a save may be refused, and then works
// when they are removed.
func TestFullUntilRemoved(t *testing.T) {
	t.Parallel()
	c := openRun(t, filepath.Join(mountMemory(t, "7m"), "run"), training.Options{
		Preservation: training.LatestN{N: 2},
		Sharing:      training.Sharing{Off: true},
	})
	refused := 0
	for n := range 25 {
		save := func() (bool, error) {
			if n%2 == 0 {
				return c.Save(t.Context(), n, stateOf(n))
			}
			resp, err := c.SaveAsync(t.Context(), n, stateOf(n))
			if err != nil {
				return false, err
			}
			return resp.Result(t.Context())
		}
		saved, err := save()
		if errors.Is(err, orbax.ErrNoSpace) && !saved {
			refused++
			if latest, ok := c.Latest(); !ok || latest.Step != n-1 {
				t.Fatalf("the latest is %+v after step %d was refused", latest, n)
			}
			if err := c.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			saved, err = save()
		}
		if err != nil || !saved {
			t.Fatalf("step %d: %t, %v", n, saved, err)
		}
		for _, kept := range []int{n - 1, n} {
			if kept < 0 {
				continue
			}
			if err := checkStep(c, kept); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("%d of 25 saves were refused", refused)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	wantSteps(t, c, 23, 24)
}

// A disk that becomes read-only: all of it is still read, nothing is written, and
// the run goes on when it is writable again.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	dir := mountMemory(t, "20m")
	root := filepath.Join(dir, "run")
	custom := map[string]any{"run": "x"}
	c := openRun(t, root, training.Options{CustomMetadata: custom, Preservation: training.LatestN{N: 2}})
	mustSave(t, c, 1, 2)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	remount := func(flags uintptr) {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Skipf("cannot remount: %v", err)
		}
	}
	remount(syscall.MS_RDONLY)
	reader := openRun(t, root, training.Options{CustomMetadata: custom})
	for _, c := range []*training.Checkpointer{c, reader} {
		var s runState
		if n, err := c.Resume(t.Context(), &s); err != nil || n != 2 {
			t.Errorf("resumed %d, %v", n, err)
		} else if err := s.check(2); err != nil {
			t.Error(err)
		}
		if saved, err := c.Save(t.Context(), 3, stateOf(3)); saved || !errors.Is(err, syscall.EROFS) {
			t.Errorf("saved %t, %v", saved, err)
		}
		resp, err := c.SaveAsync(t.Context(), 3, stateOf(3))
		if err == nil {
			_, err = resp.Result(t.Context())
		}
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("in the background: %v", err)
		}
		if saved, err := c.Save(t.Context(), 2, stateOf(2), orbax.Overwrite()); saved || !errors.Is(err, syscall.EROFS) {
			t.Errorf("overwritten %t, %v", saved, err)
		}
		if err := c.Delete(t.Context(), 1); !errors.Is(err, syscall.EROFS) {
			t.Errorf("delete: %v", err)
		}
		wantSteps(t, c, 1, 2)
	}
	other, err := training.New(t.Context(), filepath.Join(dir, "new"), training.Options{CustomMetadata: custom})
	if err == nil {
		_, err = other.Save(t.Context(), 1, stateOf(1))
		other.Close()
	}
	if !errors.Is(err, syscall.EROFS) {
		t.Errorf("a new run: %v", err)
	}
	remount(0)
	mustSave(t, c, 3)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	wantSteps(t, c, 2, 3)
}
