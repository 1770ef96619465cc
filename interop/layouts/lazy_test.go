package layouts

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/zarr"
)

// checkSaveLazily saves the tree in several forms at the same time, while it is
// read.
func checkSaveLazily(t *testing.T, s *stored) {
	lazy, err := s.open(t).Lazy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	chunks := handler.ArrayOptions{
		Compression:   zarr.Zstd(1),
		ChunkByteSize: max(200, int(s.metadata(t).Bytes())/100),
	}
	forms := map[string]handler.StorageOptions{
		"default": {},
		"zarr2":   {Zarr2: true},
		"files":   {PlainFiles: true},
		"chunks":  {ArrayOptions: chunks},
	}
	dir := t.TempDir()
	var saves sync.WaitGroup
	for name, form := range forms {
		saves.Go(func() {
			if err := orbax.Save(t.Context(), filepath.Join(dir, name), lazy, orbax.Storage(form)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	if saves.Wait(); t.Failed() {
		return
	}
	for name := range forms {
		s.checkSaved(t, filepath.Join(dir, name))
	}
}
