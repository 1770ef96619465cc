package storage_test

import (
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/storetest"
)

func TestContract(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (storage.Store, string){
		"local": func(t *testing.T) (storage.Store, string) { return storage.Local(), filepath.ToSlash(t.TempDir()) },
		"confined": func(t *testing.T) (storage.Store, string) {
			dir := filepath.ToSlash(t.TempDir())
			return storage.Confine(storage.Local(), dir, false), dir
		},
		"without exchange": func(t *testing.T) (storage.Store, string) {
			r := &storage.Recorder{NoExchange: true}
			return r.Store(), filepath.ToSlash(t.TempDir())
		},
		"fs": func(t *testing.T) (storage.Store, string) { return storage.FS(fstest.MapFS{}), "dir" },
	} {
		var options []storetest.Option
		if name == "without exchange" || runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
			options = append(options, storetest.ReplaceInSteps)
		}
		t.Run(name, func(t *testing.T) { storetest.Run(t, open, options...) })
	}
}
