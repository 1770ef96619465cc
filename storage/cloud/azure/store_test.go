package azure_test

import (
	"testing"
	"time"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/cloud/azure"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/storetest"
)

func TestStore(t *testing.T) {
	_, client := newContainer(t, nil)
	store := object.New(azure.New(client), object.Options{Lease: 3 * time.Second, PartSize: 64 << 10})
	storetest.Run(t, func(t *testing.T) (storage.Store, string) { return store, t.Name() })
}
