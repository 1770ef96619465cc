package failstore_test

import (
	"testing"

	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/storage/storetest"
)

func TestRemoteContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (storage.Store, string) { return failstore.NewRemote(mem.New(), 0), "dir" })
}
