package orbax_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// brittleStore is a store in which one checkpoint takes the place of another at the
// swap-th access, and before the fail-th one fail is called: an error of it is that of
// the access.
type brittleStore struct {
	swapStore
	failAt int
	fail   func() error
}

func (s *brittleStore) get(ctx context.Context) (storage.Store, error) {
	store := s.access()
	s.mu.Lock()
	n := s.n
	s.mu.Unlock()
	if n == s.failAt {
		if err := s.fail(); err != nil {
			return nil, err
		}
	}
	return store, ctx.Err()
}

func (s *brittleStore) Open(ctx context.Context, name string) (storage.Reader, error) {
	store, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, name)
}

func (s *brittleStore) Stat(ctx context.Context, name string) (storage.Info, error) {
	store, err := s.get(ctx)
	if err != nil {
		return storage.Info{}, err
	}
	return store.Stat(ctx, name)
}

func (s *brittleStore) List(ctx context.Context, name string) ([]storage.Info, error) {
	store, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	return store.List(ctx, name)
}

// errNone is the failure of the read "IsCheckpoint" whose answer is no.
var errNone = errors.New("it is said to be none")

// reads are what is done with a checkpoint, "ckpt" in a store.
var reads = map[string]func(ctx context.Context, in orbax.StoreOption) error{
	"Load": func(ctx context.Context, in orbax.StoreOption) error {
		_, err := orbax.Load(ctx, "ckpt", in)
		return err
	},
	"Verify": func(ctx context.Context, in orbax.StoreOption) error { return orbax.Verify(ctx, "ckpt", in) },
	"Metadata": func(ctx context.Context, in orbax.StoreOption) error {
		_, err := orbax.CheckpointablesMetadata(ctx, "ckpt", in)
		return err
	},
	"LoadCheckpointables": func(ctx context.Context, in orbax.StoreOption) error {
		_, err := orbax.LoadCheckpointables(ctx, "ckpt", nil, in)
		return err
	},
	"IsCheckpoint": func(ctx context.Context, in orbax.StoreOption) error {
		is, err := orbax.IsCheckpoint(ctx, "ckpt", in)
		if err == nil && !is {
			return errNone
		}
		return err
	},
}

// TestNotDamagedWhenCancelled replaces or removes a checkpoint while it is read, and
// ends the context some accesses later: what then fails is never damage, as the look
// that would have shown the change has not been made.
func TestNotDamagedWhenCancelled(t *testing.T) {
	small, other := cancelCheckpoints(t)
	for name, read := range reads {
		for what, new := range map[string]files{"replaced": other, "removed": {}} {
			t.Run(name+" "+what, func(t *testing.T) {
				for _, old := range []files{small, foreign(small)} {
					for at := 1; ; at++ {
						whole := true
						for wait := range 8 {
							s := &brittleStore{swapStore: swapStore{old: old.store(), new: new.store(), at: at}, failAt: at + wait}
							ctx, cancel := context.WithCancel(t.Context())
							s.fail = func() error { cancel(); return nil }
							err := read(ctx, orbax.In(s))
							ended := ctx.Err() != nil
							cancel()
							whole = whole && s.n < at
							if what == "removed" && errors.Is(err, errNone) {
								continue // which is true
							}
							if errors.Is(err, orbax.ErrCorrupt) || ended && err != nil && !errors.Is(err, context.Canceled) &&
								!errors.Is(err, orbax.ErrBusy) && !errors.Is(err, orbax.ErrNotExist) {
								t.Errorf("%s at access %d, cancelled %d later: %v", what, at, wait, err)
							}
						}
						if whole {
							break
						}
					}
				}
			})
		}
	}
}

// TestFailedLookDecidesNothing makes one access fail, as a network file system does at
// times: the error is that, or the read succeeds. It is never damage, nor the absence
// of what is there.
func TestFailedLookDecidesNothing(t *testing.T) {
	small, _ := cancelCheckpoints(t)
	old := files{}
	for name, data := range small { // as Orbax wrote them before there was metadata of a checkpoint
		switch filepath.Base(name) {
		case "_CHECKPOINT_METADATA", "digests.sha256", "orbax.checkpoint", "commit_success.txt":
		default:
			old[name] = data
		}
	}
	for name, read := range reads {
		for what, f := range map[string]files{"ours": small, "foreign": foreign(small), "old": old} {
			t.Run(name+" "+what, func(t *testing.T) {
				for at := 1; ; at++ {
					s := &brittleStore{swapStore: swapStore{old: f.store(), new: f.store()}, failAt: at}
					s.fail = func() error { return syscall.EIO }
					err := read(t.Context(), orbax.In(s))
					if s.n < at {
						if err != nil {
							t.Error(err)
						}
						break
					}
					if err != nil && (!errors.Is(err, syscall.EIO) || errors.Is(err, orbax.ErrCorrupt) || errors.Is(err, fs.ErrNotExist)) {
						t.Errorf("access %d fails: %v", at, err)
					}
				}
			})
		}
	}
}

func cancelCheckpoints(t *testing.T) (small, other files) {
	t.Helper()
	saved := func(parts map[string]any) files {
		path := filepath.Join(t.TempDir(), "ckpt")
		if err := orbax.SaveCheckpointables(t.Context(), path, parts); err != nil {
			t.Fatal(err)
		}
		return readFiles(t, path)
	}
	small = saved(map[string]any{"state": map[string]any{"w": make([]float32, 1000), "q": "x"}})
	other = saved(map[string]any{"params": map[string]any{"z": make([]float32, 2000)}})
	return small, other
}

// What was deleted since it was opened does not exist, as what was deleted before.
func TestDeletedSinceOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	if err := orbax.Save(t.Context(), path, map[string]any{"w": make([]float32, 1000)}); err != nil {
		t.Fatal(err)
	}
	ck, err := orbax.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if err := orbax.Delete(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	_, err = ck.Load(t.Context())
	_, merr := ck.Metadata(t.Context())
	for _, err := range []error{err, merr, ck.Verify(t.Context())} {
		if !errors.Is(err, orbax.ErrNotExist) || errors.Is(err, orbax.ErrBusy) || errors.Is(err, orbax.ErrCorrupt) {
			t.Error(err)
		}
	}
}
