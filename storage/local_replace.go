package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/go-orbax/orbax/internal/fault"
)

// fixed is the error for a directory that the file system cannot rename.
func fixed(dir string, err error) error {
	return fmt.Errorf("%w: the file system cannot move %s, which is in a lower layer of it, as that of a container's image is; delete it first, or save to another path: %w",
		fault.ErrUnsupported, dir, err)
}

// errProbe is why a stage is not as empty as before it was asked whether it can replace
// what is at its path.
var errProbe = errors.New("the directory that a test of the file system has made cannot be removed")

// probeDir is the name of that directory.
const probeDir = "d"

// canReplace returns why Commit could not replace what is at the path, where that can be
// known before anything is written.
func (s *localStage) canReplace() error {
	if _, err := os.Lstat(s.target); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := s.folders.use(probeDir, func(probe entry) error { return movable(s.target, probe.in) })
	switch {
	case errors.Is(err, syscall.EXDEV):
		return fixed(s.target, err)
	case errors.Is(err, errProbe): // it would become a part of the checkpoint
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dirs[probeDir] = true
		return err
	}
	return nil // whatever else there is, the rename will say
}

// moveOld is exchange for file systems without it: the old directory gets a
// temporary name, the new one takes its place.
func (s *localStage) moveOld() error {
	old := s.tmp[:len(s.tmp)-len(oldMark)] + oldMark // no longer than what fitted
	if err := s.sys.rename(at(s.target), at(old)); err != nil {
		return err
	}
	if err := s.sys.rename(at(s.tmp), at(s.target)); err != nil {
		return errors.Join(err, s.sys.rename(at(old), at(s.target)))
	}
	s.tmp = old
	return nil
}
