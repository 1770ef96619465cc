package failstore_test

import (
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/storage/storetest"
)

func TestMarkedContract(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) (storage.Store, string) { return failstore.NewMarked(mem.New()), "dir" })
	})
	t.Run("disk", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) (storage.Store, string) {
			return failstore.NewMarked(storage.Local()), filepath.ToSlash(t.TempDir()) + "/dir"
		})
	})
}
