package ckdir

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
)

// OpenFile opens the file called name, to be read from beginning to end, whatever its
// size. Read checks the file's digest, if the checkpoint has one, before it returns
// io.EOF. So data is known to be intact only after that. The errors are those of
// [ReadDir.ReadFile].
func (d *ReadDir) OpenFile(ctx context.Context, name string) (io.ReadCloser, error) {
	f, err := d.openFile(ctx, name)
	if err = d.outcome(ctx, err); err != nil {
		return nil, err
	}
	return f, nil
}

func (d *ReadDir) openFile(ctx context.Context, name string) (*fileReader, error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%w: file %q", fault.ErrReservedName, name)
	}
	full := path.Join(d.in.Name, name)
	s, err := transfer.OpenStream(ctx, d.in.Root, full)
	if NotExist(err) && d.Covered(name) {
		return nil, fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, full)
	}
	if err != nil {
		return nil, err
	}
	if err := s.CheckLFS(); err != nil {
		s.Close()
		return nil, err
	}
	f := &fileReader{ctx: ctx, dir: d, name: full, file: s, r: bufio.NewReaderSize(s, int(min(s.Size(), pieceBytes)))}
	if d.Covered(name) {
		f.sum = sha256.New()
	} else {
		d.noteUnproven()
	}
	return f, nil
}

// pieceBytes is how much of a file is read at a time if the caller asks for less.
const pieceBytes = 1 << 20

// fileReader checks the digest of the file that it reads.
type fileReader struct {
	ctx  context.Context
	dir  *ReadDir
	name string // in the checkpoint
	file *transfer.Stream
	r    *bufio.Reader
	sum  hash.Hash // of the bytes so far; nil if no digest is known
	err  error     // of the end, or of the first read that failed
}

func (f *fileReader) Read(p []byte) (n int, err error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err = f.r.Read(p)
	if f.sum != nil {
		f.sum.Write(p[:n])
	}
	if err != nil {
		f.err = f.end(err)
	}
	return n, f.err
}

func (f *fileReader) Close() error { return f.file.Close() }

// end returns the error with which the file ends, or io.EOF.
func (f *fileReader) end(err error) error {
	if err == io.EOF {
		err = nil
		if f.sum != nil {
			err = f.dir.in.Digests.CheckSum(f.name, [sha256.Size]byte(f.sum.Sum(nil)))
		}
	}
	if err = f.dir.outcome(f.ctx, err); err != nil {
		return err
	}
	f.dir.in.Engine.Counters().AddFile(f.file.Size())
	return io.EOF
}
