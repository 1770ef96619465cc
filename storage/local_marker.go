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

	"github.com/go-orbax/orbax/internal/fault"
)

// markerStage writes a directory at its final path. It holds the claim that every writer
// of that path makes: a locked temporary directory beside it. Files that belong directly
// in the directory are written there first, and everything that is removed goes there, so
// that each change of the path is one step.
type markerStage struct {
	*localStage // writes to the target itself
	claim       *localStage
	marker      string

	entries sync.Mutex
	dirty   map[string]bool // directories with entries that may not be durable

	placing sync.Mutex
	marked  bool   // the marker is written, and waits for Commit
	failed  string // a file that was closed with an error; "" if there is none
}

// newMarkerStage returns the stage that writes to the path of claim.
func newMarkerStage(ctx context.Context, claim *localStage, o BeginOptions) (Stage, error) {
	s := emptyMarkerStage(claim, o.Marker)
	if err := s.make(ctx, o.Replace); err != nil {
		return nil, errors.Join(fault.AsNoSpace(err), claim.Abort())
	}
	return s, nil
}

func emptyMarkerStage(claim *localStage, marker string) *markerStage {
	s := &markerStage{
		localStage: emptyStage(claim.sys, claim.target),
		claim:      claim,
		marker:     marker,
		dirty:      map[string]bool{},
	}
	s.tmp = claim.target
	return s
}

// make removes the directory at the path, if look allows that, and creates a new one.
func (s *markerStage) make(ctx context.Context, look Look) error {
	if _, err := os.Lstat(s.target); err == nil {
		if err := checkTarget(s.target, look != nil); err != nil {
			return err
		}
		if err := (&localEdit{s.claim}).removeTarget(ctx, look); err != nil {
			return err
		}
	}
	err := s.sys.mkdir(at(s.target))
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("since the save began: %s: %w", s.target, fault.ErrExist)
	}
	if err != nil {
		return err
	}
	err = s.folders.begin(s.target)
	if err == nil {
		err = s.sys.syncDir(at(filepath.Dir(s.target)))
	}
	if err != nil {
		s.folders.end()
		return errors.Join(err, s.sys.remove(s.target, nil))
	}
	return nil
}

// enter notes that a directory, and those above it, have a new entry, unless err is not
// nil.
func (s *markerStage) enter(dir string, err error) error {
	if err != nil {
		return err
	}
	s.entries.Lock()
	defer s.entries.Unlock()
	for ; !s.dirty[dir]; dir = path.Dir(dir) { // up to ".", which is its own parent
		s.dirty[dir] = true
	}
	return nil
}

func (s *markerStage) Mkdir(ctx context.Context, name string) error {
	return s.enter(name, s.localStage.Mkdir(ctx, name))
}

func (s *markerStage) Link(ctx context.Context, from, name string, o LinkOptions) error {
	return s.enter(path.Dir(name), s.localStage.Link(ctx, from, name, o))
}

func (s *markerStage) Create(ctx context.Context, name string, size int64) (Writer, error) {
	if path.Dir(name) != "." {
		w, err := s.localStage.Create(ctx, name, size)
		return w, s.enter(path.Dir(name), err)
	}
	if s.live != nil && name == s.marker {
		return nil, fmt.Errorf("%w: %q is written by whoever has begun the save", fault.ErrReservedName, name)
	}
	if err := s.localStage.Mkdir(ctx, "."); err != nil { // the stage has ended
		return nil, err
	}
	w, err := s.claim.Create(ctx, name, size)
	if err != nil {
		return nil, err
	}
	return &placedWriter{w.(*localWriter), s}, nil
}

// placedWriter writes a file directly in the directory of a markerStage.
type placedWriter struct {
	*localWriter
	stage *markerStage
}

func (w *placedWriter) Close() error {
	if err := w.localWriter.Close(); err != nil {
		return err
	}
	err := w.stage.claim.orRevoked(fault.AsNoSpace(w.stage.place(w.name)))
	if err != nil {
		w.stage.placing.Lock()
		defer w.stage.placing.Unlock()
		w.stage.failed = w.name
	}
	return err
}

