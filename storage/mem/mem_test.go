package mem_test

import (
	"testing"

	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/storage/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (storage.Store, string) { return mem.New(), "dir" })
}
