package orbax_test

import (
	"context"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage"
)

// files are those of a checkpoint in memory: contents by slash-separated name.
type files map[string][]byte

// readFiles reads all files below dir.
func readFiles(t testing.TB, dir string) files { return orbaxtest.ReadFiles(t, dir) }

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

// in makes f the checkpoint "ckpt" of a store in memory; see [filesStore].
func (f files) in() orbax.StoreOption { return orbax.In(f.store()) }

func (f files) store() storage.Store { return filesStore{files: f} }

// filesStore is a store that can only be read, with the files as the directory "ckpt". It
// costs nothing to make, so that a test can make one for each bit that it flips. It knows no
// versions of files: so a reader has to look for itself whether what it has read is still
// there.
type filesStore struct {
	storage.Base
	files files
}

// below returns the name of something in the directory "ckpt", which itself is ".".
func (s filesStore) below(name string) (string, bool) {
	name = path.Clean(name)
	if name == "ckpt" {
		return ".", true
	}
	return strings.CutPrefix(name, "ckpt/")
}

func (s filesStore) Open(ctx context.Context, name string) (storage.Reader, error) {
	rel, ok := s.below(name)
	data, found := s.files[rel]
	if !ok || !found {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return storage.BytesReader(data), ctx.Err()
}

func (s filesStore) Stat(ctx context.Context, name string) (storage.Info, error) {
	rel, ok := s.below(name)
	if data, found := s.files[rel]; ok && found {
		return storage.Info{Name: path.Base(name), Size: int64(len(data))}, ctx.Err()
	}
	if _, err := s.List(ctx, name); err != nil {
		return storage.Info{}, err
	}
	return storage.Info{Name: path.Base(name), Dir: true}, nil
}

func (s filesStore) List(ctx context.Context, dir string) ([]storage.Info, error) {
	rel, ok := s.below(dir)
	var infos []storage.Info
	for name, data := range s.files {
		rest := name
		if rel != "." {
			var in bool
			if rest, in = strings.CutPrefix(name, rel+"/"); !in {
				continue
			}
		}
		first, _, below := strings.Cut(rest, "/")
		info := storage.Info{Name: first, Dir: below}
		if !below {
			info.Size = int64(len(data))
		}
		infos = append(infos, info)
	}
	if !ok || len(infos) == 0 {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fs.ErrNotExist}
	}
	slices.SortFunc(infos, func(a, b storage.Info) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(infos, func(a, b storage.Info) bool { return a.Name == b.Name }), ctx.Err()
}
