package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/go-orbax/orbax/storage"
)

const (
	// headBytes is how much Open reads of a file. It is all of most documents.
	headBytes = 64 << 10
	// smallFile is the size up to which a file whose size is known is read by one request.
	smallFile = 256 << 10
)

// Open opens a file. It reads the beginning of the file, by which it learns its size.
func (s *Store) Open(ctx context.Context, name string) (storage.Reader, error) {
	key := keyOf(name)
	r, err := s.openKey(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		if other, g := s.overlays.other(key); g != nil && isRandom(strings.TrimPrefix(other, below(g.dir))) {
			return s.openKey(ctx, other)
		}
	}
	return r, err
}

func (s *Store) openKey(ctx context.Context, key string) (storage.Reader, error) {
	r := &reader{s: s, key: key}
	if key == "" {
		return nil, errors.New("open the root of the store: it is a directory")
	}
	head := make([]byte, headBytes)
	n, info, err := s.get(ctx, r.key, "", [][]byte{head}, 0)
	if err != nil {
		return nil, notExist(err, "open", key)
	}
	r.head, r.size, r.version = head[:n], info.Size, info.Version
	if int64(n) < min(info.Size, headBytes) {
		return nil, fmt.Errorf("open %s: %w", key, io.ErrUnexpectedEOF)
	}
	return r, nil
}

// infoOf asks the service for the description of an object.
func (s *Store) infoOf(ctx context.Context, key string) (info Info, err error) {
	err = s.try(ctx, func(ctx context.Context) (err error) {
		info, err = s.bucket.Stat(ctx, key)
		return err
	})
	return info, err
}

// get fills the buffers of p with the bytes of an object from off on. If a request breaks
// off, the next one asks for the rest of the same version. While the bytes come at readRate
// or faster, that is progress, and the time of Patience begins anew.
func (s *Store) get(ctx context.Context, key, version string, p [][]byte, off int64) (n int, info Info, err error) {
	want := int(length(p))
	for {
		before := n
		err = s.perform(ctx, effort{bytes: int64(want - n)}, func(actx context.Context) error {
			start := time.Now()
			m, i, err := s.bucket.Get(actx, key, version, after(p, n), off+int64(n))
			if (m > 0 || err == nil) && !isVersion(i.Version, version) {
				return ErrPrecondition // the service, or a proxy, has not compared them
			}
			if m > 0 || err == nil {
				n, info, version = n+m, i, cmp.Or(version, i.Version)
			}
			broken := isTemporary(err) || actx.Err() != nil && ctx.Err() == nil // or out of time
			if m > 0 && broken && (n == want || float64(m) >= readRate*time.Since(start).Seconds()) {
				return nil
			}
			return err
		})
		switch {
		case errors.Is(err, ErrPrecondition):
			return n, info, changed(key)
		case err != nil, n == want, n == before, off+int64(n) >= info.Size:
			return n, info, err
		}
	}
}

// isVersion reports whether the version of an answer, if it has one, is the one that was
// asked for, if there was one. Listings may have ETags without their quotes, and proxies that
// compress answers mark them as weak.
func isVersion(got, asked string) bool {
	bare := func(version string) string { return strings.Trim(strings.TrimPrefix(version, "W/"), `"`) }
	return got == "" || asked == "" || bare(got) == bare(asked)
}

// length returns the number of bytes of buffers.
func length(p [][]byte) (n int64) {
	for _, b := range p {
		n += int64(len(b))
	}
	return n
}

// after returns the buffers without their first n bytes.
func after(p [][]byte, n int) [][]byte {
	for len(p) > 0 && n >= len(p[0]) {
		n, p = n-len(p[0]), p[1:]
	}
	if n == 0 {
		return p
	}
	return append([][]byte{p[0][n:]}, p[1:]...)
}

// reader reads one version of an object.
type reader struct {
	s       *Store
	key     string
	size    int64
	version string

	mu   sync.Mutex
	head []byte // the first bytes of the file
}

func (r *reader) Size() int64  { return r.size }
func (r *reader) Close() error { return nil }

func (r *reader) ReadAt(ctx context.Context, p []byte, off int64) error {
	return r.ReadBuffers(ctx, off, p)
}

// ReadBuffers fills buffers one after the other, by one request.
func (r *reader) ReadBuffers(ctx context.Context, off int64, bufs ...[]byte) error {
	n := length(bufs)
	switch err := ctx.Err(); {
	case err != nil:
		return err
	case off < 0:
		return fmt.Errorf("read %s: negative offset %d", r.key, off)
	case n == 0 && off <= r.size:
		return nil
	case off > r.size-n:
		return io.ErrUnexpectedEOF
	}
	head, err := r.beginning(ctx, off+n)
	if err != nil {
		return err
	}
	for len(bufs) > 0 && off < int64(len(head)) {
		m := copy(bufs[0], head[off:])
		bufs, off, n = after(bufs, m), off+int64(m), n-int64(m)
	}
	if n == 0 {
		return nil
	}
	got, _, err := r.s.get(ctx, r.key, r.version, bufs, off)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return changed(r.key)
	case err == nil && int64(got) < n:
		return io.ErrUnexpectedEOF
	}
	return err
}

// beginning returns the first bytes of the file, as far as they are known. It reads all of
// a small file, so that several reads of it are one request.
func (r *reader) beginning(ctx context.Context, end int64) ([]byte, error) {
	if r.size > smallFile {
		return r.head, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if int64(len(r.head)) >= end {
		return r.head, nil
	}
	all := make([]byte, r.size)
	have := copy(all, r.head)
	n, _, err := r.s.get(ctx, r.key, r.version, [][]byte{all[have:]}, int64(have))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, changed(r.key)
	case err != nil:
		return nil, err
	case have+n < len(all):
		return nil, io.ErrUnexpectedEOF
	}
	r.head = all
	return all, nil
}

var _ storage.BuffersReader = (*reader)(nil)
