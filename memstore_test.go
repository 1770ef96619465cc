package orbax_test

import (
	"context"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax/storage"
)

// A files is a directory in memory: contents by slash-separated name.
type files map[string][]byte

// readFiles reads all files below dir.
func readFiles(t testing.TB, dir string) files {
	t.Helper()
	all := files{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		all[filepath.ToSlash(rel)], err = os.ReadFile(name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (f files) names() []string { return slices.Sorted(maps.Keys(f)) }

// with returns f with one file replaced, or removed if data is nil.
func (f files) with(name string, data []byte) files {
	c := maps.Clone(f)
	c[name] = data
	if data == nil {
		delete(c, name)
	}
	return c
}

// mounted are the directories that mem:// paths lead to.
var (
	mounted sync.Map
	mounts  atomic.Int64
)

func init() {
	storage.Register("mem", func(_ context.Context, u *url.URL) (storage.Store, string, error) {
		url := u.Scheme + "://" + u.Host + u.Path
		id, dir, _ := strings.Cut(strings.TrimPrefix(url, "mem://"), "/")
		f, ok := mounted.Load(id)
		if !ok {
			return nil, "", fs.ErrNotExist
		}
		return memStore{files: f.(files)}, dir, nil
	})
}

// mount makes f a checkpoint that can be read at the path that is returned,
// until unmount is called. It is much faster than a disk.
func mount(f files) (path string, unmount func()) {
	id := strconv.FormatInt(mounts.Add(1), 10)
	mounted.Store(id, f)
	return "mem://" + id + "/ckpt", func() { mounted.Delete(id) }
}

// memStore is the read-only store of files, as the directory "ckpt".
type memStore struct {
	storage.Base
	files files
}

func missing(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

func (s memStore) get(name string) ([]byte, bool) {
	rel, ok := strings.CutPrefix(name, "ckpt/")
	b, found := s.files[rel]
	return b, ok && found
}

func (s memStore) Open(_ context.Context, name string) (storage.Reader, error) {
	b, ok := s.get(name)
	if !ok {
		return nil, missing("open", name)
	}
	return memReader(b), nil
}

func (s memStore) Stat(_ context.Context, name string) (storage.Info, error) {
	info := storage.Info{Name: path.Base(name)}
	if b, ok := s.get(name); ok {
		info.Size = int64(len(b))
		return info, nil
	}
	info.Dir = true
	if name == "ckpt" {
		return info, nil
	}
	for f := range s.files {
		if strings.HasPrefix("ckpt/"+f, name+"/") {
			return info, nil
		}
	}
	return storage.Info{}, missing("stat", name)
}

func (s memStore) List(_ context.Context, dir string) ([]storage.Info, error) {
	found := map[string]storage.Info{}
	for f, b := range s.files {
		rest, ok := strings.CutPrefix("ckpt/"+f, dir+"/")
		if !ok {
			continue
		}
		name, _, below := strings.Cut(rest, "/")
		info := storage.Info{Name: name, Dir: below}
		if !below {
			info.Size = int64(len(b))
		}
		found[name] = info
	}
	if len(found) == 0 {
		return nil, missing("list", dir)
	}
	var infos []storage.Info
	for _, name := range slices.Sorted(maps.Keys(found)) {
		infos = append(infos, found[name])
	}
	return infos, nil
}

type memReader []byte

func (r memReader) ReadAt(_ context.Context, p []byte, off int64) error {
	if off > int64(len(r)) || copy(p, r[off:]) < len(p) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (r memReader) Size() int64  { return int64(len(r)) }
func (r memReader) Close() error { return nil }
