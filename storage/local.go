package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/go-orbax/orbax/internal/fault"
)

// Local returns the store of the local file system. Names are absolute paths.
//
// A stage writes to a directory beside its target, named
// <target>.orbax-checkpoint-tmp-<random>, and holds an advisory lock on it. Commit syncs
// every file and directory, renames the temporary directory to the target, and syncs the
// parent. If the target exists, Commit exchanges the two directories. A process that dies
// leaves only the temporary directory, unlocked.
//
// On a file system that cannot exchange directories, Commit first renames the old
// directory to a temporary name. For a moment the target is then missing, and both
// versions exist beside it.
func Local() Store { return &local{sys: osSystem{}} }

type local struct {
	sys    system
	within *bounds // nil: no bounds
}

// localProperties are the properties of the local disk, and of file systems that are
// mounted like one.
var localProperties = Properties{
	Rename: true, Marker: true, Edit: true, Links: LinkHard,
	ReadUnit: 512 << 10, ReadGap: 64 << 10, WriteUnit: 8 << 20,
}

func (*local) Properties() Properties { return localProperties }

func (l *local) Open(ctx context.Context, name string) (Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, info, err := l.within.openRegular(name)
	if err != nil {
		return nil, err
	}
	return &localReader{f, info.Size()}, nil
}

type localReader struct {
	f    *os.File
	size int64
}

func (r *localReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := r.f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (r *localReader) Size() int64    { return r.size }
func (r *localReader) File() *os.File { return r.f }
func (r *localReader) Close() error   { return r.f.Close() }

func (*local) Stat(ctx context.Context, name string) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return localInfo(info), nil
}

func localInfo(info fs.FileInfo) Info {
	return Info{Name: info.Name(), Size: info.Size(), Dir: info.IsDir(), ModTime: info.ModTime(), Version: version(info)}
}

func (l *local) List(ctx context.Context, dir string) ([]Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return listStable(ctx, dir, func() ([]fs.DirEntry, error) { return l.within.readDir(dir) }, func(e fs.DirEntry) (Info, bool, error) {
		// Stat, not Lstat: a checkpoint may be assembled from links.
		info, err := os.Stat(path.Join(dir, e.Name()))
		if err != nil && e.Type()&fs.ModeSymlink != 0 {
			link, lerr := e.Info()
			switch {
			case lerr != nil:
				err = lerr // the link was removed meanwhile
			case errors.Is(err, fs.ErrNotExist):
				return Info{}, false, nil // the link leads nowhere
			default:
				info, err = link, nil // a link that cannot be followed must not hide the other entries
			}
		}
		if err != nil {
			return Info{}, false, err
		}
		return localInfo(info), true, nil
	})
}

func (l *local) Begin(ctx context.Context, dir string, o BeginOptions) (Stage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := o.Check(l.Properties()); err != nil {
		return nil, err
	}
	dir = path.Clean(dir)
	overwrite := o.Replace != nil || o.Into != nil
	if err := checkTarget(dir, overwrite); err != nil {
		return nil, err
	}
	if err := l.mkdirParents(filepath.Dir(dir)); err != nil {
		return nil, fault.AsNoSpace(err)
	}
	s, err := newLocalStage(l.sys, dir, o.Marker, overwrite)
	if err != nil {
		return nil, fault.AsNoSpace(err)
	}
	switch {
	case o.Marker != "":
		return newMarkerStage(ctx, s, o)
	case o.Into != nil:
		s.entry, err = entryOf(ctx, o)
	case o.Replace != nil:
		s.replace = o.Replace
		err = s.canReplace()
	}
	if err != nil {
		return nil, errors.Join(err, s.Abort())
	}
	return s, nil
}

// entryOf asks o.Into for the name of the entry that a stage becomes.
func entryOf(ctx context.Context, o BeginOptions) (string, error) {
	name, err := o.Into(ctx)
	if err == nil {
		err = checkName(ctx, name)
	}
	if err == nil && (path.Base(name) != name || name == ".") {
		err = fmt.Errorf("%w: %q is not the name of an entry", fault.ErrReservedName, name)
	}
	return name, err
}

// checkTarget refuses a path where something exists. With overwrite it accepts a
// directory there. It never accepts a link: replacing it would leave the directory that
// it leads to unchanged, which cannot be the caller's intention.
func checkTarget(dir string, overwrite bool) error {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !overwrite:
		return fault.ErrExist
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%w: it is a symbolic link; give the path that it leads to", fault.ErrInvalidCheckpoint)
	case !info.IsDir():
		return fmt.Errorf("%w: it is a file", fault.ErrInvalidCheckpoint)
	}
	return nil
}

// mkdirParents creates dir and its missing parents. It syncs the parent of each new
// directory. The new directories stay when the stage is aborted, because other writers
// may use them already.
func (l *local) mkdirParents(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s: not a directory", dir)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return err
	}
	if err := l.mkdirParents(parent); err != nil {
		return err
	}
	if err := l.sys.mkdir(at(dir)); err != nil {
		// Another process may have made it and not have synced it yet.
		if info, serr := os.Stat(dir); serr != nil || !info.IsDir() {
			return err
		}
	}
	return l.sys.syncDir(at(parent))
}

// timeVersion returns a version of the size and the time of the last write, or "" if that
// time is unknown.
func timeVersion(info fs.FileInfo) string {
	if info.ModTime().IsZero() {
		return ""
	}
	return fmt.Sprintf("%x-%x", info.Size(), info.ModTime().UnixNano())
}
