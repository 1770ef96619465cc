package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// fileSet opens each file once and closes it after the last of its spans. A checkpoint of
// plain files can have more files than a process may open.
type fileSet struct {
	size  sizes
	dir   storage.Location
	mu    sync.Mutex
	files map[string]*openFile
}

type openFile struct {
	spans int // number of spans still to be read
	r     storage.Reader
}

// expect announces one more span of a file.
func (s *fileSet) expect(name string) {
	f := s.files[name]
	if f == nil {
		f = &openFile{}
		s.files[name] = f
	}
	f.spans++
}

func (s *fileSet) open(ctx context.Context, name string) (storage.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[name]
	if f.r != nil {
		return f.r, nil
	}
	r, err := Open(ctx, s.dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, name)
	}
	if err != nil {
		return nil, err
	}
	f.r = r
	return r, nil
}

func (s *fileSet) release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[name]
	if f.spans--; f.spans == 0 && f.r != nil {
		f.r.Close()
		f.r = nil
	}
}

func (s *fileSet) close() {
	for _, f := range s.files {
		if f.r != nil {
			f.r.Close()
		}
	}
}
