package gcs_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax/storage/cloud/gcs"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/buckettest"
)

func TestMain(m *testing.M) { servers.Main(m) }

// TestContract runs the tests of all buckets.
func TestContract(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) object.Bucket { return newBucket(t, nil) }, buckettest.Options{Uploads: uploads})
}

var made atomic.Int64

// newBucket returns a new bucket on the server that the tests share.
func newBucket(t testing.TB, client *http.Client) object.Bucket {
	t.Helper()
	addr := servers.GCS.Shared(t)
	name := fmt.Sprintf("test-%d", made.Add(1))
	servers.MakeGCSBucket(t, addr, name)
	b, err := gcs.New(client, name, gcs.Options{Endpoint: "http://" + addr})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
