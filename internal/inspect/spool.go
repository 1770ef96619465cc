package inspect

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
)

// spoolMemory is the size of the largest leaf that is held in memory.
const spoolMemory = 64 << 20

// spool holds a leaf's bytes while they are put in order: in memory, or in a temporary
// file if there are many.
type spool struct {
	memory []byte
	file   *os.File
	named  bool // the file has a name until the spool is closed
}

func newSpool(n int64) (*spool, error) {
	if n <= spoolMemory {
		return &spool{memory: make([]byte, n)}, nil
	}
	f, err := os.CreateTemp("", "orbax-cat-")
	if err != nil {
		return nil, needsTemporary(err, n)
	}
	// A file without a name disappears in any case. Some systems refuse to remove an open
	// file.
	s := &spool{file: f, named: os.Remove(f.Name()) != nil}
	if err := f.Truncate(n); err != nil {
		return nil, needsTemporary(errors.Join(err, s.Close()), n)
	}
	return s, nil
}

// needsTemporary adds the advice to make room for n bytes to an error of a temporary file.
func needsTemporary(err error, n int64) error {
	return hintError{err, Hint{Kind: NeedsTemporary, Bytes: n}}
}

func (s *spool) WriteAt(p []byte, off int64) (int, error) {
	if s.file != nil {
		return s.file.WriteAt(p, off)
	}
	if off > int64(len(s.memory)) {
		return 0, io.ErrShortWrite
	}
	n := copy(s.memory[off:], p)
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, off)
	}
	if off > int64(len(s.memory)) {
		return 0, io.EOF
	}
	n := copy(p, s.memory[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *spool) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.named {
		_ = os.Remove(s.file.Name())
	}
	return err
}

// sparse keeps the wanted elements of an array that is written to it, and drops all
// others.
type sparse struct {
	item   int
	wanted []int64 // in ascending order
	mu     sync.Mutex
	data   map[int64][]byte
}

func newSparse(item int) *sparse { return &sparse{item: item, data: map[int64][]byte{}} }

// want adds the number of an element. Calls must be in ascending order.
func (s *sparse) want(i int64) { s.wanted = append(s.wanted, i) }

// WriteAt takes whole elements.
func (s *sparse) WriteAt(p []byte, off int64) (int, error) {
	item := int64(s.item)
	first, end := off/item, (off+int64(len(p)))/item
	at, _ := slices.BinarySearch(s.wanted, first)
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; at < len(s.wanted) && s.wanted[at] < end; at++ {
		i := s.wanted[at]
		s.data[i] = slices.Clone(p[i*item-off:][:item])
	}
	return len(p), nil
}

// ReadAt reads one wanted element.
func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	e, ok := s.data[off/int64(s.item)]
	if !ok {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, e), nil
}

// readerWithContext stops reading when the context ends.
type readerWithContext struct {
	ctx context.Context
	r   io.Reader
}

func (r readerWithContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
