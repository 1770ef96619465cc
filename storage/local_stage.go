package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/parallel"
)

type localStage struct {
	sys       system
	target    string
	tmp       string
	overwrite bool
	entry     string // name of the entry of target that the stage becomes, if not ""
	replace   Look   // allows the removal of the directory at target
	replaced  bool   // tmp is the directory that was at target
	unlock    func()

	folders openDirs

	mu    sync.Mutex
	dirs  map[string]bool    // created below tmp, by relative name
	files map[string]bool    // created below tmp, by relative name
	open  map[string]sysFile // not yet closed, or not durable
	done  bool
	// shared says that other writers may write to tmp: their files are not in the maps.
	shared bool
	// live, if not nil, fails if the owner of the joined stage has ended it.
	live func() error
}

// claimed has the temporary directories of this process's stages, by their targets. Of
// several stages that begin together it lets exactly one through. The locks serve other
// processes, and other names of the same directory.
var claimed sync.Map

// newLocalStage creates the temporary directory and locks it. Each writer locks its own
// directory first and looks for others afterwards, so of two that begin together at least
// one sees the other and gives way. Until it is locked, the directory looks like that of
// a dead writer and may be removed; then another one is made. Its name records its use;
// see tempName.
func newLocalStage(sys system, target, use string, overwrite bool) (*localStage, error) {
	if _, taken := claimed.LoadOrStore(target, ""); taken {
		return nil, fault.ErrBusy
	}
	s := emptyStage(sys, target)
	s.overwrite = overwrite
	if err := s.make(use); err != nil {
		claimed.Delete(target)
		return nil, err
	}
	temp, unlock := s.tmp, s.unlock
	claimed.Store(target, temp)
	s.unlock = func() {
		unlock()
		claimed.CompareAndDelete(target, temp) // after a Revoke another stage may have the target
	}
	if other, err := s.otherWriter(""); err != nil || other != "" {
		err = errors.Join(err, s.Abort())
		if other != "" {
			err = fmt.Errorf("%w (into %s)", fault.ErrBusy, path.Base(other))
		}
		return nil, err
	}
	return s, nil
}

// emptyStage returns a stage for target that has no files yet.
func emptyStage(sys system, target string) *localStage {
	return &localStage{
		sys: sys, target: target, folders: openDirs{sys: sys},
		dirs: map[string]bool{}, files: map[string]bool{}, open: map[string]sysFile{},
	}
}

// maxMakes is how often a temporary directory is made again that another process took for
// the directory of a dead writer.
const maxMakes = 20

// make makes the temporary directory and locks it.
func (s *localStage) make(use string) (err error) {
	for range maxMakes {
		s.tmp = tempName(s.target, use)
		if err := s.sys.mkdir(at(s.tmp)); err != nil {
			return err
		}
		var unlock func()
		if unlock, err = s.sys.lock(s.tmp); err == nil {
			if err = s.folders.begin(s.tmp); err != nil {
				err = errors.Join(err, s.sys.remove(s.tmp, nil))
				unlock()
			}
			s.unlock = func() {
				s.folders.end()
				unlock()
			}
			return err
		}
		err = fmt.Errorf("%s: cannot lock: %w", s.tmp, err)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, fault.ErrBusy): // the process with the lock removes it
		default:
			return errors.Join(err, s.sys.remove(s.tmp, nil))
		}
	}
	return err
}

// A process that removes the temporary directory of a dead writer locks it for a moment.
// So a directory counts as that of a live writer only if it is locked at each of these
// looks, with this pause between them.
const (
	writerLooks = 10
	writerPause = 2 * time.Millisecond
)

// otherWriter returns the temporary directory of a live writer of the same target, or "".
// It ignores the one that is called except.
func (s *localStage) otherWriter(except string) (string, error) {
	parent := filepath.Dir(s.tmp)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == path.Base(s.tmp) || e.Name() == except || !isTempOf(e.Name(), path.Base(s.target)) {
			continue
		}
		if name := path.Join(parent, e.Name()); s.writes(name) {
			return name, nil
		}
	}
	return "", nil
}

// writes reports whether the temporary directory called name has a live writer.
func (s *localStage) writes(name string) bool {
	for look := range writerLooks {
		if look > 0 {
			time.Sleep(writerPause)
		}
		if !s.sys.locked(name) {
			return false
		}
	}
	return true
}

// checkName refuses names that lead out of the stage, on this system.
func checkName(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !fs.ValidPath(name) || !filepath.IsLocal(name) {
		return fmt.Errorf("%w: %q", fault.ErrReservedName, name)
	}
	return nil
}

func (s *localStage) Mkdir(ctx context.Context, name string) error {
	if err := checkName(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return errFinished
	}
	if s.live != nil {
		if err := s.live(); err != nil {
			return err
		}
	}
	return s.orRevoked(fault.AsNoSpace(s.mkdirAll(name)))
}

// errFinished reports that a stage is used after its end, for example by a handler that
// keeps its directory.
var errFinished = errors.New("storage: the save has ended")

func (s *localStage) mkdirAll(name string) error {
	if name == "." || s.dirs[name] {
		return nil
	}
	if err := s.mkdirAll(path.Dir(name)); err != nil {
		return err
	}
	return s.folders.use(name, func(e entry) error {
		// Several writers share the stage, and each may be the first that needs a
		// directory.
		if err := s.sys.mkdir(e); err != nil && !(s.shared && errors.Is(err, fs.ErrExist)) {
			return err
		}
		s.dirs[name] = true
		return s.folders.made(name, e)
	})
}

