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

// errProbe reports that the directory for a test of the file system could not be removed
// from the stage.
var errProbe = errors.New("the directory that a test of the file system has made cannot be removed")

// probeDir is the name of that directory.
const probeDir = "d"

// canReplace returns the reason why Commit could not replace the directory at the path,
// if that can be known before anything is written.
func (s *localStage) canReplace() error {
	if _, err := os.Lstat(s.target); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := s.folders.use(probeDir, func(probe entry) error { return movable(s.target, probe.in) })
	switch {
	case errors.Is(err, syscall.EXDEV):
		return fixed(s.target, err)
	case errors.Is(err, errProbe): // the directory of the test would become part of the checkpoint
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dirs[probeDir] = true
		return err
	}
	return nil // any other obstacle shows in the rename
}

// moveOld is exchange for file systems without it: the old directory gets a
// temporary name, the new one takes its place.
func (s *localStage) moveOld() error {
	if err := s.same(); err != nil { // a stage that was revoked must not move the old directory
		return err
	}
	old := oldName(s.tmp)
	if err := s.sys.rename(at(s.target), at(old)); err != nil {
		return err
	}
	if err := s.sys.rename(at(s.tmp), at(s.target)); err != nil {
		return errors.Join(err, s.sys.rename(at(old), at(s.target)))
	}
	s.tmp = old
	return nil
}
