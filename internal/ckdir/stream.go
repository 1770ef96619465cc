package ckdir

import (
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
	if err := transfer.CheckLFS(ctx, d.in.Root, full); err != nil {
		s.Close()
		return nil, err
	}
	f := &fileReader{ctx: ctx, dir: d, name: full, Stream: s}
	if d.Covered(name) {
		f.sum = sha256.New()
	} else {
		d.noteUnproven()
	}
	return f, nil
}

// fileReader checks the digest of the stream that it reads.
type fileReader struct {
	*transfer.Stream
	ctx  context.Context
	dir  *ReadDir
	name string    // in the checkpoint
	sum  hash.Hash // of the bytes so far; nil if no digest is known
	err  error     // of the end, or of the first read that failed
}

func (f *fileReader) Read(p []byte) (n int, err error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err = f.Stream.Read(p)
	if f.sum != nil {
		f.sum.Write(p[:n])
	}
	if err != nil {
		f.err = f.end(err)
	}
	return n, f.err
}

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
	f.dir.in.Engine.Counters().AddFile(f.Size())
	return io.EOF
}