// placed returns an error unless all files directly in the directory were closed without
// one.
func (s *markerStage) placed() error {
	s.placing.Lock()
	defer s.placing.Unlock()
	s.claim.mu.Lock()
	defer s.claim.mu.Unlock()
	name := s.failed
	for open := range s.claim.open {
		name = open
	}
	if name == "" {
		return nil
	}
	return fmt.Errorf("%s: not closed, or closed with an error", path.Join(s.target, name))
}

// place gives a file its name in the directory when everything before it is durable.
// Commit gives the marker its name.
func (s *markerStage) place(name string) error {
	s.placing.Lock()
	defer s.placing.Unlock()
	if name == s.marker {
		s.marked = true
		return nil
	}
	if err := s.sync(context.Background()); err != nil {
		return err
	}
	if err := s.moveIn(name); err != nil {
		return err
	}
	s.note(name)
	_ = s.enter(".", nil)
	return s.sync(context.Background())
}

func (s *markerStage) moveIn(name string) error {
	err := s.claim.folders.use(name, func(from entry) error {
		return s.folders.use(name, func(to entry) error { return s.sys.rename(from, to) })
	})
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", path.Join(s.target, name), fault.ErrExist)
	}
	if errors.Is(err, fs.ErrNotExist) { // Revoke removes the file before the directory
		return s.claim.revoked(err)
	}
	if err == nil {
		s.claim.forget(name)
	}
	return err
}

// sync makes all new entries durable; their files were synced when they were closed.
func (s *markerStage) sync(ctx context.Context) error {
	s.entries.Lock()
	dirs := slices.Sorted(maps.Keys(s.dirty))
	clear(s.dirty)
	s.entries.Unlock()
	err := s.syncAll(ctx, dirs)
	if err != nil { // the next sync must not skip them
		s.entries.Lock()
		defer s.entries.Unlock()
		for _, dir := range dirs {
			s.dirty[dir] = true
		}
	}
	return err
}

// Commit gives the marker its name.
func (s *markerStage) Commit(ctx context.Context) error {
	dirs, err := s.finish()
	if errors.Is(err, errFinished) {
		return err
	}
	if err == nil {
		err = s.mark(ctx, dirs)
	}
	if err != nil {
		return errors.Join(s.claim.orRevoked(fault.AsNoSpace(err)), s.remove())
	}
	s.folders.end()
	if err = s.sys.syncOwn(s.target, "."); err != nil {
		err = fmt.Errorf("%s: %w, but may not survive a power failure: %w", s.target, fault.ErrInPlace, err)
	}
	if cerr := s.claim.Abort(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w; its temporary directory %s is left: %w", s.target, fault.ErrInPlace, s.claim.tmp, cerr))
	}
	return err
}

func (s *markerStage) mark(ctx context.Context, dirs []string) error {
	if !s.marked {
		return fmt.Errorf("%s: %s has not been written", s.target, s.marker)
	}
	if err := s.placed(); err != nil {
		return err
	}
	if err := s.sync(ctx); err != nil {
		return err
	}
	if err := s.check(ctx, dirs); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.moveIn(s.marker)
}

func (s *markerStage) Abort() error {
	if _, err := s.finish(); errors.Is(err, errFinished) {
		return nil
	}
	return s.remove()
}

// remove removes everything that was written. It moves the directory away in one step,
// because a directory that is removed piece by piece might look complete meanwhile.
func (s *markerStage) remove() error {
	s.folders.end() // some systems cannot rename an open directory
	removed := path.Join(s.claim.tmp, removedName)
	err := s.claim.folders.use(removedName, func(e entry) error { return s.sys.rename(at(s.target), e) })
	if errors.Is(err, fs.ErrNotExist) { // another process has removed it
		return s.claim.Abort()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s is left, unfinished: %w", s.target, err), s.claim.Abort())
	}
	if err = s.sys.syncDir(at(filepath.Dir(s.target))); err == nil {
		err = s.removeMade(removed)
	}
	if err != nil { // another process may have put something into it
		s.claim.abandon()
		return fmt.Errorf("what was written to %s is left in %s: %w", s.target, removed, err)
	}
	return s.claim.Abort()
}
