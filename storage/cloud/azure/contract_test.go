package azure_test

import (
	"testing"

	"github.com/go-orbax/orbax/storage/cloud/azure"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/buckettest"
)

func TestContract(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) object.Bucket {
		_, client := newContainer(t, nil)
		return azure.New(client)
	}, buckettest.Options{})
}
