package storage

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// openDirect opens a file once more, for writing past the page cache, and returns the
// alignment of memory that its device asks for.
func openDirect(e entry, file *os.File) (f *os.File, align int, err error) {
	f, err = e.openFile(os.O_WRONLY|unix.O_DIRECT|nonblock, 0)
	if err != nil {
		return nil, PageSize, err
	}
	if err := sameFile(f, file); err != nil { // somebody else's may have got the name
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

// writeVector writes buffers one behind the other. It returns how much was written.
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

// ReadBuffers makes a local file a BuffersReader.
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

// vector calls move for buffers that lie one behind the other in the file, as often
// as it takes: the system moves about 2 GiB at once. It returns how much was moved,
// and io.EOF if nothing more was.
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

// allocate makes the file that large, of blocks that need not be written before
// they are read as zeros. On ext4 and XFS the writes that follow can run at the
// same time, while those that make a file longer wait for each other.
func (f *osFile) allocate(size int64) error {
	err := control(f.buffered, func(fd int) error {
		// ext4 would first take all that there is, also from other programs.
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
	if noRoom(err) {
		return err
	}
	// Whatever else there is in the way, the writes will say if it matters. A
	// signal is among it: some file systems would begin anew until none comes.
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
