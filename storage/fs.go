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

// FS returns the read-only store of a file system such as an embed.FS, a zip.Reader or an
// fstest.MapFS. Names are those of fsys; "." is its root. Files that do not implement
// [io.ReaderAt], such as those of a zip.Reader, are read into memory when they are
// opened.
func FS(fsys fs.FS) Store { return fsStore{fsys: fsys} }

type fsStore struct {
	Base
	fsys fs.FS
}

// check refuses names that lead out of the file system.
func (s fsStore) check(ctx context.Context, op, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return nil
}

func (s fsStore) Open(ctx context.Context, name string) (Reader, error) {
	name = path.Clean(name)
	if err := s.check(ctx, "open", name); err != nil {
		return nil, err
	}
	f, err := s.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if f, ok := f.(*os.File); ok { // a file of os.DirFS
		return &localReader{f, info.Size()}, nil
	}
	if r, ok := f.(io.ReaderAt); ok {
		return fsReader{r, f, info.Size()}, nil
	}
	data, err := io.ReadAll(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return BytesReader(data), err
}

func (s fsStore) Stat(ctx context.Context, name string) (Info, error) {
	name = path.Clean(name)
	if err := s.check(ctx, "stat", name); err != nil {
		return Info{}, err
	}
	info, err := fs.Stat(s.fsys, name)
	if err != nil {
		return Info{}, err
	}
	return localInfo(info), nil
}

func (s fsStore) List(ctx context.Context, dir string) ([]Info, error) {
	dir = path.Clean(dir)
	if err := s.check(ctx, "list", dir); err != nil {
		return nil, err
	}
	return listStable(ctx, dir, func() ([]fs.DirEntry, error) { return fs.ReadDir(s.fsys, dir) }, func(e fs.DirEntry) (Info, bool, error) {
		info, err := fs.Stat(s.fsys, path.Join(dir, e.Name())) // follows links; e.Info does not
		if errors.Is(err, fs.ErrNotExist) && e.Type()&fs.ModeSymlink != 0 {
			return Info{}, false, nil // a link that leads nowhere
		}
		if err != nil {
			return Info{}, false, err
		}
		return localInfo(info), true, nil
	})
}

func (fsStore) Begin(context.Context, string, BeginOptions) (Stage, error) {
	return nil, fmt.Errorf("%w: an io/fs file system cannot be written", fault.ErrUnsupported)
}

// fsReader reads a file at any offset.
type fsReader struct {
	io.ReaderAt
	io.Closer
	size int64
}

func (r fsReader) Size() int64 { return r.size }

func (r fsReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := r.ReaderAt.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
