package storage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/go-orbax/orbax/internal/fault"
)

type localStage struct {
	sys       system
	target    string
	tmp       string
	overwrite bool
	unlock    func()

	mu   sync.Mutex
	dirs map[string]bool    // created below tmp, by relative name
	open map[string]sysFile // not yet closed, or not durable
	done bool
}

// claimed has the targets of this process's stages. Of several that begin
// together it lets exactly one through; the locks are for other processes, and
// for other names of the same directory.
var claimed sync.Map

// newLocalStage creates the temporary directory and locks it. Each writer
// locks its own directory first and looks for others afterwards, so of two
// that begin together at least one sees the other and gives way.
func newLocalStage(sys system, target string, overwrite bool) (*localStage, error) {
	if _, taken := claimed.LoadOrStore(target, true); taken {
		return nil, fmt.Errorf("%s: %w", target, fault.ErrBusy)
	}
	var id [8]byte
	rand.Read(id[:])
	s := &localStage{
		sys:       sys,
		target:    target,
		tmp:       target + TempMarker + "-" + hex.EncodeToString(id[:]),
		overwrite: overwrite,
		dirs:      map[string]bool{},
		open:      map[string]sysFile{},
	}
	if err := sys.mkdir(s.tmp); err != nil {
		claimed.Delete(target)
		return nil, err
	}
	unlock, err := sys.lock(s.tmp)
	if err != nil {
		claimed.Delete(target)
		err = fmt.Errorf("%s: cannot lock: %w", s.tmp, err)
		return nil, errors.Join(err, sys.removeAll(s.tmp))
	}
	s.unlock = func() {
		unlock()
		claimed.Delete(target)
	}
	if other, err := s.otherWriter(); err != nil || other != "" {
		err = errors.Join(err, s.Abort())
		if other != "" {
			err = fmt.Errorf("%s: %w (into %s)", target, fault.ErrBusy, path.Base(other))
		}
		return nil, err
	}
	return s, nil
}

// otherWriter returns the temporary directory of a live writer of the same
// target, or "".
func (s *localStage) otherWriter() (string, error) {
	parent := filepath.Dir(s.tmp)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return "", err
	}
	prefix := path.Base(s.target) + TempMarker + "-"
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || !e.IsDir() || e.Name() == path.Base(s.tmp) || strings.Contains(id, TempMarker) {
			continue // that with two marks is of one who removes a dead writer's
		}
		if name := path.Join(parent, e.Name()); s.sys.locked(name) {
			return name, nil
		}
	}
	return "", nil
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
	return asNoSpace(s.mkdirAll(name))
}

// errFinished is what a stage answers that is used after its end, as by a
// handler that keeps its directory.
var errFinished = errors.New("storage: the save has ended")

func (s *localStage) mkdirAll(name string) error {
	if name == "." || s.dirs[name] {
		return nil
	}
	if err := s.mkdirAll(path.Dir(name)); err != nil {
		return err
	}
	if err := s.sys.mkdir(path.Join(s.tmp, name)); err != nil {
		return err
	}
	s.dirs[name] = true
	return nil
}

// Commit syncs the directories (their files were synced when they were closed),
// so that the rename can only ever publish a complete tree.
func (s *localStage) Commit(ctx context.Context) error {
	dirs, err := s.finish()
	if errors.Is(err, errFinished) {
		return err
	}
	defer s.unlock()
	if err == nil {
		err = s.publish(ctx, dirs)
	}
	if err != nil {
		return errors.Join(asNoSpace(err), s.remove())
	}
	if err := s.sys.syncDir(filepath.Dir(s.target)); err != nil {
		return fmt.Errorf("%s is %w but may not survive a power failure: %w", s.target, fault.ErrInPlace, err)
	}
	if !s.overwrite {
		return nil
	}
	// The temporary name now holds what was replaced, if anything.
	if err := s.sys.removeAll(s.tmp); err != nil {
		return fmt.Errorf("%s is %w; removing what it replaced failed: %w", s.target, fault.ErrInPlace, err)
	}
	return nil
}

// finish ends the stage for those who write to it and returns its directories.
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

// syncers is how many directories are synced at once, for which the file
// system's journal and the disk's cache are then flushed together.
const syncers = 8

// syncAll makes directories of the stage durable, in any order: nobody sees them
// before all are.
func (s *localStage) syncAll(ctx context.Context, dirs []string) error {
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(syncers)
	for _, dir := range dirs {
		group.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			return s.sys.syncDir(path.Join(s.tmp, dir))
		})
	}
	return group.Wait()
}

func (s *localStage) publish(ctx context.Context, dirs []string) error {
	if err := s.syncAll(ctx, dirs); err != nil {
		return err
	}
	err := s.sys.rename(s.tmp, s.target)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := checkTarget(s.target, s.overwrite); err != nil {
		return fmt.Errorf("since the save began: %w", err)
	}
	if !s.overwrite {
		return err // gone again
	}
	err = s.sys.exchange(s.tmp, s.target)
	if errors.Is(err, errors.ErrUnsupported) {
		return s.replace()
	}
	return err
}

// replace is exchange for file systems without it: the old directory gets a
// temporary name, the new one takes its place.
func (s *localStage) replace() error {
	const mark = "-old"
	old := s.tmp[:len(s.tmp)-len(mark)] + mark // no longer than what fitted
	if err := s.sys.rename(s.target, old); err != nil {
		return err
	}
	if err := s.sys.rename(s.tmp, s.target); err != nil {
		return errors.Join(err, s.sys.rename(old, s.target))
	}
	s.tmp = old
	return nil
}

func (s *localStage) Abort() error {
	if _, err := s.finish(); errors.Is(err, errFinished) {
		return nil
	}
	defer s.unlock()
	return s.remove()
}

// abandon ends the stage and leaves what it has on the disk, as if the process
// had died.
func (s *localStage) abandon() {
	if _, err := s.finish(); !errors.Is(err, errFinished) {
		s.unlock()
	}
}

// remove removes what was written.
func (s *localStage) remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.open {
		f.close()
	}
	return s.sys.removeAll(s.tmp)
}
