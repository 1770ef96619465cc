package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/go-orbax/orbax/internal/fault"
)

// Dir returns the temporary directory.
func (s *localStage) Dir() string { return filepath.ToSlash(s.tmp) }

// Properties returns the properties of the local store.
func (*localStage) Properties() Properties { return localProperties }

// Link also makes the bytes durable, because the program that wrote them may not have
// done so.
func (s *localStage) Link(ctx context.Context, from, name string, o LinkOptions) error {
	if err := checkName(ctx, name); err != nil {
		return err
	}
	if o.Share {
		return s.share(ctx, from, name, o.Source)
	}
	// A hard link to a symbolic link would share the link, not the bytes.
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	if err := checkSource(from, o.Source); err != nil {
		return err
	}
	if err := s.link(ctx, from, name); errors.Is(err, errors.ErrUnsupported) {
		return s.copy(ctx, from, name)
	} else if err != nil {
		return err
	}
	if err := s.folders.use(name, s.sys.syncDir); err != nil {
		return errors.Join(err, s.discard(name))
	}
	return nil
}

// share links a file of a committed checkpoint. It syncs the file first: the bytes were
// durable before that checkpoint was committed, but not if the checkpoint has been copied
// here since. The sync is cheap for a file that is durable already. The second name
// becomes durable with the stage.
func (s *localStage) share(ctx context.Context, from, name string, source Info) error {
	if err := checkSource(from, source); err != nil {
		return err
	}
	if err := s.sys.syncDir(at(from)); err != nil {
		return err
	}
	return s.link(ctx, from, name)
}

// checkSource refuses a file that is no regular one, or another than the one that was seen.
func checkSource(name string, seen Info) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return notRegular(name)
	}
	if now := version(info); seen.Version != "" && now != "" && now != seen.Version {
		return fmt.Errorf("%w: %s was written anew or replaced", fault.ErrBusy, name)
	}
	return nil
}

// link gives a regular file a second name. Many things can prevent that: another device,
// another owner, too many links, a file system without links. Then the error matches
// errors.ErrUnsupported.
func (s *localStage) link(ctx context.Context, from, name string) error {
	if err := s.Mkdir(ctx, path.Dir(name)); err != nil {
		return err
	}
	err := s.folders.use(name, func(e entry) error { return s.sys.link(from, e) })
	if err == nil {
		s.note(name)
		return nil
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return s.orRevoked(err)
	}
	return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
}

// copyBytes is how many bytes are copied at once.
const copyBytes = 4 << 20

func (s *localStage) copy(ctx context.Context, from, name string) error {
	r, err := (&local{}).Open(ctx, from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := s.Create(ctx, name, r.Size())
	if err != nil {
		return err
	}
	buf := make([]byte, min(r.Size(), copyBytes))
	for off := int64(0); off < r.Size() && err == nil; off += int64(len(buf)) {
		buf = buf[:min(r.Size()-off, copyBytes)]
		if err = r.ReadAt(ctx, buf, off); err == nil {
			err = w.WriteAt(ctx, buf, off)
		}
	}
	return errors.Join(err, w.Close())
}

// commitInto makes the stage an entry of the target. It makes the target durable before
// that.
func (s *localStage) commitInto(ctx context.Context) error {
	dirs, err := s.finish()
	if errors.Is(err, errFinished) {
		return err
	}
	defer s.unlock()
	if err == nil {
		err = s.syncAll(ctx, dirs)
	}
	if err == nil {
		err = s.check(ctx, dirs)
	}
	if err == nil {
		err = (&local{sys: s.sys}).mkdirParents(s.target)
	}
	if err == nil {
		err = s.moveInto(s.entry)
	}
	if err != nil {
		return errors.Join(s.orRevoked(fault.AsNoSpace(err)), s.remove())
	}
	err = s.sys.syncOwn(s.target, ".")
	if err == nil {
		err = s.sys.syncDir(at(filepath.Dir(s.target)))
	}
	if err != nil {
		return fmt.Errorf("%s: %w, but may not survive a power failure: %w", path.Join(s.target, s.entry), fault.ErrInPlace, err)
	}
	return nil
}

// moveInto makes the temporary directory an entry of the target.
func (s *localStage) moveInto(name string) error {
	s.folders.end() // some systems cannot rename an open directory
	d, err := s.sys.open(at(s.target))
	if err != nil {
		return err
	}
	defer d.close()
	to := entry{&openDir{folder: d, path: s.target}, name}
	err = s.sys.rename(at(s.tmp), to)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%s: %w", to.path(), fault.ErrExist)
	}
	return err
}
