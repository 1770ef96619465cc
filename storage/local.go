package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
)

// Local returns the store of the local file system. Names are absolute paths.
//
// Writers go to a sibling directory of the target, named
// <target>.orbax-checkpoint-tmp-<random>, on which they hold an advisory lock
// for as long as they live. Commit syncs every file and directory, renames the
// temporary directory to the target (exchanging the two if the target exists)
// and syncs the parent. A process that dies leaves the temporary directory,
// unlocked, and nothing else. Where the file system cannot exchange two
// directories, the old one is first renamed to a temporary name, so that for a
// moment the target is missing while both versions exist beside it.
func Local() Store { return &local{sys: osSystem{}} }

type local struct{ sys system }

func (*local) Open(ctx context.Context, name string) (Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	// Opening a FIFO would block, and a directory cannot be read.
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
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

func (r *localReader) Size() int64  { return r.size }
func (r *localReader) Close() error { return r.f.Close() }

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
	return Info{Name: info.Name(), Size: info.Size(), Dir: info.IsDir(), ModTime: info.ModTime()}
}

func (*local) List(ctx context.Context, dir string) ([]Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	infos := make([]Info, 0, len(entries))
	for _, e := range entries {
		// Stat, not Lstat: a checkpoint may be assembled from links.
		info, err := os.Stat(path.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since, or a dangling link
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, Info{Name: e.Name(), Size: info.Size(), Dir: info.IsDir(), ModTime: info.ModTime()})
	}
	return infos, nil
}

func (l *local) Begin(ctx context.Context, dir string, overwrite bool) (Stage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir = path.Clean(dir)
	switch _, err := os.Lstat(dir); {
	case err == nil && !overwrite:
		return nil, fmt.Errorf("%s: %w", dir, fault.Exist)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := l.mkdirParents(path.Dir(dir)); err != nil {
		return nil, err
	}
	return newLocalStage(l.sys, dir, overwrite)
}

// mkdirParents creates dir and what is missing above it, syncing the directory
// that each new one is entered in.
func (l *local) mkdirParents(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s: not a directory", dir)
		}
		return nil
	}
	parent := path.Dir(dir)
	if parent == dir {
		return fmt.Errorf("%s: %w", dir, fs.ErrNotExist)
	}
	if err := l.mkdirParents(parent); err != nil {
		return err
	}
	if err := l.sys.mkdir(dir); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil // another process was first
		}
		return err
	}
	return l.sys.syncDir(parent)
}
