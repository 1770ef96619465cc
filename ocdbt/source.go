package ocdbt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/lfs"
)

// Source gives access to the files of a database. If several goroutines use the [DB],
// they call its methods at the same time.
type Source interface {
	// Read returns n bytes at offset off of the file called name. name is relative to the
	// root of the database and separated by slashes. A negative n means everything up to
	// the end. If the file ends early, Read returns the bytes that are there and no
	// error. Read must not allocate more than the file holds. For a missing file, the
	// error matches [fs.ErrNotExist]. The result belongs to the caller.
	Read(ctx context.Context, name string, off, n int64) ([]byte, error)

	// List returns the names of the files in the root directory whose names begin with
	// prefix, in any order. It is called only for databases with numbered manifests.
	List(ctx context.Context, prefix string) ([]string, error)
}

// FS returns a [Source] for a database at the root of fsys.
func FS(fsys fs.FS) Source { return fsSource{fsys} }

type fsSource struct{ fs.FS }

func (s fsSource) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := s.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	rest := max(info.Size()-off, 0)
	if n < 0 || n > rest {
		n = rest
	}
	if n == 0 {
		return nil, nil
	}
	buf := make([]byte, n)
	var got int
	if r, ok := f.(io.ReaderAt); ok {
		got, err = r.ReadAt(buf, off)
	} else {
		if _, err = io.CopyN(io.Discard, f, off); err == nil {
			got, err = io.ReadFull(f, buf)
		}
	}
	if err != nil && !isEOF(err) {
		return nil, err
	}
	return buf[:got], nil
}

func (s fsSource) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	files, err := fs.ReadDir(s.FS, ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// readRange reads exactly n bytes, or the whole file if n is negative. If a file that the
// database refers to is missing or too short, the database is incomplete or corrupt. An
// error of the transport is passed on.
func readRange(ctx context.Context, src Source, name string, off, n int64) ([]byte, error) {
	b, err := src.Read(ctx, name, off, n)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missingError(name)
	case err != nil && !isEOF(err):
		return nil, err
	case n >= 0 && int64(len(b)) != n:
		return nil, corruptf("file %q holds only %d of the %d bytes at offset %d", name, len(b), n, off)
	}
	return b, nil
}

// missingError returns the error about a missing file that the database refers to. It
// does not match fs.ErrNotExist, so that callers cannot take it for the absence of the
// whole database.
func missingError(name string) error {
	return fmt.Errorf("%w: file %q is missing", fault.ErrCorrupt, name)
}

// explainLFS returns err, except if err reports that the file called name is corrupt and
// the file is a Git LFS pointer. The error then reports that.
func explainLFS(ctx context.Context, src Source, name string, err error) error {
	if !errors.Is(err, fault.ErrCorrupt) {
		return err
	}
	b, readErr := src.Read(ctx, name, 0, lfs.MaxSize)
	if readErr == nil && lfs.IsPointer(b) {
		return lfs.Error(name)
	}
	return err
}

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", fault.ErrCorrupt, fmt.Errorf(format, args...))
}
