package storage

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/go-orbax/orbax/internal/fault"
)

// openDirect opens the file a second time, for writes past the page cache. It returns the
// alignment of memory that the device asks for.
func openDirect(e entry, file *os.File) (f *os.File, align int, err error) {
	f, err = e.openFile(os.O_WRONLY|unix.O_DIRECT|nonblock, 0)
	if err != nil {
		return nil, PageSize, err
	}
	if err := sameFile(f, file); err != nil { // another file may have taken the name
		return nil, PageSize, errors.Join(err, f.Close())
	}
	var st unix.Statx_t
	err = control(f, func(fd int) error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st) })
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 { // before Linux 6.1
		return f, PageSize, nil
	}
	if st.Dio_mem_align == 0 || st.Dio_offset_align == 0 || PageSize%st.Dio_offset_align != 0 {
		return nil, PageSize, errors.Join(errors.ErrUnsupported, f.Close())
	}
	return f, int(st.Dio_mem_align), nil
}

func sameFile(a, b *os.File) error {
	is, err := a.Stat()
	if err != nil {
		return err
	}
	other, err := b.Stat()
	if err == nil && !os.SameFile(is, other) {
		err = appeared(a.Name())
	}
	return err
}

// maxVector is the most buffers that one system call takes.
const maxVector = 1024

// writeVector writes buffers one after the other. It returns how many bytes it has
// written.
func writeVector(f *os.File, off int64, bufs [][]byte) (written int64, err error) {
	written, err = vector(f, off, bufs, unix.Pwritev)
	if errors.Is(err, io.EOF) {
		err = io.ErrShortWrite
	}
	if err != nil {
		err = &os.PathError{Op: "pwritev", Path: f.Name(), Err: err}
	}
	return written, err
}

// ReadBuffers makes a local file a [BuffersReader].
func (r *localReader) ReadBuffers(ctx context.Context, off int64, bufs ...[]byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := vector(r.f, off, bufs, unix.Preadv)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		err = &os.PathError{Op: "preadv", Path: r.f.Name(), Err: err}
	}
	return err
}

// vector calls move for buffers that are adjacent in the file, until all are moved: the
// system moves about 2 GiB at once. It returns how many bytes were moved, and io.EOF if
// the system moves no more.
func vector(f *os.File, off int64, bufs [][]byte, move func(fd int, bufs [][]byte, off int64) (int, error)) (moved int64, err error) {
	bufs = skip(bufs, 0)
	for err == nil && len(bufs) > 0 {
		var n int
		err = control(f, func(fd int) error {
			return retry(func() (err error) {
				n, err = move(fd, bufs[:min(len(bufs), maxVector)], off+moved)
				return err
			})
		})
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err == nil {
			moved += int64(n)
			bufs = skip(bufs, int64(n))
		}
	}
	return moved, err
}

// allocate gives the file size bytes in blocks that read as zeros before they are
// written. On ext4 and XFS the later writes can then run at the same time; writes that
// make a file longer wait for each other.
func (f *osFile) allocate(size int64) error {
	err := control(f.buffered, func(fd int) error {
		// ext4 would first take all free blocks, also from other programs.
		var s unix.Statfs_t
		if err := unix.Fstatfs(fd, &s); err == nil {
			if n, ok := free(&s); ok && size > n {
				return unix.ENOSPC
			}
		}
		return unix.Fallocate(fd, 0, 0, size)
	})
	if err == nil {
		return nil
	}
	err = &os.PathError{Op: "fallocate", Path: f.buffered.Name(), Err: err}
	if fault.IsNoRoom(err) {
		return err
	}
	// Any other obstacle shows in the writes if it matters. One of them is a signal: some
	// file systems would begin anew until none comes.
	return errors.Join(errors.ErrUnsupported, err)
}

// control calls f with the descriptor of an open file.
func control(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(int(fd)) }); err != nil {
		return err
	}
	return result
}
