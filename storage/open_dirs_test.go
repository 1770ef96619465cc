package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"sync"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/testenv"
)

func newStage(t *testing.T) *localStage {
	t.Helper()
	s, err := Local().Begin(t.Context(), path.Join(t.TempDir(), "ck"), BeginOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*localStage)
}

func put(ctx context.Context, s Stage, name string) error {
	w, err := s.Create(ctx, name, 1)
	if err != nil {
		return err
	}
	return errors.Join(w.WriteAt(ctx, []byte("x"), 0), w.Close())
}

// However many directories several goroutines write at once, few stay open, and none
// when the stage has ended.
func TestFewDirectoriesStayOpen(t *testing.T) {
	for name, end := range map[string]func(s *localStage) error{
		"commit": func(s *localStage) error { return s.Commit(t.Context()) },
		"abort":  func(s *localStage) error { return s.Abort() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			writers, dirs := 8, testenv.Pick(25, 10)
			var group sync.WaitGroup
			for w := range writers {
				group.Go(func() {
					for d := range dirs * writers { // each of all, in other orders
						dir := (d*(w+1) + w) % (dirs * writers)
						if err := put(t.Context(), s, fmt.Sprintf("state/%d/%d", dir, w*1000+d)); err != nil {
							t.Error(err)
						}
						s.folders.mu.Lock()
						if n := len(s.folders.open); n > maxOpenDirs {
							t.Errorf("%d directories are open", n)
						}
						s.folders.mu.Unlock()
					}
				})
			}
			group.Wait()
			for name, d := range s.folders.open {
				if d.users != 0 {
					t.Errorf("%s has %d users", name, d.users)
				}
			}
			if err := end(s); err != nil {
				t.Fatal(err)
			}
			if n := len(s.folders.open); n != 0 {
				t.Errorf("%d directories stay open", n)
			}
			if err := put(t.Context(), s, "late"); !errors.Is(err, errFinished) {
				t.Errorf("after the end: %v", err)
			}
			if err := s.folders.use("late", func(entry) error { return nil }); !errors.Is(err, errFinished) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// A directory that is in use when the stage ends is closed by its last user.
func TestOpenUntilTheLastUser(t *testing.T) {
	s := newStage(t)
	if err := s.Mkdir(t.Context(), "state"); err != nil {
		t.Fatal(err)
	}
	var used *openDir
	err := s.folders.use("state/file", func(e entry) error {
		used = e.in
		if err := s.Abort(); err != nil {
			return err
		}
		_, err := e.in.id()
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := used.id(); err == nil {
		t.Error("it is still open")
	}
}

// A directory that is opened again must be the one that the stage has made.
func TestOpenAgain(t *testing.T) {
	for name, swap := range map[string]func(dir string) error{
		"directory": func(dir string) error { return os.Mkdir(dir, 0o777) },
		"link":      func(dir string) error { return os.Symlink(dir+".moved", dir) },
		"file":      func(dir string) error { return os.WriteFile(dir, nil, 0o666) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			for _, file := range []string{"state/one", "state/d/two"} {
				if err := put(t.Context(), s, file); err != nil {
					t.Fatal(err)
				}
			}
			dir := path.Join(s.tmp, "state")
			if err := errors.Join(os.Rename(dir, dir+".moved"), swap(dir)); err != nil {
				t.Fatal(err)
			}
			s.folders.mu.Lock()
			s.folders.drop("state") // as if many others had been wanted since
			s.folders.mu.Unlock()
			err := put(t.Context(), s, "state/three")
			if !errors.Is(err, fault.ErrInvalidCheckpoint) || name != "directory" && !errors.Is(err, fault.ErrLink) {
				t.Errorf("created: %v", err)
			}
			if err := s.Commit(t.Context()); !errors.Is(err, fault.ErrInvalidCheckpoint) {
				t.Errorf("committed: %v", err)
			}
		})
	}
}

// A directory is the stage's own from when it is made, and not from its first file on.
func TestDirectorySwappedBeforeItsFirstFile(t *testing.T) {
	s := newStage(t)
	victim := path.Join(t.TempDir(), "victim")
	if err := errors.Join(os.Mkdir(victim, 0o777), os.WriteFile(path.Join(victim, "of a victim"), nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	if err := s.Mkdir(t.Context(), "state"); err != nil {
		t.Fatal(err)
	}
	state := path.Join(s.tmp, "state")
	if err := errors.Join(os.Remove(state), os.Rename(victim, state)); err != nil {
		t.Fatal(err)
	}
	if err := put(t.Context(), s, "state/file"); !errors.Is(err, fault.ErrInvalidCheckpoint) {
		t.Errorf("a file in somebody else's directory: %v", err)
	}
	if err := s.Commit(t.Context()); err == nil {
		t.Error("committed")
	}
	if _, err := os.Stat(path.Join(state, "of a victim")); err != nil {
		t.Error(err)
	}
}

// Directories that are open to be used again give way to files.
func TestIdleDirectoriesGiveWay(t *testing.T) {
	s := newStage(t)
	for i := range 5 {
		if err := put(t.Context(), s, fmt.Sprintf("d%d/file", i)); err != nil {
			t.Fatal(err)
		}
	}
	tries := 0
	full := func(entry) error {
		tries++
		if len(s.folders.open) > 2 { // the top one, and the one that is used
			return syscall.EMFILE
		}
		return nil
	}
	if err := s.folders.use("d0/other", full); err != nil || tries != 2 {
		t.Errorf("%d tries: %v", tries, err)
	}
	for tries = 0; s.folders.closeIdle(); {
	}
	if err := s.folders.use("other", func(entry) error { tries++; return syscall.EMFILE }); !errors.Is(err, syscall.EMFILE) || tries != 1 {
		t.Errorf("nothing to close: %d tries, %v", tries, err)
	}
	if err := s.Commit(t.Context()); err != nil {
		t.Error(err)
	}
}

// TicketID returns the identity of a directory as tickets have it.
func TicketID(t *testing.T, dir string) string {
	t.Helper()
	d, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	id, err := d.id()
	if err != nil {
		t.Fatal(err)
	}
	return id.text()
}
