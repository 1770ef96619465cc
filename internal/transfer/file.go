package transfer

import (
	"context"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/lfs"
	"github.com/go-orbax/orbax/storage"
)

// Open opens a file below dir. Its name comes from a checkpoint, and must not lead out of
// it.
func Open(ctx context.Context, dir storage.Location, name string) (storage.Reader, error) {
	if !fs.ValidPath(name) || !filepath.IsLocal(filepath.FromSlash(name)) {
		return nil, fmt.Errorf("%w: file name %q leads out of the checkpoint", fault.ErrCorrupt, name)
	}
	return dir.Store.Open(ctx, path.Join(dir.Name, name))
}

// ReadFile is [Engine.ReadFile] without an engine.
func ReadFile(ctx context.Context, dir storage.Location, name string, off, n int64) ([]byte, error) {
	return (*Engine)(nil).ReadFile(ctx, dir, name, off, n)
}

// ReadFile returns n bytes from offset off of the file name below dir, or everything from
// off on if n is negative. If the range is longer than a document of that name can be,
// the error matches [fault.ErrCorrupt]. If the process has no memory for it, the error
// matches [fault.ErrNoMemory].
func (e *Engine) ReadFile(ctx context.Context, dir storage.Location, name string, off, n int64) ([]byte, error) {
	f, err := Open(ctx, dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if n < 0 {
		n = f.Size() - off
	}
	return e.readRange(ctx, f, name, off, n)
}

// ReadUpTo returns a whole file that has at most limit bytes. It reads nothing of a longer
// one, and reports whether the file is longer.
func ReadUpTo(ctx context.Context, dir storage.Location, name string, limit int64) (b []byte, longer bool, err error) {
	f, err := Open(ctx, dir, name)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if f.Size() > limit {
		return nil, true, nil
	}
	b, err = (*Engine)(nil).readRange(ctx, f, name, 0, f.Size())
	return b, false, err
}

func (e *Engine) readRange(ctx context.Context, f storage.Reader, name string, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off+n < off {
		return nil, fmt.Errorf("%w: range %d+%d of %s", fault.ErrCorrupt, off, n, name)
	}
	if off+n > f.Size() {
		return nil, tooShort(ctx, f, name, off+n)
	}
	r, err := ReserveDocument(name, n)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n) // the reservation covers it
	defer r.ReleaseWith(b)
	if err := f.ReadAt(ctx, b, off); err != nil {
		return nil, readError(name, err)
	}
	if off == 0 && lfs.IsPointer(b) {
		return nil, lfs.Error(name)
	}
	e.Counters().AddFile(n)
	return b, nil
}

// HashFile writes the whole file name below dir to h. If it must be a document, as its name
// says, and is longer than it can be, the error matches [fault.ErrCorrupt], and nothing is
// read.
func HashFile(ctx context.Context, dir storage.Location, name string, document bool, h hash.Hash) error {
	s, err := OpenStream(ctx, dir, name)
	if err != nil {
		return err
	}
	defer s.Close()
	if limit := limitOf(name); document && s.Size() > limit.most {
		return tooLarge(name, s.Size(), limit)
	}
	_, err = io.CopyBuffer(h, s, make([]byte, max(1, min(s.Size(), stepBytes))))
	return err
}

// Stream reads a file from beginning to end. Only one goroutine may use it at a time.
type Stream struct {
	ctx  context.Context
	f    storage.Reader
	name string
	off  int64
}

// OpenStream opens the file name below dir. ctx governs all reads.
func OpenStream(ctx context.Context, dir storage.Location, name string) (*Stream, error) {
	f, err := Open(ctx, dir, name)
	if err != nil {
		return nil, err
	}
	return &Stream{ctx: ctx, f: f, name: name}, nil
}

// Size returns the size of the file when it was opened, which Read does not go beyond.
func (s *Stream) Size() int64 { return s.f.Size() }

func (s *Stream) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), s.f.Size()-s.off)]
	if len(p) == 0 && s.off == s.f.Size() {
		return 0, io.EOF
	}
	if err := s.f.ReadAt(s.ctx, p, s.off); err != nil {
		return 0, readError(s.name, err)
	}
	s.off += int64(len(p))
	return len(p), nil
}

// CheckLFS returns an error if the file is a Git LFS pointer.
func (s *Stream) CheckLFS() error { return checkLFS(s.ctx, s.f, s.name) }

func (s *Stream) Close() error { return s.f.Close() }

// CheckLFS returns an error if the file name below dir is a Git LFS pointer. For a file
// with wrong content this error is the more helpful one.
func CheckLFS(ctx context.Context, dir storage.Location, name string) error {
	f, err := Open(ctx, dir, name)
	if err != nil {
		return nil
	}
	defer f.Close()
	return checkLFS(ctx, f, name)
}

func checkLFS(ctx context.Context, f storage.Reader, name string) error {
	if f.Size() >= lfs.MaxSize {
		return nil
	}
	b := make([]byte, f.Size())
	if err := f.ReadAt(ctx, b, 0); err == nil && lfs.IsPointer(b) {
		return lfs.Error(name)
	}
	return nil
}
