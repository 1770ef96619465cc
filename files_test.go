package orbax_test

import (
	"maps"
	"slices"
	"testing"
	"testing/fstest"

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

// in makes f the checkpoint "ckpt" of a store in memory, which can only be read. A store
// costs a map, whose files share their bytes with f, and it knows no versions of files: so
// a reader has to look for itself whether what it has read is still there.
func (f files) in() orbax.StoreOption { return orbax.In(f.store()) }

func (f files) store() storage.Store {
	fsys := make(fstest.MapFS, len(f))
	for name, data := range f {
		fsys["ckpt/"+name] = &fstest.MapFile{Data: data}
	}
	return storage.FS(fsys)
}