// Commit syncs the directories, so that the rename can only publish a complete tree.
// Their files were synced when they were closed.
func (s *localStage) Commit(ctx context.Context) error {
	if s.entry != "" {
		return s.commitInto(ctx)
	}
	dirs, err := s.finish()
	if errors.Is(err, errFinished) {
		return err
	}
	defer s.unlock()
	if err == nil {
		err = s.publish(ctx, dirs)
	}
	if err != nil {
		return errors.Join(s.orRevoked(fault.AsNoSpace(err)), s.remove())
	}
	if err := s.sys.syncDir(at(filepath.Dir(s.target))); err != nil {
		return fmt.Errorf("%s: %w, but may not survive a power failure: %w", s.target, fault.ErrInPlace, err)
	}
	if !s.replaced {
		return nil
	}
	// The temporary name now has the directory that was replaced. Another process may
	// have put something into it after it was looked at and before it got that name. The
	// new checkpoint is complete, so the old one is removed even if ctx ends.
	err = removeLooked(context.WithoutCancel(ctx), s.tmp, s.replace, func(items []Item) error { return s.sys.remove(s.tmp, items) })
	if err != nil {
		return fmt.Errorf("%s: %w; what it replaced is left in %s: %w", s.target, fault.ErrInPlace, s.tmp, err)
	}
	return nil
}

// finish ends the stage for its writers and returns its directories.
func (s *localStage) finish() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil, errFinished
	}
	s.done = true
	for name := range s.open {
		return nil, fmt.Errorf("%s: not closed, or closed with an error", path.Join(s.tmp, name))
	}
	return append(slices.Sorted(maps.Keys(s.dirs)), "."), nil
}

// syncers is how many directories are synced at the same time. The file system's journal
// and the disk's cache are then flushed for all of them together.
const syncers = 8

// syncAll makes directories of the stage durable, in any order, because they become
// visible only when all are durable.
func (s *localStage) syncAll(ctx context.Context, dirs []string) error {
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(syncers)
	for _, dir := range dirs {
		group.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			return s.sys.syncOwn(s.tmp, dir)
		})
	}
	return group.Wait()
}

// check fails if the stage no longer has what was written: a link has taken the place of
// a file or a directory, another directory has, or a file is gone. It runs when all
// directories are durable, so that nothing can be exchanged in one directory while the
// others are synced.
func (s *localStage) check(ctx context.Context, dirs []string) error {
	files := map[string][]string{}
	s.mu.Lock()
	for name := range s.files {
		files[path.Dir(name)] = append(files[path.Dir(name)], path.Base(name))
	}
	s.mu.Unlock()
	for _, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := checkOwn(s.tmp, dir, s.folders.id(dir), files[dir]); err != nil {
			return err
		}
	}
	return nil
}

func (s *localStage) publish(ctx context.Context, dirs []string) error {
	if err := s.syncAll(ctx, dirs); err != nil {
		return err
	}
	if err := s.check(ctx, dirs); err != nil {
		return err
	}
	s.folders.end() // some systems cannot rename an open directory
	err := s.sys.rename(at(s.tmp), at(s.target))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := checkTarget(s.target, s.overwrite); err != nil {
		return fmt.Errorf("since the save began: %w", err)
	}
	if !s.overwrite {
		return err // the target is gone again
	}
	err = s.sys.exchange(s.tmp, s.target)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EXDEV) {
		err = s.moveOld()
	}
	if errors.Is(err, syscall.EXDEV) {
		return fixed(s.target, err)
	}
	s.replaced = err == nil
	return err
}

func (s *localStage) Abort() error {
	if _, err := s.finish(); errors.Is(err, errFinished) {
		return nil
	}
	defer s.unlock()
	return s.remove()
}

// abandon ends the stage and leaves its files on the disk, as if the process had died.
func (s *localStage) abandon() {
	if _, err := s.finish(); !errors.Is(err, errFinished) {
		s.unlock()
	}
}

// remove removes everything that was written.
func (s *localStage) remove() error { return s.removeMade(s.tmp) }

// removeMade removes everything that was written and is now in dir. Entries of other
// processes stay, with an error.
func (s *localStage) removeMade(dir string) error {
	s.folders.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.open {
		f.close()
	}
	made := func(context.Context, string) ([]Item, error) { return s.made(), nil }
	if s.shared {
		made = everything
	}
	return removeLooked(context.Background(), dir, made, func(items []Item) error { return s.sys.remove(dir, items) })
}

// made returns everything that the stage has made. Files are last in the list, so they
// are removed first, and a directory that has to stay keeps none of them.
func (s *localStage) made() []Item {
	var items []Item
	for _, name := range slices.Sorted(maps.Keys(s.dirs)) {
		items = append(items, Item{name, true})
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		items = append(items, Item{name, false})
	}
	return items
}

// note remembers a new file.
func (s *localStage) note(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = true
}

// forget removes the note of a file that has left the temporary directory.
func (s *localStage) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.files, name)
}

// discard removes a file of the stage.
func (s *localStage) discard(name string) error {
	err := s.sys.removeEntry(s.tmp, Item{Name: name}, nil)
	if err == nil {
		s.forget(name)
	}
	return err
}
