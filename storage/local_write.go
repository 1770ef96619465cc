package storage

import (
	"context"
	"errors"
	"path"
	"sync/atomic"

	"github.com/go-orbax/orbax/internal/fault"
)

// Files of smallFile bytes or more are written past the page cache, and room is reserved
// for them. For smaller files neither pays.
const smallFile = 1 << 20

func (s *localStage) Create(ctx context.Context, name string, size int64) (Writer, error) {
	if err := checkName(ctx, name); err != nil {
		return nil, err
	}
	if err := s.Mkdir(ctx, path.Dir(name)); err != nil {
		return nil, err
	}
	var f sysFile
	err := s.folders.use(name, func(e entry) (err error) {
		f, err = s.sys.create(e, size >= 0 && size < smallFile)
		return err
	})
	if err != nil {
		return nil, s.orRevoked(fault.AsNoSpace(err))
	}
	s.note(name)
	w := &localWriter{stage: s, name: name, f: f}
	if size >= smallFile {
		w.allocated = size
		if err := f.allocate(size); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return nil, errors.Join(fault.AsNoSpace(err), f.close(), s.discard(name))
		}
	}
	s.mu.Lock()
	done := s.done
	if !done {
		s.open[name] = f
	}
	s.mu.Unlock()
	if done { // the stage ended meanwhile, and may have missed this file
		return nil, errors.Join(errFinished, f.close(), s.discard(name))
	}
	return w, nil
}

type localWriter struct {
	stage     *localStage
	name      string
	f         sysFile
	allocated int64        // the size that the file may have been given
	end       atomic.Int64 // end of the bytes that were written
}

func (w *localWriter) Alignment() int { return w.f.alignment() }

func (w *localWriter) WriteAt(ctx context.Context, p []byte, off int64) error {
	return w.WriteBuffers(ctx, off, p)
}

func (w *localWriter) WriteBuffers(ctx context.Context, off int64, bufs ...[]byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.f.write(off, bufs...); err != nil {
		return fault.AsNoSpace(err)
	}
	end := off
	for _, b := range bufs {
		end += int64(len(b))
	}
	if end == off {
		return nil // a write of no bytes makes no file longer
	}
	for {
		old := w.end.Load()
		if end <= old || w.end.CompareAndSwap(old, end) {
			return nil
		}
	}
}

func (w *localWriter) Close() error {
	err := w.trim()
	if err == nil {
		err = w.f.sync()
	}
	err = errors.Join(err, w.f.close())
	if err == nil {
		w.stage.mu.Lock()
		defer w.stage.mu.Unlock()
		delete(w.stage.open, w.name)
	}
	return fault.AsNoSpace(err)
}

// trim frees the reserved room that was not needed.
func (w *localWriter) trim() error {
	if end := w.end.Load(); end < w.allocated {
		return w.f.truncate(end)
	}
	return nil
}
